// The service worker: the server's answer where there is one, else the last that was kept.
const CACHE = 'facedet';
const PATIENCE = 4000; // ms for a server that may be out of reach, where an answer is kept

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

/** A list of addresses to keep; each alone, so that one that is gone leaves the others. */
self.addEventListener('message', (event) => event.waitUntil(Promise.all(event.data.map(keep))));

async function keep(url) {
  const cache = await caches.open(CACHE);
  if (!(await cache.match(url))) await cache.add(url).catch(() => {});
}

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || new URL(request.url).origin !== self.location.origin) return;
  event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  const online = fetch(request).then((response) => {
    if (response.ok) cache.put(request, response.clone()).catch(() => {}); // a full device
    return response;
  });
  if (!kept) return online;
  const late = new Promise((resolve) => setTimeout(() => resolve(kept), PATIENCE));
  return Promise.race([online.catch(() => kept), late]);
}

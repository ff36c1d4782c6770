// Keeps the page on the device: all that it has loaded, and the detectors that it recommends.
export async function keepOffline(urls) {
  if (!navigator.serviceWorker) return; // no https and no localhost
  try {
    await navigator.serviceWorker.register('worker.js');
  } catch (error) {
    console.info('The page stays online only: the browser does not trust its certificate.', error);
    return;
  }
  const { active } = await navigator.serviceWorker.ready;
  const loaded = performance.getEntriesByType('resource').map(({ name }) => name);
  const own = [location.href, ...loaded, ...urls].map((url) => new URL(url, location.href)).filter(({ origin }) => origin === location.origin);
  active.postMessage([...new Set(own.map(({ origin, pathname }) => origin + pathname))]);
}

// What the page does beside finding: node features.mjs URL CHROMIUM FOLDER FACE.png SMALL.png FILM.y4m -> what was seen, as JSON.
// SMALL.png: with a face that is found only when zoomed to. FOLDER: takes the downloads.
import { chromium } from 'playwright-core';
import { allowed, camera, noGpu, quiet } from './chromium.mjs';

const [url, executablePath, folder, face, small, film] = process.argv.slice(2);
const software = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-unsafe-swiftshader'];
const seen = { errors: [] };

async function open(args) {
  const browser = await chromium.launch({ executablePath, args: [...quiet, ...camera(film), allowed, ...args] });
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true })).newPage();
  page.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()));
  page.on('pageerror', (error) => seen.errors.push(error.message));
  await page.goto(url);
  await ready(page);
  return [browser, page];
}

const ready = (page) => page.waitForFunction(() => document.querySelector('#status').textContent.endsWith('is ready.'));
const status = (page) => page.textContent('#status');
const captions = (page) => page.$$eval('figcaption', (all) => all.map(({ textContent }) => textContent));
const pane = (page, number = 0) => page.evaluate((i) => {
  const { label, faces, shown } = globalThis.facedet.panes[i];
  return { label, faces, shown };
}, number);

/** Does something, and waits for what it makes the pane show. */
async function shows(page, act, number = 0) {
  const { shown } = await pane(page, number);
  await act();
  await page.waitForFunction(([i, n]) => globalThis.facedet.panes[i].shown > n, [number, shown]);
  await page.waitForTimeout(100);
}

/** The face by a raw float file. */
async function raw(page) {
  const adapter = await page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter()));
  await page.selectOption('#detector', { label: '224 fast float16 raw' });
  await page.waitForFunction(() => globalThis.facedet.panes[0].label === '224 fast float16 raw');
  await page.waitForTimeout(200);
  await shows(page, () => page.setInputFiles('#file', face));
  return { adapter, ...(await pane(page)), caption: (await captions(page))[0] };
}

async function download(page, button) {
  const [got] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  await got.saveAs(`${folder}/${got.suggestedFilename()}`);
  return got.suggestedFilename();
}

{
  const [browser, page] = await open([noGpu]);
  await shows(page, () => page.setInputFiles('#file', [small, face]));
  await page.waitForFunction(() => !document.querySelector('#pictures').hidden);
  seen.strip = await page.$$eval('#pictures button', (all) => all.map((button) => [button.ariaLabel, button.ariaCurrent]));
  seen.whole = { status: await status(page), ...(await pane(page)) };
  await page.focus('#first canvas'); // zoom by keyboard to the middle, where the small face is
  for (let i = 0; i < 4; i++) await shows(page, () => page.keyboard.press('+'));
  seen.zoomed = { status: await status(page), ...(await pane(page)) };
  await page.keyboard.press('0');
  // the second picture by its thumbnail, blurred, compared, saved
  await shows(page, () => page.click('#pictures button:nth-child(2)'));
  seen.second = { current: await page.getAttribute('#pictures [aria-current=true]', 'aria-label'), ...(await pane(page)) };
  await page.check('#blur');
  await page.waitForTimeout(100);
  seen.saved = [await download(page, '#save-picture')];
  await page.uncheck('#blur');
  await shows(page, () => page.selectOption('#compare', { index: 3 }), 1);
  seen.compared = [await pane(page), await pane(page, 1)];
  seen.sideBySide = await page.$$eval('figure', (all) => all.map((figure) => figure.getBoundingClientRect().toJSON()));
  seen.captions = await captions(page);
  seen.saved.push(await download(page, '#save-json'));
  seen.unlabelled = await page.$$eval('button, select, input, canvas[tabindex]', (all) =>
    all.filter((e) => !(e.ariaLabel || e.labels?.length || e.textContent.trim())).map((e) => e.outerHTML));
  // two pictures in a row, the first slow to decode
  await page.evaluate(() => {
    const decode = globalThis.createImageBitmap;
    let calls = 0;
    globalThis.createImageBitmap = async (...given) => {
      const slow = ++calls === 1;
      const bitmap = await decode(...given);
      if (slow) await new Promise((resolve) => setTimeout(resolve, 600));
      return bitmap;
    };
  });
  await page.click('#pictures button:nth-child(1)');
  await page.click('#pictures button:nth-child(2)');
  await page.waitForTimeout(1200);
  seen.lastPicture = await page.evaluate(() => globalThis.facedet.name);
  seen.noGpu = await raw(page);
  // without the server
  await page.waitForFunction(async () => {
    const kept = await (await caches.open('facedet')).keys();
    return ['.wasm', '.tflite', '/detectors.json', '/app.js', '/'].every((end) => kept.some((request) => new URL(request.url).pathname.endsWith(end)));
  });
  await page.waitForTimeout(500);
  const before = seen.errors.length;
  await page.context().setOffline(true);
  await page.reload();
  await ready(page);
  await shows(page, () => page.setInputFiles('#file', face));
  seen.offline = { network: await page.evaluate(() => navigator.onLine), ...(await pane(page)) };
  seen.errors.length = before; // the browser itself logs what it could not fetch
  await browser.close();
}
{
  const [browser, page] = await open(software);
  seen.gpu = await raw(page);
  if (seen.gpu.adapter) { // the GPU is taken away
    await page.evaluate(() => {
      globalThis.facedet.panes[0].detector.network.run = () => Promise.reject(new Error('the device was lost'));
    });
    await shows(page, () => page.setInputFiles('#file', face));
  }
  seen.gpuLost = { ...(await pane(page)), caption: (await captions(page))[0] };
  await browser.close();
}
console.log(JSON.stringify(seen));

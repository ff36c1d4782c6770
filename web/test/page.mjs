// Drives the page in headless Chromium: node page.mjs URL CHROMIUM FILM.y4m PICTURE.png RUNS.json -> what was seen, as JSON.
// RUNS.json: [{file: a .tflite, rgb: [bytes of its input]}]; their outputs are given as they are.
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';
import { allowed, camera, noGpu, quiet } from './chromium.mjs';

const [url, executablePath, film, picture, runs] = process.argv.slice(2);
const seen = { outside: [], errors: [] };

async function open(options, args) {
  const browser = await chromium.launch({ executablePath, args: [...quiet, noGpu, ...args] });
  const page = await (await browser.newContext(options)).newPage();
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) seen.outside.push(request.url());
  });
  page.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()));
  return [browser, page];
}

const status = (page) => page.textContent('#status');
const ready = (page) => page.waitForFunction(() => /is ready|cannot be used/.test(document.querySelector('#status').textContent));
const choose = async (page, label) => {
  await page.selectOption('#detector', { label });
  await page.waitForFunction((chosen) => globalThis.facedet.panes[0].label === chosen, label);
  await page.waitForTimeout(500); // a picture that is open is searched again
};
const shown = (page, count) => page.waitForFunction((n) => globalThis.facedet.panes[0].shown >= n, count);
const faces = (page) => page.evaluate(() => globalThis.facedet.panes[0].faces);

{
  const [browser, page] = await open({ viewport: { width: 390, height: 800 }, serviceWorkers: 'block' }, [...camera(film), allowed]);
  await page.goto(url);
  await ready(page);
  seen.detectors = await page.$$eval('#detector option', (options) => options.map((option) => option.textContent));
  seen.urls = await page.$$eval('#detector option', (options) => Object.fromEntries(options.map((option) => [option.textContent, option.value])));
  seen.pictures = {};
  for (const label of seen.detectors) {
    await choose(page, label);
    const before = await page.evaluate(() => globalThis.facedet.panes[0].shown);
    await page.setInputFiles('#file', picture);
    await shown(page, before + 1);
    seen.pictures[label] = await faces(page);
  }
  // two choices, the first of them slow to arrive, while a picture is searched
  const [slow, quick] = seen.detectors;
  const slowUrl = seen.urls[slow];
  const misused = [];
  page.on('pageerror', (error) => misused.push(error.message));
  await page.route(`**/${slowUrl}`, async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 800));
    await route.continue();
  });
  const late = page.waitForResponse((response) => response.url().endsWith(slowUrl));
  await page.evaluate(() => { // a search that takes longer than the quick one's arrival
    const { detector } = globalThis.facedet.panes[0];
    const { detect } = detector;
    globalThis.misused = [];
    detector.detect = async (...given) => {
      await new Promise((resolve) => setTimeout(resolve, 600));
      return detect.apply(detector, given).catch((error) => globalThis.misused.push(`used when it was deleted: ${error.message}`) && []);
    };
  });
  await page.$eval('#score', (range) => range.dispatchEvent(new Event('input')));
  await page.selectOption('#detector', { label: slow });
  await page.selectOption('#detector', { label: quick });
  await late;
  await page.waitForFunction((label) => globalThis.facedet.panes[0].label === label, quick);
  await page.waitForTimeout(800); // for a program that still takes the late one
  misused.push(...(await page.evaluate(() => globalThis.misused)));
  seen.twoChoices = { label: await page.evaluate(() => globalThis.facedet.panes[0].label), faces: (await faces(page)).length, misused,
                      status: await status(page), caption: await page.textContent('#first figcaption'), wanted: quick };
  await page.unroute(`**/${slowUrl}`);
  await choose(page, seen.detectors[0]);
  seen.outputs = {};
  for (const { file, rgb } of JSON.parse(await readFile(runs))) {
    await page.route('**/run.tflite', (route) => route.fulfill({ path: file, contentType: 'application/octet-stream' }));
    seen.outputs[file] = await page.evaluate(async (bytes) => {
      const { Network } = await import('./network.js');
      const response = await fetch('run.tflite');
      const network = await Network.load(new Uint8Array(await response.arrayBuffer()));
      const outputs = await network.run(Uint8Array.from(bytes));
      network.delete();
      return outputs.map((values) => Array.from(values));
    }, rgb);
    await page.unroute('**/run.tflite');
  }
  seen.errorsBefore = [...seen.errors];
  seen.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

  const before = await page.evaluate(() => globalThis.facedet.panes[0].shown);
  await page.focus('#camera'); // by keyboard
  await page.keyboard.press('Enter');
  await shown(page, before + 3);
  seen.camera = { faces: await faces(page), status: await status(page), pressed: await page.getAttribute('#camera', 'aria-pressed') };
  seen.camera.green = await page.evaluate(() => {
    const [box] = globalThis.facedet.panes[0].faces;
    const view = document.querySelector('#first canvas');
    const [left, top] = box.box;
    const { data } = view.getContext('2d').getImageData(Math.round(left) - 2, Math.round(top) + 20, 5, 1); // across the line
    return [0, 4, 8, 12, 16].some((at) => data[at + 1] > 180 && data[at] < 90 && data[at + 2] < 190);
  });
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.screenshot({ path: process.env.FACEDET_PICTURES === '1' ? 'page.png' : `${film}.png` }); // the README's
  await page.keyboard.press('Enter');
  seen.camera.stopped = await page.getAttribute('#camera', 'aria-pressed');
  await page.setInputFiles('#file', { name: 'text.png', mimeType: 'image/png', buffer: Buffer.from('no picture') });
  await page.waitForFunction(() => document.querySelector('#status').classList.contains('error'));
  seen.noPicture = await status(page);
  await browser.close();
}
{
  const [browser, page] = await open({ permissions: [], serviceWorkers: 'block' }, camera(film));
  await page.route('**/*.tflite', (route) => route.fulfill({ body: 'broken', contentType: 'application/octet-stream' }));
  await page.goto(url);
  await ready(page);
  seen.broken = await status(page);
  await page.click('#camera');
  await page.waitForFunction(() => document.querySelector('#status').textContent.startsWith('No camera'));
  seen.refused = await status(page);
  await browser.close();
}
console.log(JSON.stringify(seen));

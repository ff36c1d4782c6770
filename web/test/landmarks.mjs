// The page with each of its detectors on each picture: node landmarks.mjs URL CHROMIUM SCREENSHOT.png PICTURE.png...
// -> {label: {picture: {faces, status, yellow: how many of the points inside the picture are drawn}}}, as JSON.
import { chromium } from 'playwright-core';
import { noGpu, quiet } from './chromium.mjs';

const [url, executablePath, screenshot, ...pictures] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: [...quiet, noGpu] });
const page = await (await browser.newContext({ serviceWorkers: 'block' })).newPage();
await page.goto(url);
await page.waitForFunction(() => /is ready|cannot be used/.test(document.querySelector('#status').textContent));
await page.$eval('#score', (range) => {
  range.value = range.min;
});
const seen = {};
for (const label of await page.$$eval('#detector option', (options) => options.map((option) => option.textContent))) {
  await page.selectOption('#detector', { label });
  await page.waitForFunction((chosen) => {
    const status = document.querySelector('#status');
    return globalThis.facedet.panes[0].label === chosen || (status.textContent.startsWith(chosen) && status.classList.contains('error'));
  }, label);
  await page.waitForTimeout(300); // a picture that is open is searched again
  seen[label] = {};
  for (const picture of pictures) {
    if (!(await page.evaluate(() => globalThis.facedet.panes[0].detector))) {
      seen[label] = { refused: await page.textContent('#status') };
      break;
    }
    const before = await page.evaluate(() => globalThis.facedet.panes[0].shown);
    await page.setInputFiles('#file', picture);
    await page.waitForFunction((n) => globalThis.facedet.panes[0].shown > n, before);
    seen[label][picture] = await page.evaluate(() => {
      const view = document.querySelector('#first canvas');
      const points = globalThis.facedet.panes[0].faces.flatMap(({ landmarks }) => landmarks ?? []);
      const zoom = view.width / globalThis.facedet.region.width;
      const isYellow = ([x, y]) => {
        const [r, g, b] = view.getContext('2d').getImageData(Math.floor(x * zoom), Math.floor(y * zoom), 1, 1).data;
        return r === 0xff && g === 0xea && b === 0;
      };
      return { faces: globalThis.facedet.panes[0].faces, status: document.querySelector('#status').textContent,
               inside: points.filter(([x, y]) => x >= 0 && y >= 0 && x * zoom < view.width && y * zoom < view.height).length,
               yellow: points.filter(isYellow).length };
    });
    await page.screenshot({ path: screenshot });
  }
}
await browser.close();
console.log(JSON.stringify(seen));

// How the page looks: node look.mjs URL CHROMIUM FOLDER PICTURE.png ... -> {"width scheme": what was seen}, as JSON.
// FOLDER: takes a screenshot of each. The last detector of the list is compared with the first.
import { chromium } from 'playwright-core';
import { noGpu, quiet } from './chromium.mjs';

const [url, executablePath, folder, ...pictures] = process.argv.slice(2);
const sizes = [{ viewport: { width: 1280, height: 800 } },
               { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }];
const seen = {};

/** [text, its contrast by WCAG 2] of all that is shown; of what is disabled none is asked. */
const contrasts = (page) => page.evaluate(() => {
  const pixel = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = (colours) => { // of colours over each other, the lowest first
    for (const colour of ['#fff', ...colours]) {
      pixel.fillStyle = colour;
      pixel.fillRect(0, 0, 1, 1);
    }
    const [red, green, blue] = [...pixel.getImageData(0, 0, 1, 1).data].map((value) => linear(value / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const below = (element) => (element.id === 'hint' ? document.querySelector('#first canvas') : element.parentElement);
  const hasText = (element) => element.matches('select') || [...element.childNodes].some(({ nodeType, data }) => nodeType === 3 && data.trim());
  return [...document.body.querySelectorAll(':not(option, optgroup, :disabled)')].filter((e) => e.checkVisibility() && hasText(e)).map((element) => {
    const grounds = [];
    for (let e = element; e; e = below(e)) grounds.unshift(getComputedStyle(e).backgroundColor);
    const both = [luminance(grounds), luminance([...grounds, getComputedStyle(element).color])];
    return [element.textContent.trim(), (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05)];
  });
});

const browser = await chromium.launch({ executablePath, args: [...quiet, noGpu] });
for (const size of sizes) {
  for (const colorScheme of ['light', 'dark']) {
    const name = `${size.viewport.width} ${colorScheme}`;
    const page = await browser.newPage({ ...size, colorScheme, serviceWorkers: 'block' });
    await page.goto(url);
    await page.waitForFunction(() => document.querySelector('#status').textContent.endsWith('is ready.'));
    const texts = await contrasts(page);
    await page.setInputFiles('#file', pictures);
    await page.waitForFunction((count) => document.querySelectorAll('#pictures button').length === count, pictures.length);
    await page.selectOption('#compare', { index: await page.$$eval('#compare option', (all) => all.length - 1) });
    await page.waitForFunction(() => document.querySelector('#status').textContent.includes(' and ')); // both have searched
    texts.push(...(await contrasts(page)));
    await page.screenshot({ path: `${folder}/${name.replace(' ', '_')}.png`, fullPage: true });
    seen[name] = await page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      ground: getComputedStyle(document.body).backgroundColor,
      thumbnails: document.querySelectorAll('#pictures button').length,
      landmarks: globalThis.facedet.panes.map(({ faces }) => faces.map(({ landmarks }) => landmarks?.length ?? 0)),
    }));
    await page.setInputFiles('#file', { name: 'text.png', mimeType: 'image/png', buffer: Buffer.from('no picture') });
    await page.waitForFunction(() => document.querySelector('#status').classList.contains('error'));
    texts.push(...(await contrasts(page)));
    seen[name].texts = texts;
    await page.close();
  }
}
await browser.close();
console.log(JSON.stringify(seen));

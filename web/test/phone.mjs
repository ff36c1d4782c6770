// What a browser gives the page at an address: node phone.mjs URL CHROMIUM FILM.y4m -> what was seen, as JSON.
import { chromium } from 'playwright-core';

const [url, executablePath, film] = process.argv.slice(2);
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
              '--disable-sync', '--ignore-certificate-errors', // a person accepts it
              '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${film}`];
const context = await chromium.launchPersistentContext('', { executablePath, args }); // a private window installs nothing
const [page] = context.pages();
await page.goto(url);
await page.waitForFunction(() => document.querySelector('#status').textContent.endsWith('is ready.'));
const { installabilityErrors } = await (await context.newCDPSession(page)).send('Page.getInstallabilityErrors');
await page.click('#camera');
await page.waitForFunction(() => globalThis.facedet.panes[0].shown >= 3 || document.querySelector('#status').textContent.startsWith('No camera'));
const seen = await page.evaluate(() => ({ secure: isSecureContext, status: document.querySelector('#status').textContent }));
await context.close();
console.log(JSON.stringify({ ...seen, installabilityErrors }));

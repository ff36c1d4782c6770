// What a browser gives the page at an address: node phone.mjs URL CHROMIUM FILM.y4m -> what was seen, as JSON.
import { chromium } from 'playwright-core';
import { allowed, camera, noGpu, quiet } from './chromium.mjs';

const [url, executablePath, film] = process.argv.slice(2);
const args = [...quiet, noGpu, ...camera(film), allowed, '--ignore-certificate-errors']; // a person accepts the certificate
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

// MediaPipe Tasks' ObjectDetector in headless Chromium: node mediapipe.mjs URL CHROMIUM PICTURE.png MODEL... -> {model: [box and score]}.
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';
import { quiet } from './chromium.mjs';

const [url, executablePath, picture, ...models] = process.argv.slice(2);
const root = new URL('../node_modules/@mediapipe/tasks-vision/', import.meta.url);
const types = { js: 'text/javascript', mjs: 'text/javascript', wasm: 'application/wasm' };
const browser = await chromium.launch({ executablePath, args: quiet });
const page = await browser.newPage();
const outside = [];
page.on('request', (request) => {
  if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) outside.push(request.url());
});
await page.route('**/mediapipe/**', async (route) => {
  const name = new URL(route.request().url()).pathname.split('/mediapipe/')[1];
  await route.fulfill({ body: await readFile(new URL(name, root)), contentType: types[name.split('.').pop()] });
});
await page.goto(`${url}/style.css`); // any page of that origin
const image = (await readFile(picture)).toString('base64');
const found = {};
for (const model of models) {
  const bytes = (await readFile(model)).toString('base64');
  found[model] = await page.evaluate(async ([encoded, png]) => {
    const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const { FilesetResolver, ObjectDetector } = await import('/mediapipe/vision_bundle.mjs');
    const files = await FilesetResolver.forVisionTasks('/mediapipe/wasm');
    const detector = await ObjectDetector.createFromOptions(files, {
      baseOptions: { modelAssetBuffer: decode(encoded) }, scoreThreshold: 0.5, runningMode: 'IMAGE',
    });
    const bitmap = await createImageBitmap(new Blob([decode(png)], { type: 'image/png' }));
    const { detections } = detector.detect(bitmap);
    detector.close();
    return detections.map(({ boundingBox: b, categories: [{ score, categoryName }] }) =>
      ({ box: [b.originX, b.originY, b.originX + b.width, b.originY + b.height], score, label: categoryName }));
  }, [bytes, image]);
}
await browser.close();
console.log(JSON.stringify({ found, outside }));

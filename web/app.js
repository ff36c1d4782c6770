// The page: choice of detector, camera, pictures, score; what was found is drawn over the picture.
import { FaceDetector } from './detector.js';

const $ = (id) => document.getElementById(id);
const view = $('view');
const context = view.getContext('2d');
const state = { detector: null, label: null, picture: null, stream: null, faces: [], shown: 0 };

function say(text, isError = false) {
  $('status').textContent = text;
  $('status').classList.toggle('error', isError);
}

let queue = Promise.resolve();

/** Waits until all that was asked before is done: no detector is deleted while it computes. */
function inTurn(work) {
  const done = queue.then(work);
  queue = done.catch(() => {});
  return done;
}

async function listDetectors() {
  const detectors = await (await fetch('detectors.json')).json();
  for (const entry of detectors) $('detector').add(new Option(entry.label, entry.url));
  if (!detectors.length) throw new Error('exported_models/ holds no .tflite file: export one first');
  $('detector').entries = new Map(detectors.map((entry) => [entry.url, entry]));
}

let choices = 0;

/** Of several choices in a row the last one is loaded. */
async function chooseDetector() {
  const entry = $('detector').entries.get($('detector').value);
  const choice = ++choices;
  say(`Loading ${entry.label} …`);
  if ((await inTurn(() => load(entry, () => choice === choices))) && state.picture) await showPicture();
}

/** Whether the detector is now in use. */
async function load(entry, isWanted) {
  if (!isWanted()) return false;
  state.detector?.delete();
  Object.assign(state, { detector: null, label: null });
  try {
    const response = await fetch(entry.url);
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (!isWanted()) return false;
    state.detector = await FaceDetector.load(bytes);
  } catch (error) {
    if (isWanted()) say(`${entry.label} cannot be used: ${error.message}. Choose another detector.`, true);
    return false;
  }
  state.label = entry.label;
  if (isWanted()) say(`${entry.label} is ready.`);
  return isWanted();
}

/** Draws the picture, finds its faces, and draws them over it. */
const find = (...picture) => inTurn(() => findNow(...picture));

async function findNow(picture, width, height) {
  if (view.width !== width || view.height !== height) Object.assign(view, { width, height });
  $('hint').hidden = true;
  $('hint').style.display = 'none';
  context.drawImage(picture, 0, 0, width, height);
  if (!state.detector) return;
  const begin = performance.now();
  state.faces = await state.detector.detect(picture, width, height, Number($('score').value));
  const took = performance.now() - begin;
  context.drawImage(picture, 0, 0, width, height);
  context.lineWidth = Math.max(2, width / 250);
  context.strokeStyle = '#00e676';
  context.fillStyle = '#ffea00';
  for (const { box: [left, top, right, bottom], landmarks } of state.faces) {
    context.strokeRect(left, top, right - left, bottom - top);
    for (const [x, y] of landmarks ?? []) dot(x, y, context.lineWidth);
  }
  state.shown += 1;
  const count = state.faces.length;
  say(`${count} ${count === 1 ? 'face' : 'faces'}, ${took.toFixed(0)} ms`);
}

function dot(x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

async function showPicture() {
  try {
    await find(state.picture, state.picture.width, state.picture.height);
  } catch (error) {
    say(`The picture could not be searched: ${error.message}.`, true);
  }
}

async function openPicture(file) {
  if (!file) return;
  stopCamera();
  try {
    state.picture = await createImageBitmap(file);
  } catch {
    say(`${file.name} is no picture that this browser can read.`, true);
    return;
  }
  await showPicture();
}

async function toggleCamera() {
  if (state.stream) {
    stopCamera();
    return;
  }
  let stream;
  try {
    if (!navigator.mediaDevices) throw new DOMException('', 'InsecureContext');
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'user' }, audio: false });
  } catch (error) {
    const reasons = {
      NotAllowedError: 'it was not allowed. Allow it in the browser’s address bar and try again',
      NotFoundError: 'this device has none',
      NotReadableError: 'another program is using it',
      InsecureContext: 'browsers give it to https:// pages and to localhost only',
    };
    say(`No camera: ${reasons[error.name] ?? error.message}. You can open a picture instead.`, true);
    return;
  }
  const video = Object.assign(document.createElement('video'), { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  Object.assign(state, { stream, picture: null });
  $('camera').textContent = 'Stop camera';
  $('camera').ariaPressed = 'true';
  const next = async () => {
    if (state.stream !== stream) return;
    try {
      if (video.videoWidth) await find(video, video.videoWidth, video.videoHeight);
    } catch (error) {
      say(`The camera’s picture could not be searched: ${error.message}.`, true);
    }
    requestAnimationFrame(next);
  };
  next();
}

function stopCamera() {
  for (const track of state.stream?.getTracks() ?? []) track.stop();
  state.stream = null;
  $('camera').textContent = 'Start camera';
  $('camera').ariaPressed = 'false';
}

$('detector').addEventListener('change', chooseDetector);
$('camera').addEventListener('click', toggleCamera);
$('file').addEventListener('change', (event) => openPicture(event.target.files[0]));
$('score').addEventListener('input', async () => {
  $('score-shown').textContent = Number($('score').value).toFixed(2);
  if (state.picture) await showPicture();
});
for (const kind of ['dragover', 'dragleave', 'drop']) {
  $('stage').addEventListener(kind, (event) => {
    event.preventDefault();
    $('stage').classList.toggle('dragged', kind === 'dragover');
    if (kind === 'drop') openPicture(event.dataTransfer.files[0]);
  });
}
globalThis.facedet = state; // for the browser's console

try {
  await listDetectors();
  await chooseDetector();
} catch (error) {
  say(`The page could not start: ${error.message}.`, true);
}

// The page: its controls and what they ask of pictures, camera, detectors and downloads.
import { Camera } from './camera.js';
import { Gallery } from './gallery.js';
import { listen } from './gestures.js';
import { keepOffline } from './offline.js';
import { counted, Pane } from './pane.js';
import { Region } from './region.js';
import { saveJson, savePicture } from './saving.js';

const $ = (id) => document.getElementById(id);
const panes = [new Pane($('first')), new Pane($('other'))];
const camera = new Camera();
const gallery = new Gallery($('pictures'), showPicture, (sentence) => say(sentence, true));
const state = { panes, picture: null, name: null, region: null };
const entries = new Map();

/** Screen readers read it aloud: only what is new is written. */
function say(text, isError = false) {
  if ($('status').textContent !== text) $('status').textContent = text;
  $('status').classList.toggle('error', isError);
}

async function listDetectors() {
  const detectors = await (await fetch('detectors.json')).json();
  if (!detectors.length) throw new Error('exported_models/ holds no .tflite file: export one first');
  for (const select of [$('detector'), $('compare')]) {
    const groups = new Map();
    for (const { url, label, group, title } of detectors) {
      if (!groups.has(group)) groups.set(group, select.appendChild(Object.assign(document.createElement('optgroup'), { label: group })));
      groups.get(group).append(Object.assign(new Option(label, url), { title }));
    }
  }
  for (const entry of detectors) entries.set(entry.url, entry);
  return detectors;
}

async function choose(pane, url) {
  const entry = entries.get(url) ?? null;
  pane.figure.hidden = pane !== panes[0] && !entry;
  $('stage').classList.toggle('two', !panes[1].figure.hidden);
  if (pane === panes[0]) $('about').replaceChildren(...entry.title.split(/(?<=_)/).flatMap((part) => [part, document.createElement('wbr')]));
  if (entry) say(`Loading ${entry.label} …`);
  try {
    if (!(await pane.choose(entry))) return;
    if (entry) say(`${entry.label} is ready.`);
    if (!camera.stream) await search();
  } catch (error) {
    pane.draw($('blur').checked); // without the faces of the one before
    say(error.message, true);
  }
}

let searches = 0;

/** Searches what is looked at; of several wishes in a row only the last, for a slider asks more often than a detector answers. */
async function search() {
  const picture = state.picture;
  if (!picture) return;
  const number = ++searches;
  await Promise.resolve();
  if (number !== searches) return;
  try {
    const frame = state.region.frameOf(picture);
    for (const pane of panes) {
      if (!pane.figure.hidden && number === searches) await pane.search(frame, Number($('score').value), $('blur').checked);
    }
  } catch (error) {
    say(`The picture could not be searched: ${error.message}.`, true);
    return;
  }
  const used = panes.filter(({ detector }) => detector);
  if (number === searches && used.length) say(used.map(({ faces }) => counted(faces)).join(' and ') + (state.region.isWhole ? '' : ' in this part'));
}

function look(picture, width, height, name) {
  if (!state.region || state.picture === null || state.name !== name || String(state.region.size) !== String([width, height])) {
    state.region = Region.whole(width, height);
  }
  Object.assign(state, { picture, name });
  $('hint').hidden = true;
  for (const button of document.querySelectorAll('[data-needs-picture]')) button.disabled = false;
  return search();
}

async function showPicture(bitmap, name) {
  stopCamera();
  const before = state.picture;
  state.picture = null;
  if (before instanceof ImageBitmap) before.close();
  await look(bitmap, bitmap.width, bitmap.height, name);
}

async function toggleCamera() {
  if (camera.stream) {
    stopCamera();
    return;
  }
  gallery.leave();
  try {
    await camera.start((video) => look(video, video.videoWidth, video.videoHeight, 'camera'));
  } catch (error) {
    say(error.message, true);
    return;
  }
  showCamera(true);
}

function stopCamera() {
  camera.stop();
  showCamera(false);
}

function showCamera(isOn) {
  $('camera').querySelector('span').textContent = isOn ? 'Stop camera' : 'Camera';
  $('camera').ariaPressed = String(isOn);
  document.body.classList.toggle('filming', isOn);
}

function setRegion(region) {
  if (!state.picture || String([region.left, region.top, region.width]) === String([state.region.left, state.region.top, state.region.width])) return;
  state.region = region;
  if (!camera.stream) search();
}

const view = {
  zoom: (factor, x, y) => {
    if (!state.region) return;
    const { left, top, width, height } = state.region;
    setRegion(x === undefined ? state.region.zoomed(factor) : state.region.zoomed(factor, left + x * width, top + y * height));
  },
  move: (right, down) => state.region && setRegion(state.region.moved(right, down)),
  whole: () => state.region && setRegion(Region.whole(...state.region.size)),
};

$('detector').addEventListener('change', () => choose(panes[0], $('detector').value));
$('compare').addEventListener('change', () => choose(panes[1], $('compare').value));
$('camera').addEventListener('click', toggleCamera);
$('file').addEventListener('change', async ({ target }) => {
  const files = [...target.files];
  target.value = ''; // the same file again is a choice, too
  await gallery.add(files);
});
$('score').addEventListener('input', () => {
  $('score-shown').textContent = Number($('score').value).toFixed(2);
  if (!camera.stream) search();
});
$('blur').addEventListener('change', () => panes.forEach((pane) => pane.draw($('blur').checked)));
$('zoom-in').addEventListener('click', () => view.zoom(1.5));
$('zoom-out').addEventListener('click', () => view.zoom(1 / 1.5));
$('zoom-whole').addEventListener('click', view.whole);
$('save-picture').addEventListener('click', () => {
  const seen = panes.filter(({ figure }) => !figure.hidden);
  for (const { canvas, label } of seen) savePicture(canvas, state.name, seen.length > 1 ? label : '');
});
$('save-json').addEventListener('click', () => saveJson(state.name, state.region.size, panes.filter(({ detector }) => detector)));
for (const pane of panes) listen(pane.canvas, view);
for (const kind of ['dragover', 'dragleave', 'drop']) {
  $('stage').addEventListener(kind, (event) => {
    event.preventDefault();
    $('stage').classList.toggle('dragged', kind === 'dragover');
    if (kind === 'drop') gallery.add([...event.dataTransfer.files]);
  });
}
globalThis.facedet = state; // for the browser's console

try {
  const detectors = await listDetectors();
  await choose(panes[0], $('detector').value);
  await keepOffline(detectors.filter(({ group }) => group === detectors[0].group).map(({ url }) => url));
} catch (error) {
  say(`The page could not start: ${error.message}.`, true);
}

// One detector and its view: of several choices in a row the last is used; what was searched and what was found are drawn together.
import { FaceDetector } from './detector.js';
import { draw } from './drawing.js';
import { inTurn } from './turn.js';

export const counted = (faces) => `${faces.length} ${faces.length === 1 ? 'face' : 'faces'}`;

export class Pane {
  /** @param {HTMLElement} figure  with a canvas and a figcaption */
  constructor(figure) {
    this.figure = figure;
    this.canvas = figure.querySelector('canvas');
    this.caption = figure.querySelector('figcaption');
    Object.assign(this, { detector: null, label: null, faces: [], frame: null, shown: 0, choices: 0 });
  }

  /** Loads the detector of an entry of detectors.json, null for none. Whether it is still wanted when it is there; throws a sentence. */
  async choose(entry) {
    const choice = ++this.choices;
    const isWanted = () => choice === this.choices;
    try {
      const bytes = entry && (await fetchBytes(entry.url));
      return await inTurn(async () => {
        if (!isWanted()) return false;
        this.release();
        if (entry) this.detector = await FaceDetector.load(bytes);
        this.label = entry?.label ?? null;
        if (entry) this.caption.textContent = entry.label;
        return isWanted();
      });
    } catch (error) {
      if (!isWanted()) return false;
      await inTurn(() => isWanted() && this.release());
      throw new Error(`${entry.label} cannot be used: ${error.message}. Choose another detector.`);
    }
  }

  release() {
    this.detector?.delete();
    Object.assign(this, { detector: null, label: null, faces: [] });
    this.caption.textContent = '';
  }

  /** Searches a frame and shows it. Without a detector it is only shown. */
  async search(frame, leastScore, isBlurred) {
    await inTurn(async () => {
      const { canvas, left, top, scale } = frame;
      const begin = performance.now();
      const found = this.detector ? await this.detector.detect(canvas, canvas.width, canvas.height, leastScore) : [];
      const took = performance.now() - begin;
      const toPicture = ([x, y]) => [x / scale + left, y / scale + top];
      this.faces = found.map(({ box, score, landmarks }) => ({
        box: [...toPicture(box.slice(0, 2)), ...toPicture(box.slice(2))], score, landmarks: landmarks?.map(toPicture) ?? null,
      }));
      this.frame = frame;
      this.draw(isBlurred);
      this.shown += 1;
      if (!this.detector) return;
      const where = this.detector.onGpu ? 'GPU' : 'processor';
      this.caption.textContent = `${this.label} · ${counted(found)} · ${took.toFixed(0)} ms · ${where}`;
    });
  }

  draw(isBlurred) {
    if (this.frame) draw(this.canvas, this.frame, this.faces, isBlurred);
  }
}

async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

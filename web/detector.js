// An exported .tflite in the browser: what facedet/runtime/detector.py is in Python.
import { loadAndCompile, loadLiteRt, Tensor } from '@litertjs/core';

let runtime;

/** Loads LiteRT's WebAssembly, once. */
function start() {
  runtime ??= loadLiteRt('./litertjs/core/wasm/');
  return runtime;
}

export class FaceDetector {
  /**
   * @param {Uint8Array} bytes  an exported .tflite
   * @param {{iou_threshold: number, max_detections: number, score_threshold: number}} card  of its model card
   */
  static async load(bytes, card) {
    await start();
    let model;
    try {
      model = await loadAndCompile(bytes, { accelerator: 'wasm' });
    } catch (error) {
      throw new Error(`this is no model that LiteRT can open (${error.message ?? error})`);
    }
    return new FaceDetector(model, card);
  }

  constructor(model, card) {
    const [input] = model.getInputDetails();
    [, this.height, this.width] = input.shape;
    this.model = model;
    this.card = card;
    this.inputType = input.dtype === 'uint8' ? Uint8Array : Float32Array;
    this.hasNms = model.getOutputDetails().length === 4;
    this.canvas = new OffscreenCanvas(this.width, this.height);
    this.context = this.canvas.getContext('2d', { willReadFrequently: true });
    this.context.imageSmoothingQuality = 'high';
  }

  delete() {
    this.model.delete();
  }

  /** The outputs for RGB bytes of the input's size, as typed arrays in the file's order. */
  async run(rgb) {
    const input = new Tensor(this.inputType.from(rgb), [1, this.height, this.width, 3]);
    const outputs = await this.model.run(input);
    input.delete();
    return outputs.map((output) => {
      const values = output.toTypedArray().slice();
      output.delete();
      return values;
    });
  }

  /**
   * Faces of a picture (image, video frame, canvas), best first: {box: [xmin, ymin, xmax, ymax], score, landmarks: null},
   * in pixels of a picture of width x height.
   */
  async detect(picture, width, height, leastScore) {
    this.context.drawImage(picture, 0, 0, this.width, this.height);
    const rgba = this.context.getImageData(0, 0, this.width, this.height).data;
    const rgb = new Uint8Array(this.width * this.height * 3);
    for (let from = 0, to = 0; from < rgba.length; from += 4) {
      rgb[to++] = rgba[from];
      rgb[to++] = rgba[from + 1];
      rgb[to++] = rgba[from + 2];
    }
    const outputs = await this.run(rgb);
    const found = this.hasNms ? suppressed(outputs, leastScore) : suppress(outputs, leastScore, this.card);
    return found.map(({ corners: [top, left, bottom, right], score }) => ({
      box: [clip(left) * width, clip(top) * height, clip(right) * width, clip(bottom) * height],
      score,
      landmarks: null,
    }));
  }
}

const clip = (value) => Math.min(1, Math.max(0, value));

/** Outputs of TFLite_Detection_PostProcess; rows past the count are not initialized. */
function suppressed([boxes, , scores, count], leastScore) {
  const found = [];
  for (let i = 0; i < count[0]; i++) {
    if (scores[i] >= leastScore) found.push({ corners: Array.from(boxes.subarray(4 * i, 4 * i + 4)), score: scores[i] });
  }
  return found;
}

/** Raw outputs: boxes ycenter, xcenter, height, width. Greedy non-maximum suppression. */
function suppress([boxes, scores], leastScore, card) {
  const least = Math.max(leastScore, card.score_threshold);
  const order = [...scores.keys()].filter((i) => scores[i] >= least).sort((a, b) => scores[b] - scores[a]);
  const kept = [];
  for (const i of order) {
    const [y, x, h, w] = boxes.subarray(4 * i, 4 * i + 4);
    const corners = [y - h / 2, x - w / 2, y + h / 2, x + w / 2];
    if (kept.every((other) => overlap(other.corners, corners) <= card.iou_threshold)) kept.push({ corners, score: scores[i] });
    if (kept.length === card.max_detections) break;
  }
  return kept;
}

function overlap(a, b) {
  const height = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const width = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (height <= 0 || width <= 0) return 0;
  const area = (c) => (c[2] - c[0]) * (c[3] - c[1]);
  return (height * width) / (area(a) + area(b) - height * width);
}

// An exported .tflite in the browser: what facedet/runtime/detector.py is in Python.
import { readDetails } from './details.js';
import { Network } from './network.js';
import { Placement } from './placement.js';

export class FaceDetector {
  /** @param {Uint8Array} bytes  an exported .tflite; all that is asked about it is in it */
  static async load(bytes) {
    const details = readDetails(bytes);
    const suitsGpu = !details.with_nms && details.precision !== 'int8'; // it knows neither suppression nor integers
    const onGpu = suitsGpu ? await Network.loadOnGpu(bytes) : null;
    const network = onGpu ?? (await Network.load(bytes));
    const [expected, given] = [expectedOutputs(details, network.outputs), network.outputs].map((outputs) => JSON.stringify(outputs));
    if (given !== expected) {
      network.delete();
      throw new Error(`it has the outputs ${given}, and its details ask for ${expected}: export the file anew`);
    }
    return new FaceDetector(network, details, bytes, Boolean(onGpu));
  }

  constructor(network, details, bytes, onGpu) {
    Object.assign(this, { network, details, bytes, onGpu });
    this.canvas = new OffscreenCanvas(network.width, network.height);
    this.context = this.canvas.getContext('2d', { willReadFrequently: true });
    this.context.imageSmoothingQuality = 'high';
  }

  delete() {
    this.network.delete();
  }

  /**
   * Faces of a picture (image, video frame, canvas), best first: {box: [xmin, ymin, xmax, ymax], score, landmarks: [[x, y], ...]},
   * in pixels of a picture of width x height. landmarks: of five, eyes, nose, mouth corners; of six, eyes, nose tip, mouth
   * centre, ears; the left of the picture first; null where the detector has none.
   */
  async detect(picture, width, height, leastScore) {
    const place = Placement.fit(this.network, this.details.padding, height, width);
    const arrays = await this.run(this.prepare(picture, place));
    const outputs = Object.fromEntries(this.network.outputs.map(([name], i) => [name, arrays[i]]));
    const found = this.details.with_nms ? suppressed(outputs, leastScore, this.details) : suppress(outputs, leastScore, this.details);
    return found.map(({ corners: [top, left, bottom, right], points, score }) => {
      const [[ymin, xmin], [ymax, xmax]] = [[top, left], [bottom, right]].map((corner) => place.toPicture(corner).map(clip));
      const landmarks = points?.map((point) => place.toPicture(point)).map(([y, x]) => [x * width, y * height]) ?? null;
      return { box: [xmin * width, ymin * height, xmax * width, ymax * height], score, landmarks };
    });
  }

  /** On the processor from now on, where the GPU was taken away. */
  async run(rgb) {
    try {
      return await this.network.run(rgb);
    } catch (error) {
      if (!this.onGpu) throw error;
      const network = await Network.load(this.bytes);
      this.network.delete();
      Object.assign(this, { network, onGpu: false });
      return network.run(rgb);
    }
  }

  /** The picture at its place in the input, the padding filled -> RGB bytes. */
  prepare(picture, { top, left, height, width }) {
    const { padding } = this.details;
    const { canvas, context } = this;
    if (padding) {
      context.fillStyle = `rgb(${padding.fill})`;
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    context.drawImage(picture, left, top, width, height);
    const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const rgb = new Uint8Array(canvas.width * canvas.height * 3);
    for (let from = 0, to = 0; from < rgba.length; from += 4) {
      rgb[to++] = rgba[from];
      rgb[to++] = rgba[from + 1];
      rgb[to++] = rgba[from + 2];
    }
    return rgb;
  }
}

/** [name, shape] of each output that a file of these details has; how many raw boxes there are, the file alone says. */
function expectedOutputs({ with_nms: withNms, max_detections: most, landmarks }, [[, [, count]]]) {
  const rows = withNms ? most : count;
  const points = [`${withNms ? 'detection' : 'raw'}_landmarks`, [1, rows, 2 * landmarks]];
  if (!withNms) return [['raw_boxes', [1, rows, 4]], ['raw_scores', [1, rows, 1]], ...(landmarks ? [points] : [])];
  const [boxes, scores] = [['detection_boxes', [1, rows, 4]], ['detection_scores', [1, rows]]];
  const middle = landmarks ? [scores, points] : [['detection_classes', [1, rows]], scores];
  return [boxes, ...middle, ['num_detections', [1]]];
}

const clip = (value) => Math.min(1, Math.max(0, value));

/** Row i of `values` as pairs y, x; undefined where the file has no landmarks. */
const pointsOf = (values, i, count) =>
  values && Array.from({ length: count }, (_, k) => [values[2 * (count * i + k)], values[2 * (count * i + k) + 1]]);

/** Outputs of a file that suppresses by itself; rows past the count hold no detection. */
function suppressed({ detection_boxes: boxes, detection_scores: scores, detection_landmarks: landmarks, num_detections: [count] }, leastScore, details) {
  const found = [];
  for (let i = 0; i < count; i++) {
    if (scores[i] < leastScore) continue;
    found.push({ corners: Array.from(boxes.subarray(4 * i, 4 * i + 4)), points: pointsOf(landmarks, i, details.landmarks), score: scores[i] });
  }
  return found;
}

/** Raw outputs: boxes ycenter, xcenter, height, width. Greedy non-maximum suppression. */
function suppress({ raw_boxes: boxes, raw_scores: scores, raw_landmarks: landmarks }, leastScore, details) {
  const least = Math.max(leastScore, details.score_threshold);
  const order = [...scores.keys()].filter((i) => scores[i] >= least).sort((a, b) => scores[b] - scores[a]);
  const kept = [];
  for (const i of order) {
    const [y, x, h, w] = boxes.subarray(4 * i, 4 * i + 4);
    const corners = [y - h / 2, x - w / 2, y + h / 2, x + w / 2];
    if (kept.every((other) => overlap(other.corners, corners) <= details.iou_threshold)) {
      kept.push({ corners, points: pointsOf(landmarks, i, details.landmarks), score: scores[i] });
    }
    if (kept.length === details.max_detections) break;
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

// What the export packed behind the network, a zip with facedet.json in it: what facedet/runtime/detector.py reads in Python.
const FILE = 'facedet.json';
const [END, ENTRY] = [0x06054b50, 0x02014b50]; // of a zip: its end, an entry of its list

const isBetween = (value, least, most) => typeof value === 'number' && least <= value && value <= most;
const isByte = (value) => Number.isInteger(value) && isBetween(value, 0, 255);
const isPadding = ({ place, fill }) =>
  ['centre', 'end'].includes(place) && Array.isArray(fill) && fill.length === 3 && fill.every(isByte);

const RULES = {
  precision: (value) => ['float32', 'float16', 'int8'].includes(value),
  with_nms: (value) => typeof value === 'boolean',
  max_detections: (value) => Number.isInteger(value) && value > 0,
  score_threshold: (value) => isBetween(value, 0, 1),
  iou_threshold: (value) => isBetween(value, 0, 1),
  landmarks: (value) => [0, 5, 6].includes(value),
  padding: (value) => value === null || (typeof value === 'object' && isPadding(value)),
};

/**
 * Of an exported .tflite: {precision, with_nms, max_detections, score_threshold, iou_threshold, landmarks: 0, 5 or 6,
 * padding: null (pictures are stretched) or {place: 'centre' or 'end', fill: [r, g, b]}}.
 */
export function readDetails(bytes) {
  let details;
  try {
    const packed = readFromZip(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    details = packed && { landmarks: 0, padding: null, ...JSON.parse(new TextDecoder().decode(packed)) };
  } catch (error) {
    throw new Error(`its ${FILE} is damaged (${error.message}): take a whole copy`);
  }
  if (!details) throw new Error(`it holds no ${FILE}: it was not made by scripts/export_tflite.py`);
  for (const [key, fits] of Object.entries(RULES)) {
    if (!fits(details[key])) throw new Error(`${key} in its ${FILE} is ${JSON.stringify(details[key])}: export the file anew`);
  }
  return details;
}

/** The bytes of FILE, stored as it is in the zip at the end of the view; null where there is none. */
function readFromZip(view) {
  let end = view.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== END) end--;
  if (end < 0) return null;
  let at = view.getUint32(end + 16, true);
  while (at < end && view.getUint32(at, true) === ENTRY) {
    const [name, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true));
    const called = new TextDecoder().decode(bytesAt(view, at + 46, name));
    if (called === FILE) {
      const from = view.getUint32(at + 42, true);
      const start = from + 30 + view.getUint16(from + 26, true) + view.getUint16(from + 28, true);
      return bytesAt(view, start, view.getUint32(at + 20, true));
    }
    at += 46 + name + extra + comment;
  }
  return null;
}

const bytesAt = (view, from, count) => new Uint8Array(view.buffer, view.byteOffset + from, count);

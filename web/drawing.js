// A frame with its faces: boxes, landmarks, or the faces made unrecognizable.
export const [GREEN, YELLOW] = ['#00e676', '#ffea00'];
const LEAST_WIDTH = 640; // of a view, so that lines over a small part of a picture stay fine
const [CELLS, MARGIN] = [4, 0.15]; // so few pixels are left of a face with so much around it; the same in facedet/runtime/faces.py

/** Sets the view's size, a whole multiple of the frame's, and draws. faces: in pixels of the picture that the frame is of. */
export function draw(view, frame, faces, isBlurred) {
  const zoom = Math.max(1, Math.ceil(LEAST_WIDTH / frame.canvas.width));
  const [width, height] = [zoom * frame.canvas.width, zoom * frame.canvas.height];
  if (view.width !== width || view.height !== height) Object.assign(view, { width, height });
  const context = view.getContext('2d');
  context.drawImage(frame.canvas, 0, 0, width, height);
  const toView = ([x, y]) => [(x - frame.left) * frame.scale * zoom, (y - frame.top) * frame.scale * zoom];
  const line = Math.max(2, Math.max(width, height) / 320);
  for (const { box, landmarks } of faces) {
    const [[left, top], [right, bottom]] = [toView(box.slice(0, 2)), toView(box.slice(2))];
    if (isBlurred) {
      blur(context, left, top, right, bottom);
      continue;
    }
    context.lineWidth = line;
    context.strokeStyle = GREEN;
    context.strokeRect(left, top, right - left, bottom - top);
    context.fillStyle = YELLOW;
    for (const [x, y] of landmarks?.map(toView) ?? []) {
      context.beginPath();
      context.arc(x, y, Math.max(2, Math.min(1.6 * line, (right - left) / 16)), 0, 2 * Math.PI);
      context.fill();
    }
  }
}

/** A few pixels drawn large over the box and what is around it; not by context.filter, which not every browser has. */
function blur(context, left, top, right, bottom) {
  const { width, height } = context.canvas;
  const [dx, dy] = [MARGIN * (right - left), MARGIN * (bottom - top)];
  const [x, y] = [Math.max(0, Math.floor(left - dx)), Math.max(0, Math.floor(top - dy))];
  const [w, h] = [Math.min(width, Math.ceil(right + dx)) - x, Math.min(height, Math.ceil(bottom + dy)) - y];
  if (w < 1 || h < 1) return; // outside of the part that is shown
  const few = new OffscreenCanvas(CELLS, CELLS);
  const small = few.getContext('2d');
  small.imageSmoothingQuality = 'high';
  small.drawImage(context.canvas, x, y, w, h, 0, 0, CELLS, CELLS);
  context.drawImage(few, x, y, w, h);
}

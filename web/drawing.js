// A frame with its faces: boxes, landmarks, or the faces made unrecognizable.
export const [GREEN, YELLOW] = ['#00e676', '#ffea00'];
const LEAST_WIDTH = 640; // of a view, so that lines over a small part of a picture stay fine
const BLUR = 6; // so many pixels are left across a face

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
      blur(context, left, top, right - left, bottom - top);
      continue;
    }
    context.lineWidth = line;
    context.strokeStyle = GREEN;
    context.strokeRect(left, top, right - left, bottom - top);
    context.fillStyle = YELLOW;
    for (const [x, y] of landmarks?.map(toView) ?? []) {
      context.beginPath();
      context.arc(x, y, Math.max(2, Math.min(line, (right - left) / 16)), 0, 2 * Math.PI);
      context.fill();
    }
  }
}

/** A few pixels drawn large, in an ellipse over the box; not by context.filter, which not every browser has. */
function blur(context, left, top, width, height) {
  const [w, h] = [BLUR, Math.max(1, Math.round((BLUR * height) / Math.max(1, width)))];
  const few = new OffscreenCanvas(w, h);
  const small = few.getContext('2d');
  small.imageSmoothingQuality = 'high';
  small.drawImage(context.canvas, left, top, width, height, 0, 0, w, h);
  context.save();
  context.beginPath();
  context.ellipse(left + width / 2, top + height / 2, width * 0.62, height * 0.62, 0, 0, 2 * Math.PI);
  context.clip();
  context.drawImage(few, left - width * 0.15, top - height * 0.15, width * 1.3, height * 1.3);
  context.restore();
}

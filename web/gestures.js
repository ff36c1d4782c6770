// Zoom and move by double click, drag and keys; they tell what is wanted, and know neither picture nor detector.
const ARROWS = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] };

/** Fractions x, y of the view's picture, which is fitted into its canvas's box by object-fit: contain. */
function place(view, { clientX, clientY }) {
  const box = view.getBoundingClientRect();
  const scale = Math.min(box.width / view.width, box.height / view.height);
  return [0.5 + (clientX - box.left - box.width / 2) / (view.width * scale), 0.5 + (clientY - box.top - box.height / 2) / (view.height * scale)];
}

/** zoom(factor, x, y): x, y fractions, undefined for the middle. move(right, down): fractions of what is seen. whole(): all of it. */
export function listen(view, { zoom, move, whole }) {
  view.addEventListener('dblclick', (event) => zoom(2, ...place(view, event)));
  view.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '+' || event.key === '=') zoom(1.5);
    else if (event.key === '-') zoom(1 / 1.5);
    else if (event.key === '0') whole();
    else if (event.key in ARROWS) move(...ARROWS[event.key]);
    else return;
    event.preventDefault();
  });
  let from = null;
  view.addEventListener('pointerdown', (event) => {
    if (event.button === 0) from = place(view, event);
  });
  view.addEventListener('pointermove', (event) => {
    if (!from) return;
    const to = place(view, event);
    const [right, down] = [from[0] - to[0], from[1] - to[1]];
    if (Math.hypot(right, down) < 0.01) return; // a click's trembling
    view.setPointerCapture(event.pointerId);
    from = to;
    move(right, down);
  });
  for (const kind of ['pointerup', 'pointercancel']) view.addEventListener(kind, () => (from = null));
}

// Downloads: the picture as it is shown, and what was found as JSON.
/** label: of the detector, where there are several. */
export async function savePicture(view, name, label) {
  const blob = await new Promise((resolve) => view.toBlob(resolve, 'image/png'));
  save(blob, `${stem(name)}_faces${label && ` ${label}`}.png`);
}

/** panes: each {label, faces}; boxes [xmin, ymin, xmax, ymax] and landmarks [x, y] in pixels of the whole picture. */
export function saveJson(name, [width, height], panes) {
  const detectors = panes.map(({ label, faces }) => ({ detector: label, faces }));
  save(new Blob([JSON.stringify({ picture: name, width, height, detectors }, null, 1)], { type: 'application/json' }), `${stem(name)}_faces.json`);
}

const stem = (name) => name.replace(/\.[^.]+$/, '');

function save(blob, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

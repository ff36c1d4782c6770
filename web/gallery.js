// The pictures that were opened, and the strip of their thumbnails. Only the one that is looked at is held decoded.
const THUMBNAIL = 144; // px, its longer side

export class Gallery {
  /** onShow(bitmap, name): the picture to look at. onError(sentence). */
  constructor(strip, onShow, onError) {
    Object.assign(this, { strip, onShow, onError, items: [], choices: 0 });
  }

  /** Adds files, and shows the first of them that is a picture. */
  async add(files) {
    const unreadable = [];
    let first = null;
    for (const file of files) {
      const bitmap = await createImageBitmap(file).catch(() => null);
      if (!bitmap) {
        unreadable.push(file.name);
        continue;
      }
      const item = { file, button: this.thumbnail(bitmap, file.name) };
      this.items.push(item);
      item.button.ariaCurrent = 'false';
      item.button.addEventListener('click', () => this.show(item));
      bitmap.close();
      if (!first) await this.show((first = item));
    }
    this.strip.hidden = this.items.length < 2;
    const [name] = unreadable;
    if (unreadable.length > 1) this.onError(`${unreadable.length} files are no pictures that this browser can read: ${unreadable.join(', ')}.`);
    else if (name) this.onError(`${name} is no picture that this browser can read.`);
  }

  /** Of several choices in a row the last is shown. */
  async show(item) {
    const choice = ++this.choices;
    this.mark(item);
    const bitmap = await createImageBitmap(item.file);
    if (choice === this.choices) await this.onShow(bitmap, item.file.name);
    else bitmap.close();
  }

  /** item: the one that is looked at, null for none. */
  mark(item) {
    for (const other of this.items) other.button.ariaCurrent = String(other === item);
  }

  /** What was chosen before is not shown any more. */
  leave() {
    this.choices += 1;
    this.mark(null);
  }

  thumbnail(bitmap, name) {
    const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    canvas.getContext('2d').drawImage(bitmap, 0, 0, width, height);
    const button = Object.assign(document.createElement('button'), { type: 'button', title: name, ariaLabel: name });
    button.append(canvas);
    this.strip.append(button);
    return button;
  }
}

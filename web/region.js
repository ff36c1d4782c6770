// The part of a picture that is looked at and searched: the smaller the part, the larger its faces in the detector's input.
const LEAST_SIDE = 48; // px of the picture
const MOST_PIXELS = 2 ** 24; // of a canvas, on phones

export class Region {
  /** left, top, width, height: in pixels of a picture of size [width, height]. */
  constructor(left, top, width, height, size) {
    Object.assign(this, { left, top, width, height, size });
  }

  static whole(width, height) {
    return new Region(0, 0, width, height, [width, height]);
  }

  get isWhole() {
    return this.width === this.size[0] && this.height === this.size[1];
  }

  /** factor 2: half of each side. x, y: the point of the picture that keeps its place in the view, its middle by default. */
  zoomed(factor, x = this.left + this.width / 2, y = this.top + this.height / 2) {
    const least = LEAST_SIDE / Math.min(...this.size);
    const share = Math.min(1, Math.max(Math.min(1, least), this.width / this.size[0] / factor));
    const [width, height] = this.size.map((side) => side * share);
    const ratio = width / this.width;
    return this.placed(x - (x - this.left) * ratio, y - (y - this.top) * ratio, width, height);
  }

  /** By fractions of what is seen. */
  moved(right, down) {
    return this.placed(this.left + right * this.width, this.top + down * this.height, this.width, this.height);
  }

  placed(left, top, width, height) {
    const inside = (value, most) => Math.round(Math.min(Math.max(0, value), most));
    const [w, h] = [Math.round(width), Math.round(height)];
    return new Region(inside(left, this.size[0] - w), inside(top, this.size[1] - h), w, h, this.size);
  }

  /** A copy of the part, for view and detector alike: {canvas, left, top, scale: pixels of the copy in one of the picture}. */
  frameOf(picture) {
    const { left, top, width, height } = this;
    const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
    canvas.getContext('2d').drawImage(picture, left, top, width, height, 0, 0, canvas.width, canvas.height);
    return { canvas, left, top, scale };
  }
}

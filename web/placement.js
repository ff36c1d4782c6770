// Where a picture lies in the input: what InputSpec.fit and Placement are in facedet/runtime/input_spec.py.

/** Halves to the even neighbour, as Python's round does; Math.round takes them up. Not for numbers below 0. */
function round(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

export class Placement {
  /** top, left, height, width: of the picture in the input, in pixels. input: {height, width}. */
  constructor(top, left, height, width, input) {
    Object.assign(this, { top, left, height, width, input });
  }

  /**
   * @param {{height: number, width: number}} input
   * @param {?{place: string}} padding  of the details; null stretches the picture
   * @param {number} height  of the picture, as width
   */
  static fit(input, padding, height, width) {
    if (!padding) return new Placement(0, 0, input.height, input.width, input);
    const ratio = Math.min(input.height / height, input.width / width);
    const fitted = (side, old) => Math.min(side, Math.max(1, round(old * ratio)));
    const [h, w] = [fitted(input.height, height), fitted(input.width, width)];
    const before = (side, taken) => (padding.place === 'centre' ? Math.floor((side - taken) / 2) : 0);
    return new Placement(before(input.height, h), before(input.width, w), h, w, input);
  }

  /** y, x in fractions of the input -> the same in fractions of the picture. */
  toPicture([y, x]) {
    const { top, left, height, width, input } = this;
    return [(y - top / input.height) / (height / input.height), (x - left / input.width) / (width / input.width)];
  }
}

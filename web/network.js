// A .tflite in LiteRT: bytes of a picture in, typed arrays out. It knows nothing of faces.
import { loadAndCompile, loadLiteRt, Tensor } from '@litertjs/core';

let runtime;

/** Loads LiteRT's WebAssembly, once. */
function start() {
  runtime ??= loadLiteRt('./litertjs/core/wasm/');
  return runtime;
}

export class Network {
  /** @param {Uint8Array} bytes  a .tflite with one input [1, height, width, 3] */
  static async load(bytes) {
    await start();
    try {
      return new Network(await loadAndCompile(bytes, { accelerator: 'wasm' }));
    } catch (error) {
      throw new Error(`this is no model that LiteRT can open (${error.message ?? error})`);
    }
  }

  constructor(model) {
    const [input] = model.getInputDetails();
    [, this.height, this.width] = input.shape;
    this.model = model;
    this.inputType = input.dtype === 'uint8' ? Uint8Array : Float32Array;
    /** [name, shape] of each output, in the file's order. */
    this.outputs = model.getOutputDetails().map(({ name, shape }) => [name, Array.from(shape)]);
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
}

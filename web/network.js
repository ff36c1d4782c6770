// A .tflite in LiteRT: bytes of a picture in, typed arrays out. It knows nothing of faces.
import { getWebGpuDevice, loadAndCompile, loadLiteRt, Tensor } from '@litertjs/core';

let runtime;

/** Loads LiteRT's WebAssembly, once. What it tells by the way is no error: it goes to the console's details. */
function start() {
  globalThis.Module ??= { printErr: (text) => console[/^(INFO|WARNING|[IW]\d{4})/.test(text) ? 'debug' : 'error'](text) };
  runtime ??= loadLiteRt('./litertjs/core/wasm/').catch((error) => {
    runtime = undefined;
    throw error;
  });
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

  /** The same on the GPU, tried once; null where there is no WebGPU, or where not all of the network runs on it. */
  static async loadOnGpu(bytes) {
    await start();
    if (!getWebGpuDevice()) return null;
    let network;
    try {
      network = new Network(await loadAndCompile(bytes, { accelerator: 'webgpu' }));
      const outputs = await network.run(new Uint8Array(3 * network.height * network.width));
      if (network.model.isFullyAccelerated && outputs.every((values) => values.every(Number.isFinite))) return network;
    } catch (error) {
      console.info('The GPU cannot run this network:', error);
    }
    network?.delete();
    return null;
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
    const arrays = [];
    for (const output of outputs) {
      arrays.push((await output.data()).slice());
      output.delete();
    }
    return arrays;
  }
}

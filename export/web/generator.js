// A ganzoo generator in the browser: its metadata, its latents, its images. No other file knows of LiteRT.js.
import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

const OUTPUT = "samples";
const METADATA = "ganzoo";
const VERSION = 1;

export class Generator {
  // From the bytes of a `.tflite` (ArrayBuffer). Throws an Error that names what is wrong.
  static async fromBytes(bytes, runtime) {
    const metadata = readMetadata(bytes);
    await startRuntime(runtime);
    let model;
    try {
      model = await loadAndCompile(new Uint8Array(bytes), { accelerator: "wasm" });
    } catch (error) {
      throw new Error(`LiteRT cannot load this file: ${error.message ?? error}`);
    }
    const names = model.getInputDetails().map((detail) => detail.name).sort().join();
    const expected = metadata.inputs.map((input) => input.name).sort().join();
    if (names !== expected) throw new Error(`The file takes the inputs ${names}, its metadata say ${expected}.`);
    return new Generator(model, metadata);
  }

  constructor(model, metadata) {
    this.model = model;
    this.metadata = metadata;
    this.latents = metadata.inputs.find((input) => input.distribution === "standard normal");
    this.classes = metadata.inputs.find((input) => input.classes)?.classes ?? 0;
    this.shape = metadata.outputs[0].shape; // height, width, channels
    this.size = this.latents.shape.reduce((product, side) => product * side, 1);
    this.directions = unpackDirections(metadata.directions?.[this.latents.name], this.size);
  }

  // One sample, Float32Array of height x width x channels: of latents, a class and a truncation.
  async sample(latents, { classId = 0, truncation = 1 } = {}) {
    const inputs = {};
    for (const { name, shape, classes } of this.metadata.inputs) {
      if (name === this.latents.name) inputs[name] = new Tensor(Float32Array.from(latents), [1, ...shape]);
      else if (classes) inputs[name] = new Tensor(Int32Array.of(classId), [1]);
      else inputs[name] = new Tensor(Float32Array.of(truncation), [1]);
    }
    const outputs = await this.model.run(inputs);
    const values = Float32Array.from(outputs[OUTPUT].toTypedArray());
    for (const tensor of [...Object.values(inputs), ...Object.values(outputs)]) tensor.delete();
    return values;
  }

  // Draw a sample into a canvas of its own size.
  draw(values, canvas) {
    const [height, width, channels] = this.shape;
    const [low, high] = this.metadata.outputs[0].range;
    canvas.width = width;
    canvas.height = height;
    const image = new ImageData(width, height);
    for (let pixel = 0; pixel < width * height; pixel++) {
      for (let colour = 0; colour < 3; colour++) {
        const value = values[pixel * channels + Math.min(colour, channels - 1)];
        image.data[4 * pixel + colour] = Math.round((255 * (value - low)) / (high - low)); // clamped by its type
      }
      image.data[4 * pixel + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  delete() {
    this.model.delete();
  }
}

// Standard normal numbers; the same seed gives the same (mulberry32, Box and Muller).
export function normal(count, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const numbers = new Float32Array(count);
  for (let index = 0; index < count; index += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    numbers[index] = radius * Math.cos(angle);
    if (index + 1 < count) numbers[index + 1] = radius * Math.sin(angle);
  }
  return numbers;
}

// On the great circle from one vector of latents to another (Shoemake 1985), so that the length stays likely.
export function between(first, second, share) {
  const length = (vector) => Math.hypot(...vector) || 1;
  const dot = first.reduce((sum, value, index) => sum + value * second[index], 0) / (length(first) * length(second));
  const angle = Math.acos(Math.max(-1, Math.min(1, dot)));
  const [a, b] = angle < 1e-4 ? [1 - share, share]
    : [Math.sin((1 - share) * angle) / Math.sin(angle), Math.sin(share * angle) / Math.sin(angle)];
  return first.map((value, index) => a * value + b * second[index]);
}

// What ganzoo wrote into a `.tflite`: the JSON in the flatbuffer's metadata of that name.
export function readMetadata(bytes) {
  let text;
  try {
    const view = new DataView(bytes);
    if (view.getUint32(4, false) !== 0x54464c33) throw new Error("no TFLite file"); // "TFL3"
    const model = view.getUint32(0, true);
    const buffers = vector(view, field(view, model, 4));
    for (const entry of vector(view, field(view, model, 6))) {
      const name = field(view, entry, 0);
      if (name && string(view, name + view.getUint32(name, true)) === METADATA) {
        const number = field(view, entry, 1);
        const data = field(view, buffers[number ? view.getUint32(number, true) : 0], 0);
        text = string(view, data + view.getUint32(data, true));
      }
    }
  } catch (error) {
    throw new Error(`This is no TFLite file, or it is damaged (${error.message}).`);
  }
  if (text === undefined) throw new Error("This TFLite file holds no metadata of ganzoo.");
  let metadata;
  try {
    metadata = JSON.parse(text);
  } catch {
    throw new Error("The metadata of this TFLite file are damaged.");
  }
  const known = metadata?.metadata_version === VERSION && Array.isArray(metadata.inputs) && metadata.outputs?.[0]?.shape;
  if (!known) throw new Error("The metadata of this TFLite file are of another version of ganzoo. Export it again.");
  const [output] = metadata.outputs;
  const images = output.shape.length === 3 && [1, 3].includes(output.shape[2]) && output.shape.every((n) => n > 0 && n <= 4096);
  if (!images || !metadata.inputs.some((input) => input.distribution === "standard normal")) {
    throw new Error("This generator does not make images of latents: this page cannot show it.");
  }
  return metadata;
}

// Flatbuffers: a table's field by its number (its place, or 0), a vector of tables, bytes as text.
function field(view, table, number) {
  const layout = table - view.getInt32(table, true);
  const at = 4 + 2 * number;
  const offset = at < view.getUint16(layout, true) ? view.getUint16(layout + at, true) : 0;
  return offset ? table + offset : 0;
}

function vector(view, place) {
  if (!place) return [];
  const start = place + view.getUint32(place, true);
  const count = view.getUint32(start, true);
  if (count > view.byteLength / 4) throw new Error("a list longer than the file");
  return Array.from({ length: count }, (_, index) => {
    const item = start + 4 + 4 * index;
    return item + view.getUint32(item, true);
  });
}

function string(view, start) {
  return new TextDecoder().decode(new Uint8Array(view.buffer, start + 4, view.getUint32(start, true)));
}

// Unit vectors from base64 of float16.
function unpackDirections(packed, size) {
  if (!packed || packed.shape?.[1] !== size) return [];
  const halves = Uint8Array.from(atob(packed.float16), (letter) => letter.charCodeAt(0));
  const view = new DataView(halves.buffer);
  return Array.from({ length: packed.shape[0] }, (_, row) =>
    Float32Array.from({ length: size }, (_, column) => half(view.getUint16(2 * (row * size + column), true))));
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
}

let started;
function startRuntime(folder) {
  if (!started) {
    // What the runtime calls news or a warning it writes as an error.
    const error = console.error.bind(console);
    console.error = (...parts) => {
      const level = /^(INFO|WARNING):/.exec(parts[0])?.[1];
      (level === "INFO" ? console.debug : level === "WARNING" ? console.warn : error)(...parts);
    };
    started = loadLiteRt(folder);
  }
  return started;
}

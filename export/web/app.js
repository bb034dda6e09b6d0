// The page: what is shown, chosen and changed. How images come about stands in `generator.js`.
import { between, Generator, normal } from "./generator.js";

const COUNT = 16;
const SHOWN_DIRECTIONS = 4;
const REACH = 4; // of a direction's slider, in deviations of the latents
const FRAMES = 48;
const RUNTIME = new URL("vendor/core/wasm/", location.href).href;
const $ = (id) => document.getElementById(id);

let generator;
let samples = []; // { latents, classId, shifts, canvas, button }
let chosen = []; // indices, the first and the second
let drawing = 0; // the number of the latest drawing of all: an older one stops

async function start() {
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("sw.js").catch(() => {});
  const files = await (await fetch("files.json")).json();
  for (const { file, label } of files) $("files").add(new Option(label, file));
  $("file-row").hidden = files.length < 2;
  listen();
  await load(files[0].file);
}

async function load(file) {
  tell("Loading the runtime and the generator …");
  const began = performance.now();
  const answer = await fetch(`model/${file}`);
  if (!answer.ok) throw new Error(`${file} cannot be loaded: the server answers ${answer.status}.`);
  const bytes = await answer.arrayBuffer();
  const next = await Generator.fromBytes(bytes, RUNTIME);
  generator?.delete();
  generator = next;
  const { metadata, shape } = generator;
  document.title = $("title").textContent = metadata.entry;
  $("summary").textContent = `${metadata.summary}. Trained on ${metadata.training_data}; licence: ${metadata.licence}.`;
  setClasses(metadata.class_names);
  setDirections();
  await renew();
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const size = (bytes.byteLength / 1e6).toFixed(2);
  $("facts").dataset.load = seconds;
  $("facts").textContent = `${file}: ${size} MB, ${shape[1]} x ${shape[0]} pixels, ready in ${seconds} s, ${await speed()}. On this device's processor.`;
  tell("");
  $("images").hidden = $("controls").hidden = false;
}

async function speed() {
  const latents = normal(generator.size, 1);
  const began = performance.now();
  let count = 0;
  while (count < 20 && performance.now() - began < 500) {
    await generator.sample(latents);
    count++;
  }
  const rate = (1000 * count) / (performance.now() - began);
  $("facts").dataset.rate = rate.toFixed(1);
  return `${rate.toFixed(rate < 10 ? 1 : 0)} images a second`;
}

function setClasses(names) {
  $("class-row").hidden = !generator.classes;
  $("classes").replaceChildren(new Option("all in turn", "-1"));
  for (let index = 0; index < generator.classes; index++) $("classes").add(new Option(names[index] ?? `class ${index}`, index));
}

function setDirections() {
  $("directions").hidden = !generator.directions.length;
  for (const label of $("directions").querySelectorAll("label")) label.remove();
  generator.directions.slice(0, SHOWN_DIRECTIONS).forEach((_, index) => {
    const label = document.createElement("label");
    label.textContent = `Direction ${index + 1}`;
    const slider = Object.assign(document.createElement("input"), { type: "range", min: -REACH, max: REACH, step: 0.1, value: 0 });
    slider.dataset.direction = index;
    slider.addEventListener("input", shift);
    label.append(slider);
    $("directions").append(label);
  });
}

// New latents for all images, from the seed.
async function renew() {
  const seed = Number($("seed").value) >>> 0;
  const asked = Number($("classes").value);
  chosen = [];
  samples = Array.from({ length: COUNT }, (_, index) => ({
    latents: normal(generator.size, (seed + Math.imul(index, 0x9e3779b1)) >>> 0),
    classId: asked >= 0 ? asked : index % (generator.classes || 1),
    shifts: generator.directions.map(() => 0),
    canvas: document.createElement("canvas"),
    button: document.createElement("button"),
  }));
  samples.forEach(({ button, canvas }, index) => {
    button.type = "button";
    button.setAttribute("role", "option");
    button.setAttribute("aria-label", `Image ${index + 1}`);
    button.append(canvas);
    button.addEventListener("click", () => choose(index));
  });
  $("grid").replaceChildren(...samples.map(({ button }) => button));
  mark();
  await drawAll();
}

function shifted({ latents, shifts }) {
  return latents.map((value, place) => shifts.reduce((sum, by, index) => sum + by * generator.directions[index][place], value));
}

async function drawOne(sample) {
  const options = { classId: sample.classId, truncation: Number($("truncation").value) };
  generator.draw(await generator.sample(shifted(sample), options), sample.canvas);
}

async function drawAll() {
  const mine = ++drawing;
  for (const sample of samples) {
    if (mine !== drawing) return;
    await drawOne(sample);
  }
}

function choose(index) {
  chosen = chosen.includes(index) ? chosen.filter((one) => one !== index) : [...chosen, index].slice(-2);
  mark();
}

function mark() {
  samples.forEach(({ button }, index) => {
    button.setAttribute("aria-selected", chosen.includes(index));
    button.dataset.order = chosen.indexOf(index) + 1;
  });
  $("film").disabled = chosen.length !== 2;
  const first = samples[chosen[0]];
  for (const slider of $("directions").querySelectorAll("input")) slider.value = first?.shifts[slider.dataset.direction] ?? 0;
  $("hint").textContent = [
    "Choose an image to change it, a second one for a film between them.",
    "The sliders change the chosen image. Choose a second one for a film between them.",
    "Film goes from the first to the second chosen image. The sliders change the first.",
  ][chosen.length];
}

// The sliders move the first chosen image, or all of them.
async function shift(event) {
  const { value, dataset } = event.target;
  const moved = chosen.length ? [samples[chosen[0]]] : samples;
  for (const sample of moved) sample.shifts[dataset.direction] = Number(value);
  const mine = ++drawing;
  for (const sample of moved) {
    if (mine !== drawing) return;
    await drawOne(sample);
  }
}

// From the first chosen image to the second and back, in the first one's place.
async function film() {
  const [first, second] = chosen.map((index) => samples[index]);
  const mine = ++drawing;
  const [from, to] = [shifted(first), shifted(second)];
  const began = performance.now();
  let frames = 0;
  for (; frames < FRAMES && mine === drawing; frames++) {
    const share = 0.5 - 0.5 * Math.cos((2 * Math.PI * frames) / FRAMES);
    const classId = share < 0.5 ? first.classId : second.classId;
    const latents = between(from, to, share);
    generator.draw(await generator.sample(latents, { classId, truncation: Number($("truncation").value) }), first.canvas);
    await new Promise(requestAnimationFrame);
  }
  $("facts").dataset.frames = ((1000 * frames) / (performance.now() - began)).toFixed(1);
  if (mine === drawing) await drawOne(first);
}

// All images, or the chosen ones, as one PNG of their own size.
async function save() {
  const shown = chosen.length ? chosen.map((index) => samples[index]) : samples;
  const columns = Math.min(shown.length, 4);
  const [height, width] = generator.shape;
  const sheet = Object.assign(document.createElement("canvas"), { width: columns * width, height: Math.ceil(shown.length / columns) * height });
  shown.forEach(({ canvas }, index) =>
    sheet.getContext("2d").drawImage(canvas, (index % columns) * width, Math.floor(index / columns) * height));
  const blob = await new Promise((done) => sheet.toBlob(done, "image/png"));
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(blob),
    download: `${generator.metadata.entry.replace(/[^\w-]+/g, "_")}_${$("seed").value}.png`,
  });
  link.click();
  URL.revokeObjectURL(link.href);
}

function listen() {
  const safely = (action) => (event) => Promise.resolve(action(event)).catch(fail);
  $("again").addEventListener("click", safely(() => {
    $("seed").value = (Number($("seed").value) + 1) >>> 0;
    return renew();
  }));
  $("film").addEventListener("click", safely(film));
  $("save").addEventListener("click", safely(save));
  $("seed").addEventListener("change", safely(renew));
  $("classes").addEventListener("change", safely(renew));
  $("files").addEventListener("change", safely((event) => load(event.target.value)));
  $("truncation").addEventListener("input", safely((event) => {
    $("truncation-value").textContent = Number(event.target.value).toFixed(2);
    return drawAll();
  }));
  $("controls").addEventListener("submit", (event) => event.preventDefault());
}

function tell(text, isError = false) {
  $("message").textContent = text;
  $("message").hidden = !text;
  $("message").classList.toggle("error", isError);
}

function fail(error) {
  tell(error.message ?? String(error), true);
}

window.ganzoo = { sample: (latents, options) => generator.sample(latents, options) }; // for tests of what it makes
start().catch(fail);

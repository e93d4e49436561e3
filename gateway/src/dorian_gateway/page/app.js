// The page: a photo is opened, its faces are found, a sweep of ages is fetched, and controls move through it.

import { Problem, age as requestAges, ageOne, detect, listMethods, setKey } from "./api.js";
import { checkFaces, note, showFaces, showFilters, showScores } from "./panel.js";
import { openPhoto, toOriginal } from "./photo.js";
import { Stage } from "./stage.js";
import { AGES, Sweep } from "./sweep.js";

const $ = (id) => document.getElementById(id);
const STRENGTH_DELAY = 350; // milliseconds without a change before a new sweep is fetched
const TRAVEL = 1400; // milliseconds of the way from now to the first age shown
const isStill = matchMedia("(prefers-reduced-motion: reduce)");

const state = {
  methods: [], method: null, photo: null, faces: [], chosen: new Set(), sweep: null, isFirst: true, age: 30, filter: "",
  work: new AbortController(), travel: 0, retry: null,
};

const stage = new Stage(
  {
    stage: $("stage"), canvas: $("picture"), outlines: $("outlines"), divider: $("divider"), before: $("before"), after: $("after"),
  },
  toggleFace,
);

// --- the photo ---

async function take(file) {
  await guarded(async (signal) => {
    hideAlert();
    say("Opening the photo");
    const photo = await openPhoto(file);
    if (!state.methods.length) await loadMethods();
    signal.throwIfAborted();
    begin(photo);
    $("welcome").hidden = true;
    $("studio").hidden = false;
    document.body.classList.add("working");
    stage.showPhoto(photo);
    $("studio-title").focus({ preventScroll: true });
    busy("Looking for faces");
    const found = await detect(photo.preview, signal);
    if (!found.faces.length) throw new Problem("There is no face in this photo. Choose one in which a face can be seen.", { status: 422 });
    state.faces = found.faces;
    state.chosen = new Set(found.faces.map((face) => face.index));
    stage.showFaces(state.faces, state.chosen);
    showFaces($("faces"), photo, state.faces, state.chosen, toggleFace);
    await fetchSweep(signal);
  }, () => take(file));
}

// Forget what was known of the photo before.
function begin(photo) {
  dropSweep();
  Object.assign(state, { photo, faces: [], chosen: new Set(), isFirst: true });
  $("source").value = "";
  $("now").hidden = true;
  $("age-block").disabled = true;
  $("download").disabled = true;
  $("faces").replaceChildren();
  $("scores").replaceChildren(note("…"));
}

function reset() {
  state.work.abort();
  cancelAnimationFrame(state.travel);
  dropSweep();
  state.photo = null;
  hideAlert();
  $("studio").hidden = true;
  $("welcome").hidden = false;
  document.body.classList.remove("working");
  $("file").value = "";
  $("file").focus();
}

// --- the sweep ---

async function fetchSweep(signal) {
  const { photo, method } = state;
  const targets = isByAge() ? AGES : method.filters.map((filter) => filter.name);
  busy(isByAge() ? `Drawing ${targets.length} ages` : "Drawing");
  const options = { ...settings(), to: isByAge() ? targets : targets.map((filter) => ({ filter })), format: "jpeg" };
  if (state.chosen.size < state.faces.length) options.faces = [...state.chosen];
  const result = await requestAges(photo.preview, options, signal);
  const sweep = await Sweep.read(targets, result.photos);
  signal.throwIfAborted();
  dropSweep();
  state.sweep = sweep;
  ready();
}

function ready() {
  busy("");
  $("age-block").disabled = false;
  $("download").disabled = false;
  if (!state.isFirst) {
    show();
    say("Ready");
    return;
  }
  state.isFirst = false;
  const now = estimatedAge();
  state.age = Math.round(now ?? 30);
  const goal = state.age < 45 ? 75 : 20;
  stage.divide(isByAge() ? middleOfFaces() : 0);
  say("Ready. Move the age slider, from 1 to 90 years.");
  if (isByAge() && !isStill.matches) travelTo(goal);
  else setAge(goal);
}

function dropSweep() {
  state.sweep?.close();
  state.sweep = null;
}

function refresh() {
  $("download").disabled = true;
  if (state.photo === null) return;
  if (!state.chosen.size) {
    state.work.abort();
    busy("");
    dropSweep();
    stage.showMix(null, "Your photo");
    $("scores").replaceChildren(note("Choose a face."));
    return;
  }
  guarded(fetchSweep, refresh);
}

// --- what is shown ---

function show() {
  const { sweep, age, filter } = state;
  $("age-figure").textContent = String(age);
  $("age").value = String(age);
  $("age").setAttribute("aria-valuetext", `${age} years`);
  $("age").style.setProperty("--at", String((age - 1) / 89));
  if (sweep === null) return;
  const target = isByAge() ? age : filter;
  const what = isByAge() ? `at ${age} years` : `with the filter ${filter}`;
  $("after").textContent = isByAge() ? `At ${age}` : filter;
  stage.showMix(isByAge() ? sweep.mixAt(age) : sweep.imageOf(filter), `The photo ${what}, a picture that a network made`);
  const nearest = sweep.nearest(target);
  const reports = nearest.faces.filter((report) => report.face === null || state.chosen.has(report.face.index));
  showScores($("scores"), reports, nearest.target, state.faces.length === 1);
}

function setAge(age) {
  cancelAnimationFrame(state.travel);
  state.age = age;
  show();
}

function travelTo(goal) {
  const from = state.age, begin = performance.now();
  const move = (moment) => {
    const share = Math.max(0, Math.min(1, (moment - begin) / TRAVEL));
    const eased = share * share * (3 - 2 * share);
    state.age = Math.round(from + (goal - from) * eased);
    show();
    if (share < 1) state.travel = requestAnimationFrame(move);
  };
  state.travel = requestAnimationFrame(move);
}

function estimatedAge() {
  return state.faces.find((face) => state.chosen.has(face.index))?.estimated_age ?? null;
}

function middleOfFaces() {
  const { box } = state.faces[0];
  return (box.x + box.width / 2) / state.photo.width;
}

function showNow() {
  const estimate = estimatedAge();
  $("source-field").hidden = state.chosen.size !== 1;
  $("source").placeholder = estimate === null ? "" : `≈ ${Math.round(estimate)}`;
  const age = settings().source ?? estimate;
  $("now").hidden = age === null;
  if (age !== null) $("now").style.setProperty("--at", String((Math.max(1, Math.min(90, age)) - 1) / 89));
}

function toggleFace(index) {
  if (state.chosen.has(index)) state.chosen.delete(index);
  else state.chosen.add(index);
  stage.choose(state.chosen);
  checkFaces($("faces"), state.chosen);
  refresh();
}

// --- methods ---

async function loadMethods() {
  const served = await listMethods();
  state.methods = served.methods;
  const options = served.methods.map((method) => new Option(method.name.replaceAll("_", " "), method.name));
  $("method").replaceChildren(...options);
  pickMethod((served.methods.find((method) => method.is_default) ?? served.methods[0]).name);
}

function pickMethod(name) {
  state.method = state.methods.find((method) => method.name === name);
  const { description, commercial_use: free, filters } = state.method;
  $("method").value = name;
  $("method-about").textContent = free === false ? `${description} Not for commercial use.` : description;
  $("age-block").hidden = !isByAge();
  $("filter-block").hidden = isByAge();
  state.filter = filters[0]?.name ?? "";
  showFilters($("filters"), filters, state.filter, (filter) => {
    state.filter = filter;
    show();
  });
}

function isByAge() {
  return state.method.age_groups.length > 0;
}

function settings() {
  const strength = Number($("strength").value) / 100;
  const source = $("source").value;
  return {
    method: state.method.name,
    strength: strength === 1 ? null : strength,
    source: source && state.chosen.size === 1 ? Number(source) : null,
  };
}

// --- download ---

async function download() {
  await guarded(async (signal) => {
    const { photo, age, filter } = state;
    busy("Drawing the photo at its full size");
    const options = { ...settings(), to: isByAge() ? age : { filter }, quality: photo.type === "image/png" ? null : 95 };
    if (state.chosen.size < state.faces.length) {
      options.faces = state.faces.filter((face) => state.chosen.has(face.index)).map((face) => toOriginal(face.box, photo.scale));
    }
    const blob = await ageOne(photo.original, options, photo.type, signal);
    busy("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${photo.name}-${isByAge() ? `at-${age}` : filter}.${photo.suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    say(`Saved as ${link.download}`);
  }, download);
}

// --- messages ---

// Run work that a newer one ends; its failure is shown, with a way to try again where that may help.
async function guarded(work, retry) {
  state.work.abort();
  state.work = new AbortController();
  const { signal } = state.work;
  try {
    await work(signal);
    if (!signal.aborted && state.photo !== null) showNow();
  } catch (error) {
    if (signal.aborted) return;
    busy("");
    if (!(error instanceof Problem)) console.error(error);
    if (error.status === 401) askForKey(retry);
    else alert(error, retry);
  }
}

function alert(error, retry) {
  const isKnown = error instanceof Problem;
  $("alert-text").textContent = isKnown ? sentence(error.message) : "Something went wrong on this page.";
  $("alert-action").hidden = isKnown && !error.isTemporary;
  state.retry = retry;
  $("alert").hidden = false;
  $("download").disabled = state.sweep === null;
  if (state.sweep === null && state.photo !== null && isKnown && error.status === 422) {
    $("studio").hidden = true;
    $("welcome").hidden = false;
    document.body.classList.remove("working");
    $("file").value = "";
  }
}

function hideAlert() {
  $("alert").hidden = true;
}

function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}

function busy(text) {
  $("busy").hidden = !text;
  $("busy-text").textContent = text ? `${text} …` : "";
  $("stage").setAttribute("aria-busy", String(Boolean(text)));
  if (text) say(text);
}

function say(text) {
  $("status").textContent = text;
}

function askForKey(retry) {
  const dialog = $("key-dialog");
  dialog.onclose = () => {
    setKey($("key").value);
    if ($("key").value) retry();
  };
  dialog.showModal();
}

// --- events ---

$("file").addEventListener("change", () => { if ($("file").files.length) take($("file").files[0]); });
$("age").addEventListener("input", () => setAge(Number($("age").value)));
$("method").addEventListener("change", () => { pickMethod($("method").value); hideAlert(); refresh(); });
$("source").addEventListener("change", () => { if ($("source").reportValidity()) refresh(); });
$("download").addEventListener("click", download);
$("another").addEventListener("click", reset);
$("alert-action").addEventListener("click", () => { hideAlert(); state.retry?.(); });
$("show-outlines").addEventListener("change", () => $("outlines").classList.toggle("off", !$("show-outlines").checked));

function showStrength() {
  $("strength-figure").textContent = `${$("strength").value} %`;
  $("strength").style.setProperty("--at", String(Number($("strength").value) / 150));
  $("strength").setAttribute("aria-valuetext", `${$("strength").value} %`);
}

let strengthTimer = 0;
showStrength();
$("strength").addEventListener("input", () => {
  showStrength();
  clearTimeout(strengthTimer);
  strengthTimer = setTimeout(refresh, STRENGTH_DELAY);
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => { if (event.relatedTarget === null) document.body.classList.remove("dragging"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((item) => item.type.startsWith("image/"));
  if (file) take(file);
});

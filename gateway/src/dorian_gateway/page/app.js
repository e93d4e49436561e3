// The page: a photo is opened, its faces are found, a sweep of ages is fetched, and controls move through it.

import { Problem, change, changeOne, detect, listMethods } from "./api.js";
import { askForKey, busy, hideAlert, say, showAlert } from "./messages.js";
import { Mix } from "./mix.js";
import { checkFaces, note, showFaces, showFilters, showScores } from "./panel.js";
import { openPhoto, toOriginal } from "./photo.js";
import { Stage } from "./stage.js";
import { AGES, Sweep } from "./sweep.js";

const $ = (id) => document.getElementById(id);
const STRENGTH_DELAY = 350; // milliseconds without a change before a new sweep is fetched
const MIXED = "mixed"; // the target of a mix
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
const mix = new Mix(takeOther, refresh);

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
    await fetchResult(signal);
  }, () => take(file));
}

// Take another photo, whose face is to be mixed in.
async function takeOther(file) {
  clear("…");
  await guarded(async (signal) => {
    hideAlert();
    const photo = await openPhoto(file);
    signal.throwIfAborted();
    mix.setPhoto(photo);
    await fetchResult(signal);
  }, () => takeOther(file));
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

// --- the sweep, or the mix ---

function fetchResult(signal) {
  return isMixing() ? fetchMix(signal) : fetchSweep(signal);
}

async function fetchMix(signal) {
  busy(`Mixing with ${mix.describe()}`);
  const options = { ...mix.fields(), strength: strength(), faces: chosenFaces(), format: "jpeg" };
  const result = await change("mix", state.photo.preview, options, signal).catch((error) => {
    if (error.reason !== "NO_FACE" || !error.field?.startsWith("references")) throw error;
    throw new Problem("There is no face in the other photo. Choose one in which a face can be seen.", { status: 422 });
  });
  const sweep = await Sweep.read([MIXED], [result]);
  signal.throwIfAborted();
  if (result.references[0].face !== null) mix.showFace(result.references[0].face.box);
  dropSweep();
  state.sweep = sweep;
  ready();
}

async function fetchSweep(signal) {
  const { photo, method } = state;
  const targets = isByAge() ? AGES : method.filters.map((filter) => filter.name);
  busy(isByAge() ? `Drawing ${targets.length} ages` : "Drawing");
  const to = isByAge() ? targets : targets.map((filter) => ({ filter }));
  const options = { ...settings(), to, faces: chosenFaces(), format: "jpeg" };
  const result = await change("age", photo.preview, options, signal);
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
  if (isMixing() || !state.isFirst) {
    if (isMixing() && $("divider").value === "0") stage.divide(middleOfFaces());
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
  if (!state.chosen.size) clear("Choose a face.");
  else if (isMixing() && !mix.isReady) clear("Choose the other photo.");
  else guarded(fetchResult, refresh);
}

// Show the photo as it is, and what is to be done next.
function clear(advice) {
  $("download").disabled = true;
  state.work.abort();
  busy("");
  dropSweep();
  stage.showMix(null, "Your photo");
  $("scores").replaceChildren(note(advice));
}

// --- what is shown ---

function show() {
  const { sweep, age, filter } = state;
  $("age-figure").textContent = String(age);
  $("age").value = String(age);
  $("age").setAttribute("aria-valuetext", `${age} years`);
  $("age").style.setProperty("--at", String((age - 1) / 89));
  if (sweep === null) return;
  const isSweep = !isMixing() && isByAge();
  const target = isMixing() ? MIXED : isSweep ? age : filter;
  const what = isMixing() ? `mixed with ${mix.describe()}` : isSweep ? `at ${age} years` : `with the filter ${filter}`;
  $("after").textContent = isMixing() ? "Mixed" : isSweep ? `At ${age}` : filter;
  stage.showMix(isSweep ? sweep.mixAt(age) : sweep.imageOf(target), `The photo ${what}, a picture that a network made`);
  const nearest = sweep.nearest(target);
  const reports = nearest.faces.filter((report) => report.face === null || state.chosen.has(report.face.index));
  const how = isMixing() ? what : isSweep ? `drawn at ${nearest.target} years` : `drawn at “${target}”`;
  showScores($("scores"), reports, how, state.faces.length === 1);
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
  $("source-field").hidden = state.chosen.size !== 1 || isMixing();
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
  mix.offer(served.methods);
  $("mode-block").hidden = mix.method === null;
  const options = served.methods.map((method) => new Option(method.name.replaceAll("_", " "), method.name));
  $("method").replaceChildren(...options);
  pickMethod((served.methods.find((method) => method.is_default) ?? served.methods[0]).name);
}

function pickMethod(name) {
  state.method = state.methods.find((method) => method.name === name);
  const { description, commercial_use: free, filters } = state.method;
  $("method").value = name;
  $("method-about").textContent = free === false ? `${description} Not for commercial use.` : description;
  showMode();
  state.filter = filters[0]?.name ?? "";
  showFilters($("filters"), filters, state.filter, (filter) => {
    state.filter = filter;
    show();
  });
}

// Show the controls of ageing, or those of mixing.
function showMode() {
  $("age-block").hidden = isMixing() || !isByAge();
  $("filter-block").hidden = isMixing() || isByAge();
  $("mix-block").hidden = !isMixing();
  for (const id of ["method-field", "method-about"]) $(id).hidden = isMixing();
  $("hair-field").hidden = isMixing() || !state.method.changes_hair;
}

function isMixing() {
  return $("mode-mix").checked && mix.method !== null;
}

function isByAge() {
  return state.method.age_groups.length > 0;
}

// The numbers of the chosen faces, unless that is all of them.
function chosenFaces() {
  return state.chosen.size < state.faces.length ? [...state.chosen] : null;
}

function strength() {
  const factor = Number($("strength").value) / 100;
  return factor === 1 ? null : factor;
}

function settings() {
  const source = $("source").value;
  return {
    method: state.method.name,
    strength: strength(),
    source: source && state.chosen.size === 1 ? Number(source) : null,
    keep_hair: state.method.changes_hair && !$("hair").checked ? true : null,
  };
}

// --- download ---

async function download() {
  await guarded(async (signal) => {
    const { photo, age, filter } = state;
    busy("Drawing the photo at its full size");
    const ageing = () => ({ ...settings(), to: isByAge() ? age : { filter } });
    const options = isMixing() ? { ...mix.fields(), strength: strength() } : ageing();
    options.quality = photo.type === "image/png" ? null : 95;
    const suffix = isMixing() ? mix.suffix() : isByAge() ? `at-${age}` : filter;
    if (state.chosen.size < state.faces.length) {
      options.faces = state.faces.filter((face) => state.chosen.has(face.index)).map((face) => toOriginal(face.box, photo.scale));
    }
    const blob = await changeOne(isMixing() ? "mix" : "age", photo.original, options, photo.type, signal);
    busy("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${photo.name}-${suffix}.${photo.suffix}`;
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
  showAlert(error);
  state.retry = retry;
  $("download").disabled = state.sweep === null;
  const isUseless = error instanceof Problem && error.status === 422 && !isMixing(); // the photo itself
  if (state.sweep === null && state.photo !== null && isUseless) {
    $("studio").hidden = true;
    $("welcome").hidden = false;
    document.body.classList.remove("working");
    $("file").value = "";
  }
}

// --- events ---

$("file").addEventListener("change", () => { if ($("file").files.length) take($("file").files[0]); });
$("age").addEventListener("input", () => setAge(Number($("age").value)));
$("method").addEventListener("change", () => { pickMethod($("method").value); hideAlert(); refresh(); });
for (const id of ["mode-age", "mode-mix"]) {
  $(id).addEventListener("change", () => {
    cancelAnimationFrame(state.travel);
    hideAlert();
    dropSweep();
    showMode();
    refresh();
  });
}
$("hair").addEventListener("change", refresh);
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
  const isOther = event.target instanceof Element && event.target.closest("#mix-block") !== null;
  if (event.dataTransfer.files.length) (isOther ? takeOther : take)(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((item) => item.type.startsWith("image/"));
  if (file) take(file);
});

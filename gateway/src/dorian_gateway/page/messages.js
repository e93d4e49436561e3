// What is said to people: what happens, what went wrong, and that a key is wanted.

import { Problem, setKey } from "./api.js";

const $ = (id) => document.getElementById(id);

export function say(text) {
  $("status").textContent = text;
}

export function busy(text) {
  $("busy").hidden = !text;
  $("busy-text").textContent = text ? `${text} …` : "";
  $("stage").setAttribute("aria-busy", String(Boolean(text)));
  if (text) say(text);
}

export function showAlert(error) {
  const isKnown = error instanceof Problem;
  $("alert-text").textContent = isKnown ? sentence(error.message) : "Something went wrong on this page.";
  $("alert-action").hidden = isKnown && !error.isTemporary;
  $("alert").hidden = false;
}

export function hideAlert() {
  $("alert").hidden = true;
}

export function askForKey(retry) {
  const dialog = $("key-dialog");
  dialog.onclose = () => {
    setKey($("key").value);
    if ($("key").value) retry();
  };
  dialog.showModal();
}

function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}

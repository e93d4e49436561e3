// Mixing: the face of another photo, or faces of an age, lend their styles to the photo's. Controls, and the request that they make.

import { thumbnail } from "./panel.js";

const $ = (id) => document.getElementById(id);

export class Mix {
  // onPhoto: what to do with a chosen file; onChange: what to do when the result has to be drawn again.
  constructor(onPhoto, onChange) {
    this.photo = null;
    this.method = null;
    $("mix-file").addEventListener("change", () => { if ($("mix-file").files.length) onPhoto($("mix-file").files[0]); });
    $("mix-preset").addEventListener("change", onChange);
    $("mix-age").addEventListener("change", () => { if ($("mix-age").reportValidity()) onChange(); });
    for (const radio of document.getElementsByName("mix-source")) {
      radio.addEventListener("change", () => {
        this.showSource();
        onChange();
      });
    }
  }

  // The first method that mixes styles, if there is one.
  offer(methods) {
    this.method = methods.find((method) => method.style_levels > 0) ?? null;
    if (this.method === null) return;
    $("mix-about").textContent = this.method.commercial_use === false ? "Not for commercial use." : "";
    this.showSource();
  }

  showSource() {
    $("mix-photo-field").hidden = this.isByAge;
    $("mix-age-field").hidden = !this.isByAge;
    // One photo cannot serve a preset that wants a face for each of several groups of levels.
    const presets = this.method.style_presets.filter((preset) => this.isByAge || preset.groups.length === 1);
    const former = $("mix-preset").value || "mid";
    $("mix-preset").replaceChildren(...presets.map((preset) => new Option(labelOf(preset), preset.name)));
    const names = presets.map((preset) => preset.name);
    $("mix-preset").value = names.includes(former) ? former : names[0];
  }

  get isByAge() {
    return $("mix-age-source").checked;
  }

  // Whether there is something to mix with.
  get isReady() {
    return this.isByAge || this.photo !== null;
  }

  setPhoto(photo) {
    this.photo = photo;
    $("mix-file").value = "";
    $("mix-name").textContent = photo === null ? "Choose the other photo" : photo.name;
    if (photo === null) return;
    const side = Math.min(photo.width, photo.height) / 1.25;
    this.showFace({ x: (photo.width - side) / 2, y: (photo.height - side) / 2, width: side, height: side });
  }

  // box: of the face whose styles were taken.
  showFace(box) {
    $("mix-thumb").replaceChildren(thumbnail(this.photo, box));
  }

  // The fields of a request, but for the photo, its faces and the strength.
  fields() {
    const from = this.isByAge ? { to: Number($("mix-age").value) } : { references: this.photo.preview };
    return { ...from, method: this.method.name, preset: $("mix-preset").value };
  }

  // What the result was made with, for people, and for the name of a file.
  describe() {
    return this.isByAge ? `faces of ${$("mix-age").value} years` : "another face";
  }

  suffix() {
    return this.isByAge ? `mixed-with-${$("mix-age").value}` : `mixed-with-${this.photo.name}`;
  }
}

function labelOf(preset) {
  const levels = preset.groups.map(listLevels).join(" | ");
  return `${preset.name.replaceAll("-", " ")} (${levels})`;
}

// Levels in words: 5–12 for all from 5 to 12.
function listLevels(levels) {
  const isRun = levels.length > 2 && levels.at(-1) - levels[0] === levels.length - 1;
  return isRun ? `${levels[0]}–${levels.at(-1)}` : levels.join(", ");
}

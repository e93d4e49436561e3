// The picture: before on the left of the divider, after on its right, with the faces outlined.

const MIN_TAG = 0.14; // share of the width below which a side's tag is hidden

export class Stage {
  constructor(elements, onToggleFace) {
    this.elements = elements;
    this.onToggleFace = onToggleFace;
    this.photo = null;
    this.mix = null;
    this.isDue = false;
    elements.divider.addEventListener("input", () => this.redraw());
  }

  showPhoto(photo) {
    const { stage, canvas } = this.elements;
    this.photo = photo;
    this.mix = null;
    canvas.width = photo.width;
    canvas.height = photo.height;
    stage.style.setProperty("--ratio", String(photo.width / photo.height));
    this.showFaces([], new Set());
    this.divide(0);
  }

  showFaces(faces, chosen) {
    const outlines = faces.map((face) => {
      const outline = document.createElement("button");
      outline.type = "button";
      outline.tabIndex = -1;
      outline.className = "outline";
      outline.style.left = `${(100 * face.box.x) / this.photo.width}%`;
      outline.style.top = `${(100 * face.box.y) / this.photo.height}%`;
      outline.style.width = `${(100 * face.box.width) / this.photo.width}%`;
      outline.style.height = `${(100 * face.box.height) / this.photo.height}%`;
      if (faces.length > 1) outline.append(Object.assign(document.createElement("span"), { textContent: String(face.index + 1) }));
      outline.addEventListener("click", () => this.onToggleFace(face.index));
      outline.dataset.index = String(face.index);
      return outline;
    });
    this.elements.outlines.replaceChildren(...outlines);
    this.choose(chosen);
  }

  choose(chosen) {
    for (const outline of this.elements.outlines.children) {
      outline.classList.toggle("chosen", chosen.has(Number(outline.dataset.index)));
    }
  }

  showMix(mix, label) {
    this.mix = mix;
    this.elements.canvas.setAttribute("aria-label", label);
    this.redraw();
  }

  divide(share) {
    this.elements.divider.value = String(Math.round(100 * share));
    this.redraw();
  }

  redraw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  draw() {
    if (this.photo === null) return;
    const { stage, canvas, divider, before, after } = this.elements;
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    const at = this.mix === null ? 1 : Number(divider.value) / 100;
    context.globalAlpha = 1;
    context.drawImage(this.photo.image, 0, 0, width, height);
    if (this.mix !== null && at < 1) {
      context.save();
      context.beginPath();
      context.rect(at * width, 0, width, height);
      context.clip();
      context.drawImage(this.mix.lower, 0, 0, width, height);
      if (this.mix.share > 0) {
        context.globalAlpha = this.mix.share;
        context.drawImage(this.mix.upper, 0, 0, width, height);
      }
      context.restore();
    }
    stage.style.setProperty("--at", String(at));
    stage.classList.toggle("has-result", this.mix !== null);
    divider.setAttribute("aria-valuetext", `${Math.round(100 * at)} % before, ${Math.round(100 - 100 * at)} % after`);
    before.hidden = this.mix === null || at < MIN_TAG;
    after.hidden = this.mix === null || at > 1 - MIN_TAG;
  }
}

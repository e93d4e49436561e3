// What stands beside the picture: faces to choose, filters, scores.

const THUMB = 96; // pixels

const WARNINGS = {
  AGE_UNCERTAIN: "How old this face is now is uncertain. Enter it above if you know it.",
  FACE_COVERED: "Much of this face is covered; the result may look wrong.",
  FACE_TURNED: "The photo seems to be turned; the result may look wrong.",
};

export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export function note(text) {
  return element("p", "quiet", text);
}

export function showFaces(parent, photo, faces, chosen, onToggle) {
  const chips = faces.map((face) => {
    const box = element("input", "unseen");
    box.type = "checkbox";
    box.checked = chosen.has(face.index);
    box.dataset.index = String(face.index);
    box.addEventListener("change", () => onToggle(face.index));
    const age = face.estimated_age === null ? "age unknown" : `about ${Math.round(face.estimated_age)}`;
    const name = faces.length > 1 ? `Face ${face.index + 1}, ` : "";
    return element("label", "face", box, thumbnail(photo, face.box), element("span", "", `${name}${age}`));
  });
  parent.replaceChildren(...chips);
}

export function checkFaces(parent, chosen) {
  for (const box of parent.querySelectorAll("input")) box.checked = chosen.has(Number(box.dataset.index));
}

export function showFilters(parent, filters, selected, onSelect) {
  const pills = filters.map((filter) => {
    const radio = element("input", "unseen");
    radio.type = "radio";
    radio.name = "filter";
    radio.value = filter.name;
    radio.checked = filter.name === selected;
    radio.addEventListener("change", () => onSelect(filter.name));
    const pill = element("label", "pill", radio, element("span", "", filter.name));
    pill.title = filter.description;
    return pill;
  });
  parent.replaceChildren(...pills);
}

// reports: those of the photo that is shown, for the chosen faces; how: what was done to them.
export function showScores(parent, reports, how, isAlone) {
  parent.replaceChildren(...reports.map((report) => scoresOf(report, how, isAlone)));
}

function scoresOf(report, how, isAlone) {
  const list = element("dl", "scores-of");
  if (!isAlone && report.face) list.append(element("dt", "whose", `Face ${report.face.index + 1}`));
  if (report.error) {
    list.append(element("dd", "warning", report.error.message));
    return list;
  }
  if (report.estimated_age_after !== null) {
    const interval = report.interval_after;
    const range = interval ? ` (${Math.round(interval.low)}–${Math.round(interval.high)})` : "";
    list.append(row("Looks", `${Math.round(report.estimated_age_after)}${range}`, how));
  }
  if (report.identity_similarity !== null) {
    const match = report.match;
    list.append(row("Likeness", report.identity_similarity.toFixed(2), match ? match.text : ""));
    list.append(meter(report.identity_similarity, match));
  }
  for (const warning of report.warnings) list.append(element("dd", "warning", WARNINGS[warning.code] ?? warning.message));
  return list;
}

function row(term, figure, note) {
  return element("div", "score", element("dt", "", term), element("dd", "", element("b", "", figure), " ", element("span", "quiet", note)));
}

function meter(similarity, match) {
  const bar = element("div", "likeness");
  bar.setAttribute("aria-hidden", "true");
  bar.style.setProperty("--value", String(Math.max(0, Math.min(1, similarity))));
  if (match) bar.style.setProperty("--threshold", String(Math.max(0, Math.min(1, match.threshold))));
  if (match && !match.same_person) bar.classList.add("low");
  return element("dd", "", bar);
}

export function thumbnail(photo, box) {
  const canvas = element("canvas", "thumb");
  const side = 1.25 * Math.max(box.width, box.height);
  canvas.width = THUMB;
  canvas.height = THUMB;
  const left = box.x + box.width / 2 - side / 2;
  const top = box.y + box.height / 2 - side / 2;
  canvas.getContext("2d").drawImage(photo.image, left, top, side, side, 0, 0, THUMB, THUMB);
  return canvas;
}

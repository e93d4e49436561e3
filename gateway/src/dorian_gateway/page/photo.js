// A chosen file as a photo: upright, with a smaller preview on which faces are shown and ages are swept.

import { Problem } from "./api.js";

const PREVIEW_SIDE = 1280; // pixels
const PREVIEW_BYTES = 1.5e6; // a smaller file of a small photo is sent as it is
const SENT_TYPES = new Map([["image/jpeg", "jpg"], ["image/png", "png"], ["image/webp", "webp"]]);

export async function openPhoto(file) {
  let full;
  try {
    full = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Problem("This file is not a photo that can be opened here. Choose a JPEG, PNG or WebP file.", { status: 415 });
  }
  const { width, height } = full;
  const scale = Math.min(1, PREVIEW_SIDE / Math.max(width, height));
  const isSent = SENT_TYPES.has(file.type);
  const canvas = draw(full, Math.round(width * scale), Math.round(height * scale));
  const isSmall = isSent && scale === 1 && file.size <= PREVIEW_BYTES;
  const photo = {
    name: (file.name || "photo").replace(/\.[^.]*$/, ""),
    preview: isSmall ? file : await encode(canvas, 0.92),
    original: isSent ? file : await encode(draw(full, width, height), 0.95),
    image: canvas,
    width: canvas.width,
    height: canvas.height,
    scale,
  };
  photo.type = SENT_TYPES.has(photo.original.type) ? photo.original.type : "image/jpeg";
  photo.suffix = SENT_TYPES.get(photo.type);
  full.close();
  return photo;
}

export function toOriginal(box, scale) {
  return { x: box.x / scale, y: box.y / scale, width: box.width / scale, height: box.height / scale };
}

export async function decode(picture) {
  const text = atob(picture.data);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
  return createImageBitmap(new Blob([bytes], { type: picture.media_type }));
}

function draw(image, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return canvas;
}

function encode(canvas, quality) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Problem("The photo is too large for this browser."))), "image/jpeg", quality);
  });
}

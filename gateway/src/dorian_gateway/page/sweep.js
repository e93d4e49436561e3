// The photo at several ages, fetched once; between two of them it is cross-faded.

import { decode } from "./photo.js";

export const AGES = [1, 5, 10, 15, 20, 26, 32, 40, 48, 56, 64, 72, 80, 90];

export class Sweep {
  // photos: as /v1/age returns them, in the order of targets; images: their bitmaps.
  constructor(targets, photos, images) {
    this.targets = targets;
    this.photos = photos;
    this.images = images;
  }

  static async read(targets, photos) {
    return new Sweep(targets, photos, await Promise.all(photos.map((photo) => decode(photo.picture))));
  }

  // The two images around an age, and how much of the second there is.
  mixAt(age) {
    const { targets, images } = this;
    const upper = targets.findIndex((target) => target >= age);
    if (upper <= 0) {
      const only = images[upper === 0 ? 0 : images.length - 1];
      return { lower: only, upper: only, share: 0 };
    }
    const share = (age - targets[upper - 1]) / (targets[upper] - targets[upper - 1]);
    return { lower: images[upper - 1], upper: images[upper], share };
  }

  // The image of a filter, or of a mix.
  imageOf(name) {
    const image = this.images[this.targets.indexOf(name)];
    return { lower: image, upper: image, share: 0 };
  }

  // The fetched photo that is nearest to an age, or a filter's, with its target.
  nearest(target) {
    let best = 0;
    if (typeof target === "string") best = this.targets.indexOf(target);
    else this.targets.forEach((age, index) => { if (Math.abs(age - target) < Math.abs(this.targets[best] - target)) best = index; });
    return { target: this.targets[best], faces: this.photos[best].faces };
  }

  close() {
    for (const image of this.images) image.close();
  }
}

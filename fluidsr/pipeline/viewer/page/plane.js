// 2-D frames: images, x to the right and y up, white where no light comes through.

const SLAB = 0.05; // depth of the smoke, in longest edges
const PAPER = [20, 22, 26];
const SMOKE = [245, 243, 240];
const MORE = [255, 150, 60];
const LESS = [70, 150, 255];

export class PlaneRenderer {
  #images = new WeakMap(); // of a volume by its opacity and brightness

  constructor(canvas, index) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.depth = index.style.optical_depth * SLAB;
  }

  // As VolumeRenderer's; yaw and pitch mean nothing here.
  draw(panes, view) {
    const { canvas, context } = this;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio));
    context.fillStyle = `rgb(${PAPER})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    const width = canvas.width / panes.length;
    panes.forEach((volumes, place) => {
      if (!volumes.every((volume) => volume?.cells)) return;
      const image = this.#image(volumes, view);
      const scale = 0.96 * view.zoom * Math.min(width / volumes[0].size[0], canvas.height / volumes[0].size[1]);
      const [w, h] = volumes[0].size.map((size) => size * scale);
      context.save();
      context.beginPath();
      context.rect(place * width, 0, width, canvas.height);
      context.clip();
      context.drawImage(image, (place + 0.5) * width - w / 2, (canvas.height - h) / 2, w, h);
      context.restore();
    });
  }

  #image(volumes, view) {
    const [first, second] = volumes;
    const key = [volumes.length, view.opacity, view.brightness].join();
    const kept = this.#images.get(first);
    if (kept?.key === key && kept.second === second) return kept.image;
    const [nx, ny] = first.shape;
    const image = new OffscreenCanvas(nx, ny);
    const context = image.getContext("2d");
    const pixels = context.createImageData(nx, ny);
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++) {
        let density = first.scale * (first.cells[x * ny + y] / 255) ** 2;
        if (second) density -= sampled(second, place(first, 0, x), place(first, 1, y));
        const opaque = 1 - Math.exp(-this.depth * view.opacity * Math.abs(density));
        const color = !second ? SMOKE : density > 0 ? MORE : LESS;
        const pixel = 4 * ((ny - 1 - y) * nx + x);
        for (let c = 0; c < 3; c++) pixels.data[pixel + c] = PAPER[c] + opaque * (view.brightness * color[c] - PAPER[c]);
        pixels.data[pixel + 3] = 255;
      }
    }
    context.putImageData(pixels, 0, 0);
    this.#images.set(first, { key, second, image });
    return image;
  }
}

// The middle of a cell, in m.
function place(volume, axis, cell) {
  return volume.origin[axis] + ((cell + 0.5) * volume.size[axis]) / volume.shape[axis];
}

// The density at a point (m), interpolated; 0 outside of the box.
function sampled(volume, x, y) {
  const [u, v] = [x, y].map((p, axis) => ((p - volume.origin[axis]) / volume.size[axis]) * volume.shape[axis] - 0.5);
  const [nx, ny] = volume.shape;
  if (u < -0.5 || v < -0.5 || u > nx - 0.5 || v > ny - 0.5) return 0;
  const [i, j] = [Math.floor(u), Math.floor(v)];
  const at = (a, b) => {
    const cell = Math.min(nx - 1, Math.max(0, a)) * ny + Math.min(ny - 1, Math.max(0, b));
    return volume.scale * (volume.cells[cell] / 255) ** 2;
  };
  const [s, t] = [u - i, v - j];
  return (1 - s) * ((1 - t) * at(i, j) + t * at(i, j + 1)) + s * ((1 - t) * at(i + 1, j) + t * at(i + 1, j + 1));
}

// The page: which frames are shown, from where, and how. The smoke itself is drawn by volume.js or plane.js.
import { VolumeRenderer } from "./volume.js";
import { PlaneRenderer } from "./plane.js";

const KEPT_BYTES = 256 * 2 ** 20; // of volumes in the page
const AHEAD = 4; // frames that are loaded before they are shown
const element = (id) => document.getElementById(id);

// Volumes by `side/number`, those used last at the end; a Promise until they have come.
class Volumes {
  #kept = new Map();

  get(side, number) {
    const key = `${side}/${number}`;
    const volume = this.#kept.get(key) ?? this.#load(key);
    this.#kept.delete(key);
    this.#kept.set(key, volume);
    return volume;
  }

  async #load(key) {
    try {
      const answer = await fetch(`volumes/${key}`);
      if (!answer.ok) throw new Error(await answer.text());
      const volume = JSON.parse(answer.headers.get("Volume"));
      volume.cells = new Uint8Array(await answer.arrayBuffer());
      this.#kept.set(key, volume);
      this.#drop();
      return volume;
    } catch (error) {
      this.#kept.delete(key); // asked for again when it is wanted again
      return { error: error instanceof TypeError ? "The server does not answer: is fluidsr view running?" : error.message };
    }
  }

  #drop() {
    let bytes = 0;
    for (const volume of this.#kept.values()) bytes += volume.cells?.length ?? 0;
    for (const [key, volume] of this.#kept) {
      if (bytes <= KEPT_BYTES) return;
      bytes -= volume.cells?.length ?? 0;
      if (volume.cells) this.#kept.delete(key);
    }
  }
}

// The panes of an index: each names the sides that it draws, the second one to be taken from the first.
function panesOf(sides) {
  const panes = sides.map((side, place) => ({ title: side.name, sides: [place] }));
  if (sides.length === 2) panes.push({ title: `difference: orange where ${sides[1].name} has more`, sides: [1, 0] });
  return panes;
}

class Viewer {
  #volumes = new Volumes();
  #shown = []; // a volume for each side
  #position = 0;
  #playing = false;
  #due = 0;
  #loading = false;
  #stale = true; // to be drawn again
  #coarse = false; // drawn with fewer pixels
  #moved = -Infinity; // when the view last changed

  constructor(index) {
    this.index = index;
    this.numbers = index.sides.at(-1).frames;
    this.present = index.sides.map((side) => new Set(side.frames.map((frame) => frame.number)));
    this.panes = panesOf(index.sides);
    const Renderer = index.dim === 3 ? VolumeRenderer : PlaneRenderer;
    this.renderer = new Renderer(element("canvas"), index);
    document.title = `${index.name} - fluidsr`;
    this.captions = this.panes.map((pane) => this.#caption(pane));
    element("position").max = this.numbers.length - 1;
    this.#resetView();
    this.#listen();
    // `#12` behind the address is frame 12.
    const asked = this.numbers.findIndex((frame) => `#${frame.label}` === location.hash);
    this.#show(Math.max(0, asked));
    requestAnimationFrame((now) => this.#tick(now));
  }

  #caption(pane) {
    const box = document.createElement("div");
    box.className = "pane";
    const [title, detail] = ["div", "small"].map((kind) => box.appendChild(document.createElement(kind)));
    title.textContent = pane.title; // as text: it comes from a folder's name
    element("panes").append(box);
    return detail;
  }

  #resetView() {
    const { yaw, pitch } = this.index.camera;
    this.view = { yaw, pitch, zoom: 1, opacity: 1, brightness: 1 };
    element("opacity").value = element("brightness").value = 0;
    this.#changed();
  }

  #changed() {
    this.#stale = true;
    this.#moved = performance.now();
  }

  #listen() {
    const stage = element("stage");
    stage.addEventListener("pointerdown", (event) => stage.setPointerCapture(event.pointerId));
    stage.addEventListener("pointermove", (event) => {
      if (!stage.hasPointerCapture(event.pointerId)) return;
      this.view.yaw -= 0.4 * event.movementX;
      this.view.pitch = Math.min(89, Math.max(-89, this.view.pitch + 0.4 * event.movementY));
      this.#changed();
    });
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.view.zoom = Math.min(20, Math.max(0.1, this.view.zoom * Math.exp(-0.001 * event.deltaY)));
      this.#changed();
    }, { passive: false });
    for (const name of ["opacity", "brightness"]) {
      element(name).addEventListener("input", (event) => {
        this.view[name] = 2 ** event.target.valueAsNumber;
        this.#changed();
      });
    }
    element("position").addEventListener("input", (event) => this.#show(event.target.valueAsNumber));
    element("play").addEventListener("click", () => this.#play(!this.#playing));
    element("reset").addEventListener("click", () => this.#resetView());
    element("controls").addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => {
      if (event.key !== " " || event.target.tagName === "BUTTON") return;
      event.preventDefault();
      this.#play(!this.#playing);
    });
    new ResizeObserver(() => this.#changed()).observe(stage);
  }

  #play(on) {
    this.#playing = on;
    this.#due = performance.now();
    element("play").textContent = on ? "Stop" : "Play";
    this.#changed();
  }

  #at(position) {
    const { number } = this.numbers[position];
    return this.present.map((numbers, side) =>
      numbers.has(number) ? this.#volumes.get(side, number) : { error: "There is no such frame on this side." });
  }

  async #show(position) {
    this.#position = position;
    element("position").value = position;
    this.#loading = true;
    const shown = await Promise.all(this.#at(position));
    if (position !== this.#position) return; // another one is wanted by now
    this.#loading = false;
    this.#shown = shown;
    this.#stale = true;
    const entry = this.numbers[position];
    const time = shown.at(-1).time ?? entry.time;
    element("time").textContent = `frame ${entry.label}, ${time.toFixed(3)} s`;
    this.panes.forEach((pane, place) => {
      const failed = pane.sides.map((side) => shown[side]).find((volume) => volume.error);
      this.captions[place].classList.toggle("error", Boolean(failed));
      this.captions[place].textContent = failed ? failed.error : pane.sides.length === 1 ? cells(shown[pane.sides[0]]) : "";
    });
    for (let next = 1; next <= Math.min(AHEAD, this.numbers.length - 1); next++) {
      this.#at((position + next) % this.numbers.length);
    }
  }

  #tick(now) {
    if (this.#playing && now >= this.#due && !this.#loading) {
      const interval = 1000 / this.index.fps;
      this.#due = Math.max(this.#due + interval, now - interval); // does not run after what it has lost
      this.#show((this.#position + 1) % this.numbers.length);
    }
    // Coarser while something moves; once more, in full, when it has come to rest.
    const moving = this.#playing || now - this.#moved < 200;
    if (this.#stale || (this.#coarse && !moving)) {
      this.renderer.draw(this.panes.map((pane) => pane.sides.map((side) => this.#shown[side])), this.view, moving);
      this.#stale = false;
      this.#coarse = moving;
    }
    requestAnimationFrame((later) => this.#tick(later));
  }
}

function cells(volume) {
  const [source, drawn] = [volume.source.join(" x "), volume.shape.join(" x ")];
  return source === drawn ? `${source} cells` : `${source} cells, drawn as ${drawn}`;
}

try {
  const answer = await fetch("index.json");
  if (!answer.ok) throw new Error(await answer.text());
  new Viewer(await answer.json());
} catch (error) {
  element("message").textContent = error.message;
  element("message").hidden = false;
}

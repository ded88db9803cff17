// 3-D frames: emission-absorption along the rays of each pixel (Max 1995), single scattering of a key light.

const VERTEX = `#version 300 es
out vec2 at;
void main() {
  at = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);  // one triangle over the pane
  gl_Position = vec4(at, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler3D;
const int STEPS = 320;
const int TAPS = 6;      // towards the key light
const float REACH = 0.4; // of those taps, in longest edges
in vec2 at;
out vec4 color;
uniform sampler3D first, second;
uniform vec3 firstLow, firstSize, secondLow, secondSize;  // m
uniform float firstScale, secondScale;                    // density of a cell that holds 1; 0: there is no volume
uniform bool difference;
uniform vec3 eye, forward, right, up;                     // m; right and up reach to the edge of the pane
uniform vec3 toKey, key, sky, backgroundTop, backgroundBottom;
uniform float stride, edge, extinction, brightness;       // m, m, 1/m at density 1

float densityIn(sampler3D cells, vec3 low, vec3 size, float scale, vec3 p) {
  vec3 q = (p - low) / size;
  if (scale == 0.0 || any(lessThan(q, vec3(0.0))) || any(greaterThan(q, vec3(1.0)))) return 0.0;
  float root = texture(cells, q.zyx).r;  // the last axis of a frame is the first of a texture
  return scale * root * root;
}

float density(vec3 p) {
  float there = densityIn(first, firstLow, firstSize, firstScale, p);
  return difference ? there - densityIn(second, secondLow, secondSize, secondScale, p) : there;
}

float noise(vec2 p) {  // interleaved gradient noise (Jimenez 2014)
  return fract(52.9829189 * fract(dot(p, vec2(0.06711056, 0.00583715))));
}

float shadow(vec3 p) {
  float depth = 0.0, from = 0.0;
  for (int tap = 1; tap <= TAPS; tap++) {
    float share = float(tap) / float(TAPS);
    float to = REACH * edge * share * share;  // taps lie closer together near the point
    depth += max(density(p + 0.5 * (from + to) * toKey), 0.0) * (to - from);
    from = to;
  }
  depth *= extinction;
  return 0.8 * exp(-depth) + 0.2 * exp(-0.2 * depth);  // the second: light scattered more than once
}

vec3 displayed(vec3 linear) {  // Narkowicz 2015, then sRGB
  vec3 x = 0.6 * linear;
  vec3 y = clamp(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0.0, 1.0);
  return mix(12.92 * y, 1.055 * pow(y, vec3(1.0 / 2.4)) - 0.055, greaterThan(y, vec3(0.0031308)));
}

void main() {
  vec3 ray = normalize(forward + at.x * right + at.y * up);
  vec3 low = difference ? min(firstLow, secondLow) : firstLow;
  vec3 high = difference ? max(firstLow + firstSize, secondLow + secondSize) : firstLow + firstSize;
  vec3 a = (low - eye) / ray, b = (high - eye) / ray;
  vec3 near = min(a, b), far = max(a, b);
  float enter = max(max(near.x, near.y), max(near.z, 0.0)), leave = min(min(far.x, far.y), far.z);

  vec3 light = vec3(0.0);
  float through = 1.0;
  float dither = noise(gl_FragCoord.xy);
  float t = enter + dither * stride;
  for (int i = 0; i < STEPS && t < leave && through > 0.004; i++, t += stride) {
    vec3 p = eye + t * ray;
    float d = density(p);
    float kept = exp(-extinction * abs(d) * stride);
    if (kept > 0.9999) continue;
    vec3 shine = difference ? (d > 0.0 ? vec3(1.0, 0.42, 0.08) : vec3(0.1, 0.42, 1.0)) : key * shadow(p) + sky;
    light += through * (1.0 - kept) * shine;
    through *= kept;
  }
  vec3 background = mix(backgroundTop, backgroundBottom, 0.5 - 0.5 * at.y);
  color = vec4(displayed(brightness * light + through * background) + (dither - 0.5) / 255.0, 1.0);
}`;

const radians = (degrees) => (degrees * Math.PI) / 180;
const combined = (weights, vectors) => [0, 1, 2].map((c) => weights.reduce((sum, w, i) => sum + w * vectors[i][c], 0));
const scaled = (vector, factor) => vector.map((value) => value * factor);

export class VolumeRenderer {
  #textures = [];
  #bounds = null; // of all volumes that were drawn: a cache's boxes may differ from frame to frame

  constructor(canvas, index) {
    this.canvas = canvas;
    this.camera = index.camera;
    this.style = index.style;
    const gl = (this.gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true }));
    if (!gl) throw new Error("This browser has no WebGL 2, which 3-D frames need: use another, or fluidsr render.");
    this.program = linked(gl);
    gl.useProgram(this.program);
    gl.enable(gl.SCISSOR_TEST);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  }

  // `panes`: of each the volumes, the second one to be taken from the first; `view`: yaw, pitch (degrees), zoom, opacity
  // and brightness as factors; `moving`: fewer pixels.
  draw(panes, view, moving) {
    const { gl, canvas } = this;
    const ratio = Math.min(devicePixelRatio, 2) * (moving ? 0.5 : 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.max(1, Math.round(n * ratio)));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    for (const volume of panes.flat()) this.#widen(volume);
    panes.forEach((volumes, place) => {
      const left = Math.round((place * width) / panes.length);
      const pane = [left, 0, Math.round(((place + 1) * width) / panes.length) - left, height];
      gl.viewport(...pane);
      gl.scissor(...pane);
      const [red, green, blue] = this.style.background_bottom;
      gl.clearColor(red, green, blue, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
      if (volumes.every((volume) => volume?.cells)) this.#drawPane(volumes, view, pane[2] / height);
    });
  }

  #widen(volume) {
    if (!volume?.cells) return;
    const high = volume.origin.map((low, axis) => low + volume.size[axis]);
    this.#bounds ??= { low: volume.origin, high };
    this.#bounds.low = this.#bounds.low.map((low, axis) => Math.min(low, volume.origin[axis]));
    this.#bounds.high = this.#bounds.high.map((value, axis) => Math.max(value, high[axis]));
  }

  #drawPane(volumes, view, aspect) {
    const { gl } = this;
    const [first, second = first] = volumes;
    const edges = this.#bounds.high.map((high, axis) => high - this.#bounds.low[axis]);
    const edge = Math.max(...edges);
    const diagonal = Math.hypot(...first.size.map((size, axis) => Math.max(size, second.size[axis])));
    const cell = Math.min(...volumes.map((volume) => volume.size[0] / volume.shape[0]));
    this.#set("first", "second", [this.#texture(0, first), this.#texture(1, second)]);
    for (const [name, volume] of [["first", first], ["second", second]]) {
      gl.uniform3fv(this.#at(`${name}Low`), volume.origin);
      gl.uniform3fv(this.#at(`${name}Size`), volume.size);
      gl.uniform1f(this.#at(`${name}Scale`), volume.scale);
    }
    gl.uniform1i(this.#at("difference"), volumes.length - 1);
    this.#placeCamera(view, aspect, edges);
    const { style } = this;
    for (const name of ["key", "sky"]) gl.uniform3fv(this.#at(name), style[name]);
    gl.uniform3fv(this.#at("backgroundTop"), style.background_top);
    gl.uniform3fv(this.#at("backgroundBottom"), style.background_bottom);
    gl.uniform1f(this.#at("stride"), Math.max(0.7 * cell, diagonal / 300));
    gl.uniform1f(this.#at("edge"), edge);
    gl.uniform1f(this.#at("extinction"), (style.optical_depth / edge) * view.opacity);
    gl.uniform1f(this.#at("brightness"), view.brightness);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  #placeCamera(view, aspect, edges) {
    const [right, up, viewer] = this.camera.axes;
    const [yaw, pitch] = [radians(view.yaw), radians(view.pitch)];
    const level = combined([Math.sin(yaw), Math.cos(yaw)], [right, viewer]);
    const side = combined([Math.cos(yaw), -Math.sin(yaw)], [right, viewer]);
    const back = combined([Math.cos(pitch), Math.sin(pitch)], [level, up]);
    const above = combined([Math.cos(pitch), -Math.sin(pitch)], [up, level]);
    const tangent = Math.tan(radians(this.camera.field_of_view) / 2);
    const half = [tangent * Math.min(1, aspect), tangent * Math.min(1, 1 / aspect)];
    const distance = (0.47 * Math.hypot(...edges)) / Math.min(...half);
    const centre = this.#bounds.low.map((low, axis) => low + 0.5 * edges[axis]);
    const { gl } = this;
    gl.uniform3fv(this.#at("eye"), combined([1, distance], [centre, back]));
    gl.uniform3fv(this.#at("forward"), scaled(back, -1));
    gl.uniform3fv(this.#at("right"), scaled(side, half[0] / view.zoom));
    gl.uniform3fv(this.#at("up"), scaled(above, half[1] / view.zoom));
    // The key light stands to the left of the camera, and turns with it.
    const [a, e] = [radians(this.style.key_azimuth), radians(this.style.key_elevation)];
    const weights = [-Math.sin(a) * Math.cos(e), Math.sin(e), Math.cos(a) * Math.cos(e)];
    gl.uniform3fv(this.#at("toKey"), combined(weights, [side, up, level]));
  }

  #texture(unit, volume) {
    const { gl } = this;
    let kept = this.#textures.find((texture) => texture.volume === volume);
    if (!kept) {
      // Two volumes are drawn at a time: the texture of the one that was drawn longest ago is taken.
      kept = this.#textures.length < 2 ? { texture: gl.createTexture() } : this.#textures.shift();
      kept.volume = volume;
      gl.bindTexture(gl.TEXTURE_3D, kept.texture);
      for (const axis of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) {
        gl.texParameteri(gl.TEXTURE_3D, axis, gl.CLAMP_TO_EDGE);
      }
      for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_3D, filter, gl.LINEAR);
      const [x, y, z] = volume.shape;
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, z, y, x, 0, gl.RED, gl.UNSIGNED_BYTE, volume.cells);
    }
    this.#textures = [...this.#textures.filter((texture) => texture !== kept), kept];
    return kept.texture;
  }

  #set(first, second, textures) {
    const { gl } = this;
    [first, second].forEach((name, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_3D, textures[unit]);
      gl.uniform1i(this.#at(name), unit);
    });
  }

  #at(name) {
    return this.gl.getUniformLocation(this.program, name);
  }
}

function linked(gl) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}

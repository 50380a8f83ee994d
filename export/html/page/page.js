// The page: controls, clip, theme, and the entry for tests, `window.headbench`.

const at = (id) => document.getElementById(id);

async function start() {
  const about = JSON.parse(at("about").textContent);
  if (typeof DecompressionStream === "undefined") throw new Error("This browser is too old for this page: it has no DecompressionStream.");
  const arrays = await unpack(at("arrays").textContent, about.arrays);
  at("arrays").remove();
  const clip = new Clip(arrays, about), avatar = AVATARS[about.kind](arrays, about);
  const renderer = new Renderer(at("stage"), avatar.count, avatar.colours.length / 3 / avatar.count);
  new Page(about, clip, avatar, renderer);
}

class Page {
  constructor(about, clip, avatar, renderer) {
    Object.assign(this, { about, clip, avatar, renderer, pose: clip.pose(0), playing: false, sharp: 1, stale: true });
    renderer.put_colours(avatar.colours);
    this.sliders = [];
    this.show_pose();
    this.orbit = new Orbit(clip.camera(0), this.middle(), at("stage"), () => this.refresh());
    this.add_controls();
    this.add_clip();
    this.add_theme();
    at("home").addEventListener("click", () => this.orbit.home());
    new ResizeObserver(() => this.refresh()).observe(at("stage"));
    at("status").hidden = true;
    if (!renderer.half) at("keys").textContent += " This device draws in 8 bits, so colours are coarser than they are.";
    at("stage").addEventListener("webglcontextlost", () => broken("The graphics card lost this page's drawing: reload the page."));
    document.documentElement.dataset.ready = "";
    // For tests: parameters and camera of a frame, and the float target of a pose: (height, width, 4), premultiplied.
    window.headbench = {
      frames: about.frames.length,
      half: renderer.half,
      pose: (frame) => clip.pose(frame),
      camera: (frame) => clip.camera(frame),
      current: () => structuredClone(this.pose),
      render: (pose, camera) => {
        this.put(pose);
        renderer.draw(camera);
        const drawn = renderer.read();
        this.put(this.pose);
        this.refresh();
        return drawn;
      },
    };
  }

  // Middle of the Gaussians that cover most, which the camera circles about.
  middle() {
    const { geometry, count } = this.avatar, out = [0, 0, 0];
    let sum = 0;
    for (let n = 0; n < count; n++) {
      const w = geometry[WIDE * n + 3];
      sum += w;
      for (let i = 0; i < 3; i++) out[i] += w * geometry[WIDE * n + i];
    }
    return out.map((v) => v / sum);
  }

  put(pose) {
    this.avatar.pose(pose);
    this.renderer.put_geometry(this.avatar.geometry);
    if (this.avatar.recolours) this.renderer.put_colours(this.avatar.colours);
  }

  show_pose() {
    this.put(this.pose);
    for (const follow of this.sliders) follow();
    this.refresh();
  }

  refresh() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame((now) => {
      this.waiting = false;
      this.paint(now);
    });
  }

  // Draw; with fewer pixels while something moves slowly, with all of them at rest.
  paint(now) {
    const canvas = at("stage"), ratio = Math.min(window.devicePixelRatio || 1, 2) * this.sharp;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio)), height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    this.renderer.draw(this.orbit.camera(width, height));
    this.renderer.present(this.background);
    const took = now - (this.painted ?? -1e9);
    if (took < 1000) this.sharp = took > 50 ? Math.max(0.3, this.sharp * 0.8) : took < 20 ? Math.min(1, this.sharp * 1.1) : this.sharp;
    this.painted = now;
    clearTimeout(this.rest);
    if (this.sharp < 1)
      this.rest = setTimeout(() => {
        [this.sharp, this.painted] = [1, undefined];
        if (!this.playing) this.refresh();
      }, 250);
    if (this.playing) this.advance(now);
  }

  add_controls() {
    for (const { title, open, controls } of this.about.controls) {
      const group = document.createElement("details"), head = document.createElement("summary");
      head.textContent = title;
      group.open = open;
      group.append(head);
      for (const control of controls) group.append(this.slider(control));
      at("controls").append(group);
    }
    for (const preset of this.about.presets) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = preset.name;
      button.addEventListener("click", () => {
        this.stop();
        this.pose.expression.fill(0);
        for (const name of ["neck", "jaw", "eye_left", "eye_right", "eyelids"]) this.pose[name].fill(0);
        for (const [index, value] of preset.expression) this.pose.expression[index] = value;
        if (preset.jaw) this.pose.jaw = [...preset.jaw];
        this.show_pose();
      });
      at("presets").append(button);
    }
  }

  // A slider of one number, or of the same number of several joints (both eyes).
  slider({ label, fields, index, low, high }) {
    const row = document.createElement("label"), name = document.createElement("span"), input = document.createElement("input");
    const value = document.createElement("output");
    name.textContent = label;
    Object.assign(input, { type: "range", min: low, max: high, step: 0.01 });
    const follow = () => {
      input.value = this.pose[fields[0]][index];
      value.textContent = Number(this.pose[fields[0]][index]).toFixed(2);
    };
    input.addEventListener("input", () => {
      this.stop();
      for (const field of fields) this.pose[field][index] = Number(input.value);
      this.show_pose();
    });
    this.sliders.push(follow);
    follow();
    row.append(name, input, value);
    return row;
  }

  add_clip() {
    const { clip } = this, timeline = at("timeline");
    at("clip").hidden = clip.count < 2;
    timeline.max = clip.count - 1;
    timeline.addEventListener("input", () => {
      this.stop();
      this.show_frame(Number(timeline.value));
    });
    at("play").addEventListener("click", () => (this.playing ? this.stop() : this.play()));
    this.show_frame(0);
  }

  show_frame(frame, share = 0) {
    this.frame = frame;
    this.pose = this.clip.pose(frame);
    this.pose.frame += share;
    at("timeline").value = frame;
    at("frame").textContent = this.about.frames[frame];
    this.show_pose();
  }

  play() {
    this.playing = true;
    this.began = undefined;
    at("play").textContent = "Pause";
    this.refresh();
  }

  stop() {
    if (this.playing && this.pose.frame !== this.frame) this.show_frame(this.frame);
    this.playing = false;
    at("play").textContent = "Play";
  }

  advance(now) {
    this.began ??= now - (1000 * this.frame) / this.about.fps;
    const at = (((now - this.began) * this.about.fps) / 1000) % this.clip.count, frame = Math.floor(at);
    const moves = this.about.kind === "clip" && frame < this.clip.count - 1;
    if (moves || frame !== this.frame) this.show_frame(frame, moves ? at - frame : 0);
    this.refresh();
  }

  add_theme() {
    const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
    const set = (name) => {
      root.dataset.theme = name;
      at("theme").textContent = name === "dark" ? "Light page" : "Dark page";
      const [r, g, b] = getComputedStyle(at("stage")).backgroundColor.match(/[\d.]+/g).map(Number);
      this.background = [r / 255, g / 255, b / 255];
      this.refresh();
    };
    set(dark.matches ? "dark" : "light");
    dark.addEventListener("change", () => set(dark.matches ? "dark" : "light"));
    at("theme").addEventListener("click", () => set(root.dataset.theme === "dark" ? "light" : "dark"));
  }
}

const AVATARS = {
  rig: (arrays, about) => new Carried(arrays, about.rig),
  clip: (arrays, about) => new Recorded(arrays, about),
  fit: (arrays, about) => new Fitted(arrays, about),
};

function broken(sentence) {
  Object.assign(at("status"), { textContent: sentence, className: "broken", hidden: false });
  document.documentElement.dataset.broken = "";
}

start().catch((error) => broken(error.message));

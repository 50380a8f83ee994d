/* Frame by frame: subject, two pictures, a curve per metric, worst and best frames, playing and stepping. */

const RATE = 12; // frames per second while playing
const EXTREMES = 4; // worst, and best, frames that are offered

class Viewer {
  constructor() {
    this.stage = new Stage();
    this.frame = 0;
    this.playing = null;
    $("frames").hidden = false;
    fill($("scene"), data.scenes.map((scene, number) => [number, scene.name]));
    $("scene").addEventListener("change", () => this.open());
    $("seed").addEventListener("change", () => this.reseed());
    $("mode").addEventListener("change", () => this.stage.mode($("mode").value));
    for (const id of ["left", "right"]) $(id).addEventListener("change", () => { this.extremes(); this.show(); });
    $("metric").addEventListener("change", () => { this.draw(); this.extremes(); });
    $("frame").addEventListener("input", () => this.go(this.stops[Number($("frame").value)]));
    $("back").addEventListener("click", () => this.step(-1));
    $("next").addEventListener("click", () => this.step(1));
    $("play").addEventListener("click", () => this.play(!this.playing));
    document.addEventListener("keydown", (event) => this.key(event));
    $("curve").redraw = () => this.draw();
    paintScale($("scale"));
    this.stage.mode("split");
    this.open();
  }

  /** The chosen curve with the lines of the chosen seed. */
  get curve() {
    const curve = this.scene.curves[Number($("metric").value)];
    return curve && { ...curve, lines: ofSeed(curve.lines, this.seed) };
  }

  open() {
    this.scene = data.scenes[Number($("scene").value)];
    const { scene } = this, seen = scene.pictures !== undefined;
    this.pictures = seen ? new Pictures(scene) : null;
    // Frames at which stepping stops: those with pictures, or all.
    this.stops = seen ? scene.shown : scene.frames.map((_, number) => number);
    document.querySelector(".screen").classList.toggle("blind", !seen);
    for (const id of ["stage", "border-line"]) $(id).hidden = !seen;
    for (const id of ["left", "right", "mode"]) $(id).closest("label").hidden = !seen;
    const seeded = [...scene.curves.flatMap((curve) => curve.lines), ...(scene.sources || [])];
    this.seed = offerSeeds($("seed"), seedsOf(seeded));
    const several = new Set(scene.curves.map((curve) => curve.protocol)).size > 1;
    fill($("metric"), scene.curves.map((curve, n) => [n, `${curve.label}${arrow(curve)}${several ? ` (${curve.protocol})` : ""}`]));
    $("metric").closest("label").hidden = !scene.curves.length;
    if (seen) this.offer();
    $("kind").textContent = this.about();
    Object.assign($("frame"), { max: this.stops.length - 1 });
    this.frame = this.stops.includes(this.frame) ? this.frame : this.stops[0];
    this.draw();
    this.extremes();
    this.show();
  }

  /** Show another seed: the same methods on either side, their curves and extremes. */
  reseed() {
    const sides = this.pictures ? ["left", "right"].map((id) => this.side(id)) : [];
    this.seed = Number($("seed").value);
    if (this.pictures) {
      this.offer();
      sides.forEach(({ source, error }, n) => {
        const own = this.sources.find((each) => each.entry === this.scene.sources[source].entry);
        $(n ? "right" : "left").value = `${error ? "e" : "s"}${this.scene.sources.indexOf(own)}`;
      });
      $("kind").textContent = this.about();
    }
    this.draw();
    this.extremes();
    this.show();
  }

  /** Sources of the chosen seed, and the ground truth. */
  get sources() { return ofSeed(this.scene.sources, this.seed); }

  about() {
    const { scene } = this;
    if (!this.pictures) return "This page was written without frames inside; figures and videos lie beside it.";
    const seeds = seedsOf(scene.sources);
    const seed = seeds.length ? `Pictures of seed${seeds.length > 1 ? "s" : ""} ${seeds.join(", ")}. ` : "";
    const count = `${this.stops.length} of ${scene.frames.length} frames have pictures here`;
    if (scene.kind === "image/png") return `${seed}${count}, as they were rendered.`;
    return `${seed}${count}, reduced and compressed; error maps are made of these. Numbers are those of the full pictures.`;
  }

  /** Offer what either side can show: sources, and the error of each render where there is a ground truth. */
  offer() {
    const all = this.scene.sources, own = this.sources;
    const truth = all[0].entry < 0;
    const names = own.map((source) => (source.entry < 0 ? "ground truth" : called(source, this.seed)));
    const pairs = own.map((source, n) => [`s${all.indexOf(source)}`, names[n]]);
    if (truth) own.forEach((source, n) => { if (n) pairs.push([`e${all.indexOf(source)}`, `error of ${names[n]}`]); });
    const fresh = !$("left").options.length;
    fill($("left"), pairs);
    fill($("right"), pairs);
    if (!fresh && $("left").value !== $("right").value) return;
    $("left").value = "s0";
    const entry = this.best(), best = own.find((source) => source.entry >= 0 && source.entry === entry);
    $("right").value = `s${all.indexOf(best || own[Math.min(1, own.length - 1)])}`;
  }

  /** Entry with the best mean of the first metric that is no baseline. */
  best() {
    const curve = this.scene.curves[0];
    if (!curve) return -1;
    const sign = curve.better === "lower" ? -1 : 1;
    const mean = (line) => {
      const known = line.values.filter(Number.isFinite);
      return known.length ? (sign * known.reduce((sum, value) => sum + value, 0)) / known.length : -Infinity;
    };
    const rivals = ofSeed(curve.lines, this.seed).filter((line) => !data.entries[line.entry].baseline);
    return rivals.length ? rivals.reduce((one, other) => (mean(other) > mean(one) ? other : one)).entry : -1;
  }

  side(id) {
    const value = $(id).value, source = Number(value.slice(1));
    return { source, error: value[0] === "e", name: $(id).selectedOptions[0]?.textContent || "" };
  }

  /** Picture number of the frame that is nearest to a frame. */
  nearest(frame) {
    let found = 0;
    this.stops.forEach((stop, n) => { if (Math.abs(stop - frame) < Math.abs(this.stops[found] - frame)) found = n; });
    return found;
  }

  go(frame) {
    this.frame = Math.max(0, Math.min(this.scene.frames.length - 1, frame));
    return this.show();
  }

  step(by) {
    const place = this.nearest(this.frame), count = this.stops.length;
    return this.go(this.stops[(place + by + count) % count]);
  }

  async show() {
    const { scene, frame } = this, place = this.nearest(frame);
    $("frame").value = place;
    const name = scene.frames[frame], near = scene.frames[this.stops[place]];
    $("frame-name").textContent = near === name ? `frame ${name}` : `frame ${name} (picture: ${near})`;
    if (this.moveCursor) this.moveCursor(frame);
    this.numbers();
    if (!this.pictures) return;
    const sides = [this.side("left"), this.side("right")];
    document.querySelector(".scale").hidden = !sides.some((side) => side.error);
    await this.stage.show(this.pictures, sides, place);
  }

  numbers() {
    const { curve } = this, body = $("values").tBodies[0];
    $("values").hidden = !curve;
    if (!curve) return;
    $("values").caption.textContent = `${curve.label}${arrow(curve)} of frame ${this.scene.frames[this.frame]}`;
    const sign = curve.better === "lower" ? 1 : -1;
    const lines = [...curve.lines].sort((a, b) => sign * ((a.values[this.frame] ?? NaN) - (b.values[this.frame] ?? NaN)) || 0);
    body.replaceChildren(...lines.map((line) => element("tr", {},
      element("td", {}, swatch(line.entry), called(line, this.seed)),
      element("td", {}, shown(line.values[this.frame], curve)),
    )));
  }

  draw() {
    const { curve, scene } = this;
    if (!curve) { $("curve").replaceChildren(); this.moveCursor = null; return; }
    const lines = curve.lines.map((line) => ({ entry: line.entry, points: line.values.map((value, n) => [n, value]) }));
    this.moveCursor = lineChart($("curve"), {
      lines, label: `${curve.label} of every frame, a line per method`, xLabel: "frame",
      xName: (at) => scene.frames[Math.round(at)] ?? "", pick: (at) => this.go(Math.round(at)),
    });
    this.moveCursor(this.frame);
    this.numbers();
  }

  /** Buttons for the worst and best frames of the method on the right, or on the left. */
  extremes() {
    const { curve } = this, box = $("extremes");
    box.replaceChildren();
    if (!curve || !curve.better) return;
    const sides = this.pictures ? [this.side("right"), this.side("left")] : [];
    const entries = [...sides.map((side) => this.scene.sources[side.source].entry), this.best()];
    const line = entries.map((entry) => curve.lines.find((each) => each.entry === entry)).find(Boolean);
    if (!line) return;
    const stops = [...this.stops].filter((frame) => Number.isFinite(line.values[frame]));
    const sign = curve.better === "lower" ? -1 : 1;
    stops.sort((a, b) => sign * (line.values[a] - line.values[b]));
    const count = Math.min(EXTREMES, Math.floor(stops.length / 2));
    const rows = [["Worst", stops.slice(0, count)], ["Best", stops.slice(stops.length - count).reverse()]];
    for (const [title, frames] of rows) {
      const buttons = frames.map((frame) => this.thumbnail(frame, line, curve));
      box.append(element("h3", {}, `${title} frames of ${data.entries[line.entry].name}`), element("div", {}, ...buttons));
    }
  }

  thumbnail(frame, line, curve) {
    const name = this.scene.frames[frame], text = shown(line.values[frame], curve);
    const button = element("button", { type: "button", "aria-label": `Frame ${name}, ${curve.label} ${text}` });
    const source = this.pictures ? this.scene.sources.indexOf(this.sources.find((each) => each.entry === line.entry)) : -1;
    if (source >= 0) {
      const canvas = element("canvas", { "aria-hidden": "true" });
      paint(canvas, this.pictures, { source, error: false }, this.nearest(frame));
      button.append(canvas);
    }
    button.append(element("span", {}, name), element("span", {}, text));
    button.addEventListener("click", () => this.go(frame));
    return button;
  }

  play(on) {
    clearTimeout(this.playing);
    this.playing = null;
    $("play").textContent = on ? "❚❚ pause" : "▶ play";
    $("play").setAttribute("aria-pressed", String(on));
    if (!on) return;
    const tick = async () => {
      const began = performance.now();
      await this.step(1);
      if (this.playing !== null) this.playing = setTimeout(tick, Math.max(0, 1000 / RATE - (performance.now() - began)));
    };
    this.playing = setTimeout(tick, 0);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined || event.target.closest?.(".wide")) return;
    event.preventDefault();
    this.play(false);
    this.step(by);
  }
}

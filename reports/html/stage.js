/* The stage: two pictures behind a border that is dragged, or side by side. */

class Stage {
  constructor() {
    this.box = $("stage");
    this.border = $("border");
    this.turn = 0;
    const drag = (event) => {
      if (this.box.className !== "split") return;
      const place = this.box.getBoundingClientRect();
      this.move(Math.max(0, Math.min(100, ((event.clientX - place.left) / place.width) * 100)));
    };
    this.box.addEventListener("pointerdown", (event) => {
      this.box.setPointerCapture(event.pointerId);
      drag(event);
    });
    this.box.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
    this.border.addEventListener("input", () => this.move(Number(this.border.value)));
  }

  move(percent) {
    this.border.value = percent;
    this.box.style.setProperty("--at", `${percent}%`);
  }

  mode(name) {
    this.box.className = name;
    $("border-line").hidden = name !== "split";
  }

  /** Draw two sides; a later call overtakes an earlier one. Returns which sides have a picture. */
  async show(pictures, sides, place) {
    const turn = (this.turn += 1), wanted = () => turn === this.turn;
    const canvases = [$("picture-left"), $("picture-right")];
    const drew = await Promise.all(sides.map((side, n) => paint(canvases[n], pictures, side, place, wanted)));
    if (!wanted()) return null;
    sides.forEach((side, n) => {
      const name = drew[n] ? side.name : `${side.name}: no picture`;
      this.box.querySelector(n ? ".tag.right" : ".tag.left").textContent = name;
      canvases[n].setAttribute("aria-label", `${n ? "Right" : "Left"} picture: ${name}`);
    });
    return drew;
  }
}

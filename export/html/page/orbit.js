// Camera that circles about a point: one finger or the mouse turns, two fingers or Shift move and zoom, keys do both.

class Orbit {
  constructor(camera, target, canvas, changed) {
    this.first = camera;
    this.target = target;
    this.changed = changed;
    this.home();
    this.fingers = new Map();
    canvas.addEventListener("pointerdown", (e) => {
      canvas.setPointerCapture(e.pointerId);
      this.fingers.set(e.pointerId, [e.clientX, e.clientY]);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (e) => this.fingers.delete(e.pointerId));
    canvas.addEventListener("pointermove", (e) => this.dragged(e, canvas));
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.zoom(Math.exp(0.001 * e.deltaY));
    }, { passive: false });
    canvas.addEventListener("keydown", (e) => {
      const keys = {
        ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1],
        "+": 0.9, "=": 0.9, "-": 1 / 0.9, 0: null, Home: null,
      };
      if (!(e.key in keys) || e.ctrlKey || e.metaKey || e.altKey) return;
      e.preventDefault();
      const what = keys[e.key];
      if (what === null) this.home();
      else if (typeof what === "number") this.zoom(what);
      else this.turn(...what);
    });
  }

  home() {
    [this.yaw, this.pitch, this.far, this.aside] = [0, 0, 1, [0, 0]];
    this.changed();
  }

  turn(yaw, pitch) {
    this.yaw -= yaw;
    this.pitch = Math.max(-1.5, Math.min(1.5, this.pitch - pitch));
    this.changed();
  }

  zoom(factor) {
    this.far = Math.max(0.35, Math.min(4, this.far * factor));
    this.changed();
  }

  dragged(e, canvas) {
    const before = this.fingers.get(e.pointerId);
    if (!before) return;
    const [dx, dy] = [e.clientX - before[0], e.clientY - before[1]], side = canvas.clientHeight;
    if (this.fingers.size === 2) {
      const [other] = [...this.fingers].filter(([id]) => id !== e.pointerId).map(([, at]) => at);
      const apart = (p) => Math.max(Math.hypot(p[0] - other[0], p[1] - other[1]), 10);
      this.zoom(apart(before) / apart([e.clientX, e.clientY]));
      this.move(dx / 2 / side, dy / 2 / side);
    } else if (e.shiftKey) this.move(dx / side, dy / side);
    else this.turn((4 * dx) / side, (4 * dy) / side);
    this.fingers.set(e.pointerId, [e.clientX, e.clientY]);
  }

  move(x, y) {
    this.aside = [this.aside[0] + x, this.aside[1] + y];
    this.changed();
  }

  // The camera for a picture of `width` x `height` that shows at least what the first camera's shows.
  camera(width, height) {
    const { first } = this, m = first.w2c, scale = Math.min(width / first.width, height / first.height);
    const [fx, fy, cx, cy] = first.K;
    const K = [fx * scale, fy * scale, width / 2 + (cx - first.width / 2) * scale, height / 2 + (cy - first.height / 2) * scale];
    K[2] += this.aside[0] * height;
    K[3] += this.aside[1] * height;
    const right = [m[0], m[1], m[2]], eye = centre_of(m), t = this.target;
    // Up and down about the camera's own axis, then around about the world's y axis.
    const R = times(turned([0, this.yaw, 0]), turned(right.map((v) => v * this.pitch)));
    const way = apply(R, eye.map((v, i) => (v - t[i]) * this.far)), centre = t.map((v, i) => v + way[i]);
    const w2c = new Float32Array(16);
    for (let i = 0; i < 3; i++) {
      const axis = apply(R, [m[4 * i], m[4 * i + 1], m[4 * i + 2]]);
      w2c.set(axis, 4 * i);
      w2c[4 * i + 3] = -(axis[0] * centre[0] + axis[1] * centre[1] + axis[2] * centre[2]);
    }
    w2c[15] = 1;
    return { w2c, K, width, height };
  }
}

function apply(R, v) {
  return [0, 1, 2].map((i) => R[3 * i] * v[0] + R[3 * i + 1] * v[1] + R[3 * i + 2] * v[2]);
}

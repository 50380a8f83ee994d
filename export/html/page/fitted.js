// Gaussians as a linear function of the head's parameters, of few bases, in the frame of the head.

class Fitted {
  constructor(arrays, about) {
    const { rank, moving, joints } = about.fit;
    Object.assign(this, { rank, moving, joints, count: about.count });
    this.mean = arrays.numbers("fit/mean");
    this.bases = moving.length ? arrays.numbers("fit/bases") : new Float32Array(0);
    this.middle = arrays.numbers("fit/middle");
    this.mix = arrays.numbers("fit/mix");
    this.values = new Float32Array(this.mean.length);
    this.geometry = new Float32Array(WIDE * this.count);
    this.colours = this.values.subarray(11 * this.count);
    this.recolours = moving.some((row) => row >= 11);
    this.values.set(this.mean);
  }

  pose(p) {
    const { rank, moving, count, values, bases, mean, middle, mix, geometry: g } = this;
    const x = [...p.expression, ...p.neck, ...p.jaw, ...p.eye_left, ...p.eye_right, ...p.eyelids];
    values.set(mean);
    for (let k = 0; k < rank; k++) {
      let c = 0;
      for (let i = 0; i < x.length; i++) c += (x[i] - middle[i]) * mix[i * rank + k];
      for (let m = 0; m < moving.length; m++) {
        const to = moving[m] * count, from = (k * moving.length + m) * count;
        for (let n = 0; n < count; n++) values[to + n] += c * bases[from + n];
      }
    }
    const [scale, R, t] = this.frame(p), turn = new Float64Array(4), own = new Float64Array(4);
    quaternion(R, 0, turn, 0);
    for (let n = 0, to = 0; n < count; n++, to += WIDE) {
      for (let i = 0; i < 3; i++) {
        g[to + i] = t[i] + scale * (R[3 * i] * values[n] + R[3 * i + 1] * values[count + n] + R[3 * i + 2] * values[2 * count + n]);
        g[to + 8 + i] = scale * Math.exp(values[(7 + i) * count + n]);
      }
      for (let i = 0; i < 4; i++) own[i] = values[(3 + i) * count + n];
      multiply(turn, 0, own, 0, g, to + 4);
      g[to + 3] = Math.min(Math.max(values[10 * count + n], 0), 1);
    }
  }

  // Scale, rotation and translation of the head, by root, neck and similarity.
  frame(p) {
    const root = turned(p.root), whole = times(root, turned(p.neck)), j = this.joints;
    const a = apply(root, j), b = apply(root, j.slice(3)), c = apply(whole, j.slice(3));
    const t = [0, 1, 2].map((i) => j[i] - a[i] + b[i] - c[i] + p.translation[i]), moved = apply(p.turn, t);
    return [p.scale, times(p.turn, whole), moved.map((v, i) => p.scale * v + p.shift[i])];
  }
}

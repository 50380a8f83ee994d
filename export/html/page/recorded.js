// Gaussians as they were in each frame of the clip; between two frames, which only play shows, they are blended.

class Recorded {
  constructor(arrays, about) {
    this.arrays = arrays;
    this.count = about.count;
    this.geometry = new Float32Array(WIDE * this.count);
    this.colours = arrays.numbers("still/sh");
    this.recolours = arrays.directory["still/sh"].shape[0] > 1;
  }

  pose({ frame }) {
    const whole = Math.floor(frame), share = frame - whole;
    this.still(whole);
    if (share === 0) return;
    const before = this.geometry.slice(), g = this.geometry;
    this.still(whole + 1);
    for (let i = 0; i < g.length; i++) g[i] = before[i] + share * (g[i] - before[i]);
  }

  // The Gaussians of one frame, into `geometry`.
  still(frame) {
    const { arrays, geometry: g, count } = this;
    const means = arrays.numbers("still/means", frame), quats = arrays.numbers("still/quats", frame);
    const log_scales = arrays.numbers("still/log_scales", frame), opacities = arrays.numbers("still/opacities", frame);
    for (let n = 0, to = 0; n < count; n++, to += WIDE) {
      for (let i = 0; i < 3; i++) {
        g[to + i] = means[i * count + n];
        g[to + 8 + i] = Math.exp(log_scales[i * count + n]);
      }
      for (let i = 0; i < 4; i++) g[to + 4 + i] = quats[i * count + n];
      g[to + 3] = opacities[n];
    }
    if (this.recolours) this.colours = arrays.numbers("still/sh", frame);
  }
}

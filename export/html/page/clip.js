// The recorded clip: head parameters and cameras of each frame.

const RIGID = { root: 3, neck: 3, jaw: 3, eye_left: 3, eye_right: 3, translation: 3, eyelids: 2, scale: 1, turn: 9, shift: 3 };

class Clip {
  constructor(arrays, about) {
    this.about = about;
    this.count = about.frames.length;
    this.params = arrays.numbers("clip/params");
    this.cameras = arrays.numbers("clip/cameras");
    this.width = this.params.length / this.count;
    this.expressions = this.width - Object.values(RIGID).reduce((a, b) => a + b, 0);
  }

  // Parameters of a frame; each array is a copy.
  pose(frame) {
    let at = frame * this.width;
    const take = (n) => Array.from(this.params.subarray(at, (at += n))), out = { frame, expression: take(this.expressions) };
    for (const [name, size] of Object.entries(RIGID)) out[name] = take(size);
    out.scale = out.scale[0];
    return out;
  }

  camera(frame) {
    const c = this.cameras.subarray(20 * frame, 20 * frame + 20), { width, height } = this.about;
    return { w2c: Float32Array.from(c.subarray(0, 16)), K: Array.from(c.subarray(16)), width, height };
  }
}

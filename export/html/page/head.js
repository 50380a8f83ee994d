// Mesh of a linear head model in a pose: expression, pose correctives, linear blend skinning, eyelids, similarity.

const JOINTS = ["root", "neck", "jaw", "eye_left", "eye_right"];

// Rotation matrix (row by row) of an axis-angle in radians.
function turned(v) {
  const square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2], angle = Math.sqrt(square);
  const a = angle < 1e-4 ? 1 - square / 6 : Math.sin(angle) / angle;
  const b = angle < 1e-4 ? 0.5 - square / 24 : (1 - Math.cos(angle)) / square;
  const [x, y, z] = v;
  return [
    1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y,
    b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x,
    b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y),
  ];
}

function times(a, b) {
  const out = new Array(9);
  for (let i = 0; i < 3; i++)
    for (let j = 0; j < 3; j++) out[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
  return out;
}

class Head {
  constructor(arrays, parents) {
    this.parents = parents;
    this.base = arrays.numbers("head/base");
    this.count = this.base.length / 3;
    this.expression = arrays.numbers("head/expression");
    this.joints = arrays.numbers("head/joints");
    this.joint_motion = arrays.numbers("head/joint_motion");
    this.weights = arrays.numbers("head/weights");
    this.correctives = arrays.has("head/correctives") ? arrays.numbers("head/correctives") : null;
    this.eyelids = arrays.has("head/eyelids") ? arrays.numbers("head/eyelids") : null;
    this.shaped = new Float64Array(this.base.length);
    this.vertices = new Float32Array(this.base.length);
  }

  // Vertices (V, 3) of the mesh in metres, in memory that the next pose writes again.
  pose(p) {
    const { base, shaped, vertices, count, parents, weights } = this, size = base.length, J = parents.length;
    shaped.set(base);
    const joints = Float64Array.from(this.joints);
    for (let e = 0; e < p.expression.length; e++) {
      const c = p.expression[e];
      if (c === 0) continue;
      add(shaped, this.expression, e * size, c);
      add(joints, this.joint_motion, e * 3 * J, c);
    }
    const own = JOINTS.map((name) => turned(p[name])), whole = [], moved = [];
    for (let j = 0; j < J; j++) {
      const above = j ? whole[parents[j]] : [1, 0, 0, 0, 1, 0, 0, 0, 1];
      whole.push(times(above, own[j]));
      const t = j ? moved[parents[j]].slice() : [0, 0, 0];
      for (let i = 0; i < 3; i++)
        for (let k = 0; k < 3; k++) t[i] += (above[3 * i + k] - whole[j][3 * i + k]) * joints[3 * j + k];
      moved.push(t);
    }
    if (this.correctives) {
      for (let j = 1, row = 0; j < J; j++)
        for (let i = 0; i < 9; i++, row++) {
          const c = own[j][i] - (i % 4 === 0 ? 1 : 0);
          if (c !== 0) add(shaped, this.correctives, row * size, c);
        }
    }
    const m = new Float64Array(12), s = p.scale, R = p.turn, t = p.shift, lids = this.eyelids;
    for (let v = 0; v < count; v++) {
      m.fill(0);
      for (let j = 0; j < J; j++) {
        const w = weights[j * count + v];
        if (w === 0) continue;
        for (let i = 0; i < 9; i++) m[i] += w * whole[j][i];
        for (let i = 0; i < 3; i++) m[9 + i] += w * moved[j][i];
      }
      const x = shaped[3 * v], y = shaped[3 * v + 1], z = shaped[3 * v + 2], at = [0, 0, 0];
      for (let i = 0; i < 3; i++) {
        at[i] = m[3 * i] * x + m[3 * i + 1] * y + m[3 * i + 2] * z + m[9 + i] + p.translation[i];
        if (lids) at[i] += p.eyelids[0] * lids[3 * v + i] + p.eyelids[1] * lids[size + 3 * v + i];
      }
      for (let i = 0; i < 3; i++)
        vertices[3 * v + i] = s * (R[3 * i] * at[0] + R[3 * i + 1] * at[1] + R[3 * i + 2] * at[2]) + t[i];
    }
    return vertices;
  }
}

function add(to, from, start, factor) {
  for (let i = 0; i < to.length; i++) to[i] += factor * from[start + i];
}

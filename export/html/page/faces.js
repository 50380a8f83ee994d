// Frames of a mesh's faces: columns a0 along the first edge, a1 the outward normal, a2 in the plane; size in metres.

const TINY = 1e-10;

class Faces {
  constructor(faces) {
    this.faces = faces;
    this.count = faces.length / 3;
    this.axes = new Float64Array(9 * this.count); // row by row
    this.quats = new Float64Array(4 * this.count);
    this.size = new Float64Array(this.count);
    this.raw = new Float64Array(3 * this.count); // cross product of two edges
  }

  measure(v) {
    const { faces, axes, size, raw, quats } = this;
    for (let f = 0; f < this.count; f++) {
      const a = 3 * faces[3 * f], b = 3 * faces[3 * f + 1], c = 3 * faces[3 * f + 2];
      const ex = v[b] - v[a], ey = v[b + 1] - v[a + 1], ez = v[b + 2] - v[a + 2];
      const sx = v[c] - v[a], sy = v[c + 1] - v[a + 1], sz = v[c + 2] - v[a + 2];
      const nx = ey * sz - ez * sy, ny = ez * sx - ex * sz, nz = ex * sy - ey * sx;
      const length = Math.max(Math.hypot(ex, ey, ez), TINY), area = Math.max(Math.hypot(nx, ny, nz), TINY * length);
      const x0 = ex / length, y0 = ey / length, z0 = ez / length;
      const x1 = nx / area, y1 = ny / area, z1 = nz / area;
      const x2 = y0 * z1 - z0 * y1, y2 = z0 * x1 - x0 * z1, z2 = x0 * y1 - y0 * x1;
      axes.set([x0, x1, x2, y0, y1, y2, z0, z1, z2], 9 * f);
      raw.set([nx, ny, nz], 3 * f);
      size[f] = 0.5 * (length + Math.abs(x2 * sx + y2 * sy + z2 * sz));
      quaternion(axes, 9 * f, quats, 4 * f);
    }
  }
}

// Unit quaternion (w, x, y, z), w not negative, of a rotation matrix row by row.
function quaternion(m, at, out, to) {
  const m00 = m[at], m01 = m[at + 1], m02 = m[at + 2], m10 = m[at + 3], m11 = m[at + 4], m12 = m[at + 5];
  const m20 = m[at + 6], m21 = m[at + 7], m22 = m[at + 8];
  const d = [1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22];
  const k = d.indexOf(Math.max(...d));
  const rows = [
    [d[0], m21 - m12, m02 - m20, m10 - m01],
    [m21 - m12, d[1], m10 + m01, m02 + m20],
    [m02 - m20, m10 + m01, d[2], m12 + m21],
    [m10 - m01, m02 + m20, m12 + m21, d[3]],
  ];
  const q = rows[k], sign = q[0] < 0 ? -1 : 1, length = sign * Math.max(Math.hypot(...q), TINY);
  for (let i = 0; i < 4; i++) out[to + i] = q[i] / length;
}

// Hamilton product of the quaternions a[i..] and b[j..], made unit, into out[k..].
function multiply(a, i, b, j, out, k) {
  const aw = a[i], ax = a[i + 1], ay = a[i + 2], az = a[i + 3], bw = b[j], bx = b[j + 1], by = b[j + 2], bz = b[j + 3];
  const w = aw * bw - ax * bx - ay * by - az * bz, x = aw * bx + ax * bw + ay * bz - az * by;
  const y = aw * by - ax * bz + ay * bw + az * bx, z = aw * bz + ax * by - ay * bx + az * bw;
  const length = Math.hypot(w, x, y, z) || 1;
  out[k] = w / length; out[k + 1] = x / length; out[k + 2] = y / length; out[k + 3] = z / length;
}

// Gaussians on a posed mesh. `geometry` has 12 numbers for each: centre, opacity; quaternion; standard deviations, 0.

const WIDE = 12;

class Carried {
  constructor(arrays, about) {
    this.about = about;
    this.head = new Head(arrays, about.parents);
    this.faces = new Faces(arrays.whole_numbers("head/faces"));
    this.face = arrays.whole_numbers("rig/face");
    this.count = this.face.length;
    this.place = arrays.numbers("rig/place");
    this.height = arrays.numbers("rig/height");
    this.quats = interleaved(arrays.numbers("rig/quats"), 4);
    this.log_scales = arrays.numbers("rig/log_scales");
    this.opacities = arrays.numbers("rig/opacities");
    this.canonical_size = arrays.has("rig/canonical_size") ? arrays.numbers("rig/canonical_size") : null;
    this.phong = about.formula === "phong" ? new Phong(this.faces, arrays, about) : null;
    this.geometry = new Float32Array(WIDE * this.count);
    this.colours = arrays.numbers("rig/sh");
  }

  // Write the Gaussians of a pose into `geometry`.
  pose(p) {
    const vertices = this.head.pose(p);
    this.faces.measure(vertices);
    if (this.phong) this.phong.measure(vertices);
    const one = { triangle: this.on_triangle, surface: this.on_surface, phong: this.on_phong }[this.about.formula];
    for (let n = 0; n < this.count; n++) one.call(this, n, this.face[n], vertices, WIDE * n);
    for (let n = 0; n < this.count; n++) this.geometry[WIDE * n + 3] = this.opacities[n];
  }

  on_triangle(n, f, v, to) {
    const { geometry: g, faces, place, count, log_scales } = this, { axes, size } = faces, s = size[f];
    for (let i = 0; i < 3; i++) {
      const centre = (v[3 * faces.faces[3 * f] + i] + v[3 * faces.faces[3 * f + 1] + i] + v[3 * faces.faces[3 * f + 2] + i]) / 3;
      let turned = 0;
      for (let k = 0; k < 3; k++) turned += axes[9 * f + 3 * i + k] * place[k * count + n];
      g[to + i] = centre + s * turned;
      g[to + 8 + i] = s * Math.exp(log_scales[i * count + n]);
    }
    multiply(faces.quats, 4 * f, this.quats, 4 * n, g, to + 4);
  }

  on_surface(n, f, v, to) {
    const { geometry: g, faces, place, count, log_scales, about } = this, corners = faces.faces;
    const grown = about.grows === "size" ? Math.max(faces.size[f], 1e-12) / Math.max(this.canonical_size[f], 1e-12) : 1;
    for (let i = 0; i < 3; i++) {
      let at = 0;
      for (let k = 0; k < 3; k++) at += place[k * count + n] * v[3 * corners[3 * f + k] + i];
      const normal = about.normal === "raw" ? faces.raw[3 * f + i] : faces.axes[9 * f + 3 * i + 1];
      g[to + i] = at + (normal * this.height[n]) / about.units;
      g[to + 8 + i] = (grown * Math.exp(log_scales[i * count + n])) / about.units;
    }
    multiply(faces.quats, 4 * f, this.quats, 4 * n, g, to + 4);
  }

  on_phong(n, f, v, to) {
    const { geometry: g, faces, place, count, log_scales, about, phong } = this, corners = faces.faces;
    const base = [0, 0, 0], normal = [0, 0, 0], turn = [0, 0, 0, 0];
    for (let k = 0; k < 3; k++) {
      const w = place[k * count + n], at = corners[3 * f + k];
      for (let i = 0; i < 3; i++) {
        base[i] += w * v[3 * at + i];
        normal[i] += w * phong.normals[3 * at + i];
      }
      for (let i = 0; i < 4; i++) turn[i] += w * phong.turns[4 * at + i];
    }
    const length = Math.max(Math.hypot(...normal), TINY), growth = phong.growth[f];
    for (let i = 0; i < 3; i++) {
      g[to + i] = base[i] + (this.height[n] / about.units) * (normal[i] / length);
      const s = log_scales[i * count + n];
      g[to + 8 + i] = (about.grows === "power" ? Math.exp(growth * s) : (about.grows === "product" ? growth : 1) * Math.exp(s)) / about.units;
    }
    multiply(turn, 0, this.quats, 4 * n, g, to + 4);
  }
}

// Normals and rotations at the vertices of a mesh, and growth of its faces since the canonical pose.
class Phong {
  constructor(faces, arrays, about) {
    this.faces = faces;
    this.about = about;
    const canonical = arrays.numbers("rig/canonical");
    faces.measure(canonical);
    this.rest = faces.axes.slice();
    this.area = Float64Array.from({ length: faces.count }, (_, f) => area_of(faces.raw, f));
    this.normals = new Float64Array(canonical.length);
    this.turns = new Float64Array((canonical.length / 3) * 4);
    this.growth = new Float64Array(faces.count);
    this.face_turns = new Float64Array(4 * faces.count);
  }

  measure() {
    const { faces, rest, area, normals, turns, growth, face_turns: q, about } = this;
    const turn = new Float64Array(9), sum = new Float64Array(9), damping = about.damping / about.units ** 2;
    for (let f = 0; f < faces.count; f++) {
      for (let i = 0; i < 3; i++)
        for (let j = 0; j < 3; j++) {
          let value = 0; // posed frame times the transposed canonical one
          for (let k = 0; k < 3; k++) value += faces.axes[9 * f + 3 * i + k] * rest[9 * f + 3 * j + k];
          turn[3 * i + j] = value;
          sum[3 * i + j] += (value * area[f]) / faces.count;
        }
      quaternion(turn, 0, q, 4 * f);
      growth[f] = (area_of(faces.raw, f) + damping) / (area[f] + damping);
    }
    if (about.aligned) {
      const mean = new Float64Array(4);
      quaternion(sum, 0, mean, 0);
      for (let f = 0; f < faces.count; f++) {
        const along = q[4 * f] * mean[0] + q[4 * f + 1] * mean[1] + q[4 * f + 2] * mean[2] + q[4 * f + 3] * mean[3];
        if (along < 0) for (let i = 0; i < 4; i++) q[4 * f + i] = -q[4 * f + i];
      }
    }
    normals.fill(0);
    turns.fill(0);
    for (let f = 0; f < faces.count; f++)
      for (let k = 0; k < 3; k++) {
        const at = faces.faces[3 * f + k];
        for (let i = 0; i < 3; i++) normals[3 * at + i] += faces.raw[3 * f + i];
        for (let i = 0; i < 4; i++) turns[4 * at + i] += q[4 * f + i] * area[f];
      }
    // Sums shorter than 1e-6 in the method's square units stay short, as where it was trained.
    const least = 1e-6 / about.units ** 2;
    unit(normals, 3, least);
    unit(turns, 4, least);
  }
}

function area_of(raw, f) {
  return 0.5 * Math.hypot(raw[3 * f], raw[3 * f + 1], raw[3 * f + 2]);
}

function unit(values, size, least) {
  for (let i = 0; i < values.length; i += size) {
    let square = 0;
    for (let k = 0; k < size; k++) square += values[i + k] ** 2;
    const length = Math.max(Math.sqrt(square), least);
    for (let k = 0; k < size; k++) values[i + k] /= length;
  }
}

function interleaved(rows, size) {
  const n = rows.length / size, out = new Float32Array(rows.length);
  for (let k = 0; k < size; k++) for (let i = 0; i < n; i++) out[size * i + k] = rows[k * n + i];
  return out;
}

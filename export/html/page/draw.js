// Rasterizer: the kernel of headbench's own, in WebGL2. Sorted back to front, blended premultiplied into half floats.

const NEAR = 0.2;
const GAUSSIANS_A_ROW = 512, COLOURS_A_ROW = 128;

const VERTEX = `#version 300 es
precision highp float; precision highp int; precision highp sampler2D;
layout(location = 0) in uint which;
uniform sampler2D geometry, colours;
uniform mat4 w2c; // world to camera
uniform vec4 K;   // fx, fy, cx, cy in pixels
uniform vec2 size;
uniform vec3 eye;
uniform int terms;
flat out vec4 tint;
flat out vec3 conic;
flat out vec2 middle;

vec3 term(int n, int k) {
  return texelFetch(colours, ivec2((n % ${COLOURS_A_ROW}) * terms + k, n / ${COLOURS_A_ROW}), 0).rgb;
}

vec3 colour(int n, vec3 d) {
  vec3 c = 0.28209479177387814 * term(n, 0);
  if (terms > 1) c += 0.4886025119029199 * (-d.y * term(n, 1) + d.z * term(n, 2) - d.x * term(n, 3));
  float xx = d.x * d.x, yy = d.y * d.y, zz = d.z * d.z;
  if (terms > 4) {
    c += 1.0925484305920792 * (d.x * d.y * term(n, 4) - d.y * d.z * term(n, 5) - d.x * d.z * term(n, 7));
    c += 0.31539156525252005 * (2.0 * zz - xx - yy) * term(n, 6) + 0.5462742152960396 * (xx - yy) * term(n, 8);
  }
  if (terms > 9) {
    c += -0.5900435899266435 * d.y * (3.0 * xx - yy) * term(n, 9) + 2.890611442640554 * d.x * d.y * d.z * term(n, 10);
    c += -0.4570457994644658 * (4.0 * zz - xx - yy) * (d.y * term(n, 11) + d.x * term(n, 13));
    c += 0.3731763325901154 * d.z * (2.0 * zz - 3.0 * xx - 3.0 * yy) * term(n, 12);
    c += 1.445305721320277 * d.z * (xx - yy) * term(n, 14) - 0.5900435899266435 * d.x * (xx - 3.0 * yy) * term(n, 15);
  }
  return max(c + 0.5, 0.0);
}

void main() {
  int n = int(which);
  ivec2 at = ivec2((n % ${GAUSSIANS_A_ROW}) * 3, n / ${GAUSSIANS_A_ROW});
  vec4 place = texelFetch(geometry, at, 0);
  vec4 q = normalize(texelFetch(geometry, at + ivec2(1, 0), 0));
  vec3 s = texelFetch(geometry, at + ivec2(2, 0), 0).xyz;
  vec3 c = (w2c * vec4(place.xyz, 1.0)).xyz;
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0); // nowhere
  if (!(c.z >= ${NEAR} && place.w >= 1.0 / 255.0)) return;
  float w = q.x, x = q.y, y = q.z, z = q.w;
  mat3 turn = mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
  mat3 M = mat3(w2c) * turn;
  vec2 f = K.xy, margin = 0.3 * size / 2.0 / f;
  vec2 slope = clamp(c.xy / c.z, -K.zw / f - margin, (size - K.zw) / f + margin);
  vec3 along = vec3(M[0].z, M[1].z, M[2].z);
  vec3 hu = f.x / c.z * (vec3(M[0].x, M[1].x, M[2].x) - slope.x * along) * s;
  vec3 hv = f.y / c.z * (vec3(M[0].y, M[1].y, M[2].y) - slope.y * along) * s;
  float low = 0.3, uu = dot(hu, hu), vv = dot(hv, hv);
  float xx = uu + low, xy = dot(hu, hv), yy = vv + low;
  vec3 across = cross(hu, hv); // its square is uu vv - xy xy, without the cancellation
  float determinant = dot(across, across) + low * (uu + vv) + low * low;
  conic = vec3(yy, -xy, xx) / determinant;
  middle = f * c.xy / c.z + K.zw;
  float reach = sqrt(2.0 * log(place.w * 255.0)) * 1.0005 + 1e-3;
  vec2 corner = reach * vec2(float(gl_VertexID & 1) * 2.0 - 1.0, float(gl_VertexID >> 1) * 2.0 - 1.0);
  float side = sqrt(xx); // Cholesky factor of the covariance: the least box of the ellipse but for its turn
  vec2 pixel = middle + vec2(side * corner.x, xy / side * corner.x + sqrt(determinant) / side * corner.y);
  gl_Position = vec4(pixel.x / size.x * 2.0 - 1.0, 1.0 - pixel.y / size.y * 2.0, 0.0, 1.0);
  tint = vec4(colour(n, normalize(place.xyz - eye)), place.w);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
uniform vec2 size;
flat in vec4 tint;
flat in vec3 conic;
flat in vec2 middle;
out vec4 pixel;
void main() {
  vec2 d = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y) - middle;
  float alpha = min(0.99, tint.a * exp(-0.5 * (conic.x * d.x * d.x + conic.z * d.y * d.y) - conic.y * d.x * d.y));
  if (!(alpha >= 1.0 / 255.0)) discard;
  pixel = vec4(tint.rgb * alpha, alpha);
}`;

const WHOLE = `#version 300 es
void main() { gl_Position = vec4(float(gl_VertexID & 1) * 4.0 - 1.0, float(gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;

const SHOW = `#version 300 es
precision highp float; precision highp sampler2D;
uniform sampler2D drawn;
uniform vec3 background;
uniform vec2 size;
out vec4 pixel;
void main() {
  ivec2 there = textureSize(drawn, 0);
  vec4 c = texelFetch(drawn, min(ivec2(gl_FragCoord.xy / size * vec2(there)), there - 1), 0);
  pixel = vec4(c.rgb + (1.0 - c.a) * background, 1.0);
}`;

class Renderer {
  constructor(canvas, count, terms) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    if (!gl) throw new Error("This page draws with WebGL2, which this browser does not offer or has turned off.");
    this.gl = gl;
    this.half = Boolean(gl.getExtension("EXT_color_buffer_float") || gl.getExtension("EXT_color_buffer_half_float"));
    this.count = count;
    this.terms = terms;
    this.splats = program(gl, VERTEX, FRAGMENT, ["geometry", "colours", "w2c", "K", "size", "eye", "terms"]);
    this.show = program(gl, WHOLE, SHOW, ["drawn", "background", "size"]);
    this.geometry = texture(gl);
    this.colours = texture(gl);
    this.drawn = texture(gl);
    this.target = gl.createFramebuffer();
    this.order = new Order(count);
    this.buffer = gl.createBuffer();
    this.inputs = gl.createVertexArray();
    gl.bindVertexArray(this.inputs);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, 4 * count, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribIPointer(0, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(0, 1);
    this.size = [0, 0];
  }

  // Colours (3 K rows of N) of the Gaussians, as coefficients of spherical harmonics.
  put_colours(rows) {
    const { gl, count, terms } = this, high = Math.ceil(count / COLOURS_A_ROW), wide = COLOURS_A_ROW * terms;
    const texels = new Float32Array(4 * wide * high);
    for (let n = 0; n < count; n++)
      for (let k = 0; k < 3 * terms; k++) texels[4 * (n * terms + Math.floor(k / 3)) + (k % 3)] = rows[k * count + n];
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, wide, high, 0, gl.RGBA, gl.FLOAT, texels);
  }

  put_geometry(values) {
    const { gl, count } = this, wide = 3 * GAUSSIANS_A_ROW, high = Math.ceil(count / GAUSSIANS_A_ROW);
    if (!this.texels) this.texels = new Float32Array(4 * wide * high);
    this.texels.set(values);
    gl.bindTexture(gl.TEXTURE_2D, this.geometry);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, wide, high, 0, gl.RGBA, gl.FLOAT, this.texels);
  }

  // Draw as a camera {w2c (16, row by row), K (fx, fy, cx, cy), width, height} sees the Gaussians of `put_geometry`.
  draw(camera) {
    const { gl, splats: p } = this, { w2c, K, width, height } = camera;
    this.resize(width, height);
    const order = this.order.back_to_front(this.texels, w2c);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(p.program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    bind(gl, 0, this.geometry, p.geometry);
    bind(gl, 1, this.colours, p.colours);
    gl.uniformMatrix4fv(p.w2c, true, w2c);
    gl.uniform4f(p.K, ...K);
    gl.uniform2f(p.size, width, height);
    gl.uniform3f(p.eye, ...centre_of(w2c));
    gl.uniform1i(p.terms, this.terms);
    gl.bindVertexArray(this.inputs);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.count);
  }

  // Show what was drawn on a background (r, g, b in 0 to 1) in the canvas.
  present(background) {
    const { gl, show: p } = this, { drawingBufferWidth: width, drawingBufferHeight: height } = gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, width, height);
    gl.disable(gl.BLEND);
    gl.useProgram(p.program);
    bind(gl, 0, this.drawn, p.drawn);
    gl.uniform3f(p.background, ...background);
    gl.uniform2f(p.size, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  // Colour times coverage, and coverage, of what was drawn: (height, width, 4), first row on top.
  read() {
    const { gl } = this, [width, height] = this.size, size = 4 * width;
    const upside_down = new Float32Array(size * height), out = new Float32Array(size * height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.FLOAT, upside_down);
    for (let y = 0; y < height; y++) out.set(upside_down.subarray(y * size, (y + 1) * size), (height - 1 - y) * size);
    return out;
  }

  resize(width, height) {
    if (this.size[0] === width && this.size[1] === height) return;
    const { gl, half } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.drawn);
    if (half) gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16F, width, height, 0, gl.RGBA, gl.HALF_FLOAT, null);
    else gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.drawn, 0);
    this.size = [width, height];
  }
}

// Order of Gaussians by depth: counting sorts of the bits of float32, exact and stable.
class Order {
  constructor(count) {
    this.depths = new Float32Array(count);
    this.keys = new Uint32Array(this.depths.buffer);
    this.ids = [new Uint32Array(count), new Uint32Array(count)];
    this.counts = new Uint32Array(1 << 11);
  }

  back_to_front(geometry, w2c) {
    const { depths, keys, counts } = this, n = depths.length, [a, b, c, d] = w2c.slice(8, 12);
    let [from, to] = this.ids;
    for (let i = 0; i < n; i++) {
      const g = WIDE * i;
      // Those too near are not drawn, so that all that count are positive, and their bits are in order.
      depths[i] = Math.max(a * geometry[g] + b * geometry[g + 1] + c * geometry[g + 2] + d, 0);
      from[i] = n - 1 - i; // back to front: of equal depths the later one comes first
    }
    for (let shift = 0; shift < 33; shift += 11) {
      counts.fill(0);
      for (let i = 0; i < n; i++) counts[2047 - ((keys[i] >>> shift) & 2047)]++;
      for (let k = 0, sum = 0; k < 2048; k++) [counts[k], sum] = [sum, sum + counts[k]];
      for (let i = 0; i < n; i++) to[counts[2047 - ((keys[from[i]] >>> shift) & 2047)]++] = from[i];
      [from, to] = [to, from];
    }
    return from;
  }
}

// World position of a camera's centre.
function centre_of(m) {
  return [0, 1, 2].map((i) => -(m[i] * m[3] + m[4 + i] * m[7] + m[8 + i] * m[11]));
}

function program(gl, vertex, fragment, names) {
  const made = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return Object.assign({ program: made }, Object.fromEntries(names.map((n) => [n, gl.getUniformLocation(made, n)])));
}

function texture(gl) {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
  for (const axis of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, axis, gl.CLAMP_TO_EDGE);
  return made;
}

function bind(gl, unit, what, where) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, what);
  gl.uniform1i(where, unit);
}

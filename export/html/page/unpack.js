// Arrays of the avatar: base64 -> deflate -> planes of bytes -> numbers. Little-endian, as every browser's machine is.

async function unpack(text, directory) {
  const letters = atob(text.trim()), packed = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) packed[i] = letters.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  return new Arrays(bytes, directory);
}

class Arrays {
  constructor(bytes, directory) {
    this.bytes = bytes;
    this.directory = directory;
    this.whole = new Map();
  }

  has(name) {
    return name in this.directory;
  }

  // Whole numbers of 1, 2 or 4 bytes; byte k of all numbers stands together, which deflate likes.
  whole_numbers(name) {
    if (this.whole.has(name)) return this.whole.get(name);
    const { offset, bytes: width, shape } = this.directory[name];
    const count = shape.reduce((a, b) => a * b, 1);
    const out = width === 1 ? new Uint8Array(count) : width === 2 ? new Uint16Array(count) : new Uint32Array(count);
    for (let k = 0; k < width; k++) {
      const start = offset + k * count;
      for (let i = 0; i < count; i++) out[i] |= this.bytes[start + i] << (8 * k);
    }
    // Later frames hold what changed since the frame before; the type's size wraps the sum.
    const size = count / shape[0];
    if (this.directory[name].step) for (let i = size; i < count; i++) out[i] += out[i - size];
    this.whole.set(name, out);
    return out;
  }

  // Numbers of one frame, (rows * n) in rows; arrays that do not change have one frame.
  numbers(name, frame = 0) {
    const entry = this.directory[name];
    if (entry.kind === "float") {
      return new Float32Array(this.bytes.slice(entry.offset, entry.offset + 4 * entry.shape.reduce((a, b) => a * b, 1)).buffer);
    }
    const whole = this.whole_numbers(name), [frames, rows, n] = entry.shape;
    const out = new Float32Array(rows * n), start = Math.min(frame, frames - 1) * rows * n;
    for (let r = 0; r < rows; r++) {
      const low = entry.low[r], step = entry.step[r];
      for (let i = r * n; i < (r + 1) * n; i++) out[i] = low + step * whole[start + i];
    }
    return out;
  }
}

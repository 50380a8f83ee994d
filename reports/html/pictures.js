/* Pictures that lie inside the page, decoded when they are first shown, and error maps made of them. */

const KEPT = 400; // decoded pictures of a scene that stay in memory

class Pictures {
  constructor(scene) {
    this.scene = scene;
    this.rows = JSON.parse($(`pictures-${scene.pictures}`).textContent);
    this.decoded = new Map();
  }

  has(source, place) { return Boolean(this.rows[source][place]); }

  /** Promise of the picture of a source on the frame with picture number `place`; null where there is none. */
  get(source, place) {
    if (!this.has(source, place)) return Promise.resolve(null);
    const key = `${source}/${place}`;
    if (!this.decoded.has(key)) {
      if (this.decoded.size >= KEPT) this.decoded.delete(this.decoded.keys().next().value);
      const bytes = Uint8Array.from(atob(this.rows[source][place]), (letter) => letter.charCodeAt(0));
      this.decoded.set(key, createImageBitmap(new Blob([bytes], { type: this.scene.kind })));
    }
    return this.decoded.get(key);
  }
}

/** Colours by the sum of a pixel's three differences in bytes, as the figures have them. */
const SCALE = Uint8Array.from(atob(data.scale), (letter) => letter.charCodeAt(0));

function pixels(picture, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Error map of two pictures as ImageData. */
function errorMap(truth, render) {
  const a = pixels(truth, truth.width, truth.height), b = pixels(render, truth.width, truth.height);
  const one = a.data, other = b.data;
  for (let at = 0; at < one.length; at += 4) {
    const sum = Math.abs(one[at] - other[at]) + Math.abs(one[at + 1] - other[at + 1]) + Math.abs(one[at + 2] - other[at + 2]);
    one.set(SCALE.subarray(3 * sum, 3 * sum + 3), at);
  }
  return a;
}

/** Draw a side of the stage: {source, error} on a canvas; what is missing leaves it empty. Returns whether it drew. */
async function paint(canvas, pictures, side, place, wanted = () => true) {
  const [render, truth] = await Promise.all([pictures.get(side.source, place), side.error ? pictures.get(0, place) : null]);
  if (!wanted()) return false;
  const context = canvas.getContext("2d");
  if (!render || (side.error && !truth)) {
    context.clearRect(0, 0, canvas.width, canvas.height);
    return false;
  }
  const size = side.error ? truth : render;
  if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, { width: size.width, height: size.height });
  if (side.error) context.putImageData(errorMap(truth, render), 0, 0);
  else context.drawImage(render, 0, 0);
  return true;
}

function paintScale(canvas) {
  const context = canvas.getContext("2d"), row = context.createImageData(canvas.width, canvas.height);
  for (let at = 0; at < canvas.width * canvas.height; at += 1) {
    const sum = Math.min(765, Math.round(((at % canvas.width) / (canvas.width - 1)) * 0.2 * 765));
    row.data.set([...SCALE.subarray(3 * sum, 3 * sum + 3), 255], 4 * at);
  }
  context.putImageData(row, 0, 0);
}

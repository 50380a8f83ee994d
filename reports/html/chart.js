/* Charts of lines and of points, as SVG. */

const MARGIN = { left: 56, right: 12, top: 10, bottom: 34 };

/** About `count` round numbers between two numbers. */
function ticks(low, high, count) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Math.abs(at) < step / 1e6 ? 0 : at);
  return found;
}

const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1e4) return `${+(value / 1000).toPrecision(3)}k`;
  return size && size < 1e-3 ? value.toExponential(0) : String(+value.toPrecision(3));
};

/** Scales and axes of a chart; returns the SVG and functions from values to pixels. */
function frame(box, { label, x, y, height }) {
  const width = Math.max(280, Math.min(box.clientWidth || 560, 1200));
  const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const scale = (axis, size) => {
    const turn = axis.log ? Math.log10 : (value) => value;
    const [low, high] = axis.range.map(turn), span = high - low || 1;
    return (value) => ((turn(value) - low) / span) * size;
  };
  const across = scale(x, inner.width), up = scale(y, inner.height);
  const toX = (value) => MARGIN.left + across(value), toY = (value) => MARGIN.top + inner.height - up(value);
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const at of y.log ? decades(...y.range) : ticks(...y.range, 5)) {
    picture.append(drawn("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: toY(at), y2: toY(at) }));
    picture.append(drawn("text", { x: MARGIN.left - 6, y: toY(at) + 4, "text-anchor": "end" }, short(at)));
  }
  const marks = x.log ? decades(...x.range) : ticks(...x.range, Math.max(3, Math.floor(width / 110)));
  for (const at of marks) {
    picture.append(drawn("text", { x: toX(at), y: height - MARGIN.bottom + 16, "text-anchor": "middle" }, (x.name || short)(at)));
  }
  picture.append(drawn("text", { x: width - MARGIN.right, y: height - 3, "text-anchor": "end" }, x.label));
  return { picture, toX, toY, width, height, inner };
}

/** 1, 2 and 5 times powers of ten between two numbers. */
function decades(low, high) {
  const found = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
    for (const each of [1, 2, 5]) if (each * power >= low && each * power <= high) found.push(each * power);
  }
  return found.length > 2 ? found : ticks(low, high, 4);
}

function extent(values, share = 0.06) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return null;
  const low = Math.min(...known), high = Math.max(...known), room = (high - low) * share || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

/**
 * Lines with a legend whose entries switch them on and off.
 * lines: [{entry, points: [[x, y]]}]; pick(x) is called where somebody clicks. Returns move(x), which moves the cursor.
 */
function lineChart(box, { lines, label, xLabel, xName, pick, log = false, height = 240 }) {
  const hidden = box.hiddenEntries || (box.hiddenEntries = new Set());
  const some = lines.filter((line) => !hidden.has(line.entry));
  const all = (some.length ? some : lines).flatMap((line) => line.points);
  const values = all.map((point) => point[1]).filter(Number.isFinite), xs = all.map((point) => point[0]);
  // Over decades, a logarithmic axis shows what a linear one presses flat.
  const steep = log && Math.min(...values) > 0 && Math.max(...values) > 20 * Math.min(...values);
  const y = steep ? extent(values.map(Math.log10))?.map((value) => 10 ** value) : extent(values);
  if (!y) { box.replaceChildren(element("p", { class: "about" }, "No numbers.")); return () => {}; }
  const x = { range: [Math.min(...xs), Math.max(...xs)], label: xLabel, name: xName };
  const made = frame(box, { label, x, y: { range: y, log: steep }, height });
  for (const line of some) {
    let path = "", pen = "M";
    for (const [a, b] of line.points) {
      if (!Number.isFinite(b)) { pen = "M"; continue; }
      path += `${pen}${made.toX(a).toFixed(1)} ${made.toY(b).toFixed(1)}`;
      pen = "L";
    }
    const kind = data.entries[line.entry].baseline ? " baseline" : "";
    made.picture.append(drawn("path", { class: `curve ${tint(line.entry)}${kind}`, d: path }, drawn("title", {}, data.entries[line.entry].name)));
  }
  const cursor = drawn("line", { class: "cursor", y1: MARGIN.top, y2: height - MARGIN.bottom, visibility: "hidden" });
  made.picture.append(cursor);
  if (pick) {
    const hit = drawn("rect", { class: "hit", x: MARGIN.left, y: 0, width: made.inner.width, height: height - MARGIN.bottom });
    hit.addEventListener("click", (event) => {
      const place = made.picture.getBoundingClientRect();
      const at = ((event.clientX - place.left) / place.width) * made.width;
      pick(x.range[0] + ((at - MARGIN.left) / made.inner.width) * (x.range[1] - x.range[0]));
    });
    made.picture.append(hit);
  }
  box.replaceChildren(made.picture, legend(lines, hidden, () => box.redraw()));
  return (value) => {
    cursor.setAttribute("visibility", "visible");
    for (const name of ["x1", "x2"]) cursor.setAttribute(name, made.toX(value));
  };
}

function legend(lines, hidden, redraw) {
  const list = element("ul", { class: "legend" });
  for (const entry of new Set(lines.map((line) => line.entry))) {
    const button = element("button", { type: "button", "aria-pressed": String(!hidden.has(entry)) }, swatch(entry), data.entries[entry].name);
    button.addEventListener("click", () => {
      if (!hidden.delete(entry)) hidden.add(entry);
      redraw();
    });
    list.append(element("li", {}, button));
  }
  return list;
}

/** Points with names. points: [{entry, x, y, text}]. */
function pointChart(box, { points, label, xLabel, log, xName, height = 300 }) {
  const x = extent(points.map((point) => (log ? Math.log10(point.x) : point.x)), 0.12), y = extent(points.map((point) => point.y), 0.12);
  if (!x || !y) { box.replaceChildren(element("p", { class: "about" }, "No numbers.")); return; }
  const range = log ? x.map((value) => 10 ** value) : x;
  const made = frame(box, { label, x: { range, label: xLabel, log, name: xName }, y: { range: y }, height });
  for (const point of points) {
    const at = { x: made.toX(point.x), y: made.toY(point.y) };
    const right = at.x > made.width * 0.72;
    made.picture.append(
      drawn("circle", { class: `point ${tint(point.entry)}`, cx: at.x, cy: at.y, r: 6 }, drawn("title", {}, point.text)),
      drawn("text", { x: at.x + (right ? -10 : 10), y: at.y + 4, "text-anchor": right ? "end" : "start" }, point.name),
    );
  }
  box.replaceChildren(made.picture);
}

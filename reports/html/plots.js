/* Training curves, and quality against cost. */

function training() {
  if (!data.training.length) return;
  $("training").hidden = false;
  const box = $("training-plot"), subject = $("training-subject"), quantity = $("training-quantity"), seed = $("training-seed");
  fill(subject, data.training.map((each, n) => [n, each.name]));
  const draw = () => {
    const all = data.training[Number(subject.value)].lines;
    const lines = ofSeed(all, offerSeeds(seed, seedsOf(all)));
    fill(quantity, [...new Set(lines.flatMap((line) => Object.keys(line.quantities)))].map((name) => [name, name]));
    const own = lines.filter((line) => line.quantities[quantity.value]);
    const points = own.map((line) => ({ entry: line.entry, points: line.quantities[quantity.value] }));
    lineChart(box, { lines: points, label: `${quantity.value} in training, a line per method`, xLabel: "step", log: true });
  };
  box.redraw = draw;
  for (const select of [subject, seed, quantity]) select.addEventListener("change", draw);
  draw();
}

function costs() {
  const tables = data.costs.filter((table) => table.points.length && table.columns.some((column) => column.cost));
  if (!tables.length) return;
  const [protocol, y, x] = ["costs-protocol", "costs-y", "costs-x"].map($), box = $("costs-plot");
  fill(protocol, tables.map((table, n) => [n, table.protocol]));
  protocol.closest("label").hidden = tables.length < 2;
  const draw = () => {
    const table = tables[Number(protocol.value)];
    const known = (column) => table.points.some((point) => Number.isFinite(point.values[column.key]));
    const named = (cost) => table.columns.filter((column) => column.cost === cost && known(column)).map((column) => [column.key, `${column.label}${arrow(column)}`]);
    fill(y, named(false));
    fill(x, named(true));
    const [down, along] = [y, x].map((select) => table.columns.find((column) => column.key === select.value));
    $("costs").hidden = !down || !along;
    if (!down || !along) return;
    const places = new Set(table.points.map((point) => point.where));
    const points = table.points
      .filter((point) => Number.isFinite(point.values[down.key]) && point.values[along.key] > 0)
      .map((point) => {
        const name = data.entries[point.entry].name + (places.size > 1 ? `, ${point.where}` : "");
        const text = `${name}: ${shown(point.values[down.key], down)}, ${shown(point.values[along.key], along)}`;
        return { entry: point.entry, x: point.values[along.key], y: point.values[down.key], name, text };
      });
    const xName = along.kind === "duration" ? duration : short;
    pointChart(box, { points, label: `${down.label} against ${along.label}, a point per method`, xLabel: `${along.label}${along.unit && along.kind !== "duration" ? ` (${along.unit})` : ""}`, log: true, xName });
  };
  box.redraw = draw;
  for (const select of [protocol, y, x]) select.addEventListener("change", draw);
  draw();
}

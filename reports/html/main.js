/* Starts what the page has. */

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll(".matrices").forEach(matrices);
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
const viewer = $("frames") && data.scenes.length ? new Viewer() : null;
if ($("training")) { costs(); training(); }
let waiting = null;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => document.querySelectorAll(".chart").forEach((box) => box.redraw?.()), 100);
});

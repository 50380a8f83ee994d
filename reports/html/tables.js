/* Tables that are sorted by a click on a heading, and matrices of which one is shown. */

function sortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    if (!cell || cell.colSpan > 1) return null;
    if (cell.dataset.sort !== undefined) return parseFloat(cell.dataset.sort.replace("inf", "Infinity"));
    const text = cell.textContent.trim();
    if (cell.classList.contains("reason") || text === "–" || text === "") return null;
    return /^-?[\d,.]+$/.test(text) ? parseFloat(text.replaceAll(",", "")) : text;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sort = (column, order) => {
    const rows = [...original];
    if (order !== "none") {
      rows.sort((one, other) => {
        const a = key(one, column), b = key(other, column);
        // What has no value stays at the end in either direction.
        if (a === null || b === null) return (a === null) - (b === null);
        return order === "ascending" ? compare(a, b) : compare(b, a);
      });
    }
    body.append(...rows);
  };
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const order = { none: "descending", descending: "ascending", ascending: "none" }[head.getAttribute("aria-sort") || "none"];
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    sort(column, order);
  }));
}

function matrices(box) {
  const select = box.querySelector("select"), parts = [...box.querySelectorAll(".matrix")];
  const show = () => parts.forEach((part, number) => { part.hidden = String(number) !== select.value; });
  select.addEventListener("change", show);
  show();
}

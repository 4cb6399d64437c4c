// Sorts a table by the heading that is clicked; missing values stay last. Nothing else needs it.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const value = (row, k) => {
    const cell = row.cells[k], text = (cell.dataset.v ?? cell.textContent).replaceAll("−", "-");
    return text === "" || text === "–" ? null : isNaN(text) ? text : Number(text);
  };
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(b));
  headings.forEach((heading, k) => {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [value(row, k), row]);
      rows.sort(([a], [b]) => (a === null) - (b === null) || (down ? order(b, a) : order(a, b)));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
for (const hint of document.querySelectorAll(".script")) hint.hidden = false;

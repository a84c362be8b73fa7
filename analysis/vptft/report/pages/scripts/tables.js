/* A click on a column's name sorts its table: rising, falling, as it was. What holds no number is last either way. */

function valueOf(cell, numeric) {
  const text = cell.textContent.trim();
  if (!numeric) return text;
  const number = parseFloat(text.replace(/\u2212/g, "-").replace(/,/g, "").replace(/^<\s*/, ""));
  // What is below a number stands just before it.
  return text.startsWith("<") ? number * (1 - 1e-9) : number;
}

function sortable(table) {
  const body = table.tBodies[0];
  if (table.tBodies.length !== 1 || body.rows.length < 3) return;
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const numeric = head.classList.contains("number");
    const button = make("button", { type: "button", class: "sort", title: "Sort by this column" });
    button.append(...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (was === "descending") return body.append(...original);
      const way = was === "ascending" ? -1 : 1;
      head.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
      const keys = new Map(original.map((row) => [row, valueOf(row.cells[column], numeric)]));
      const compare = numeric
        ? (a, b) => {
          const [first, second] = [keys.get(a), keys.get(b)];
          if (Number.isNaN(first) || Number.isNaN(second)) return Number.isNaN(first) - Number.isNaN(second);
          return way * (first - second);
        }
        : (a, b) => way * keys.get(a).localeCompare(keys.get(b), "en", { numeric: true });
      body.append(...[...original].sort(compare));
    });
  });
}

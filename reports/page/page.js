// Fills the page's charts and sorts its tables; needs nothing but the document it is part of.
(function () {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const settings = { responsive: true, displaylogo: false, displayModeBar: false };
  const touch = matchMedia("(max-width: 640px)").matches; // dragging scrolls there instead of zooming

  // "var(--ink)" in a figure becomes the page's present colour, so charts follow light and dark mode.
  function coloured(value, style) {
    if (typeof value === "string" && value.startsWith("var(")) return style.getPropertyValue(value.slice(4, -1)).trim();
    if (Array.isArray(value)) return value.map((inner) => coloured(inner, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coloured(inner, style)]));
    }
    return value;
  }

  function draw(place) {
    const figure = coloured(figures[place.dataset.figure], getComputedStyle(document.documentElement));
    figure.layout.dragmode = touch ? false : "zoom";
    Plotly.react(place, figure.data, figure.layout, settings);
  }

  function drawAll() {
    document.querySelectorAll(".chart").forEach(draw);
  }

  function compare(a, b, column, best) {
    const [left, right] = [a, b].map((row) => row.cells[column].dataset.value);
    if (best === "text") return left.localeCompare(right, "en", { numeric: true });
    return Number(left) - Number(right);
  }

  // A first click puts the best on top, a second one the worst; what was not measured stays below.
  function sort(header) {
    const body = header.closest("table").tBodies[0];
    const rising = header.hasAttribute("aria-sort")
      ? header.getAttribute("aria-sort") === "descending"
      : header.dataset.best !== "high";
    const rows = Array.from(body.rows);
    const missing = (row) => !row.cells[header.cellIndex] || row.cells[header.cellIndex].dataset.value === undefined;
    const known = rows.filter((row) => !missing(row));
    known.sort((a, b) => (rising ? 1 : -1) * compare(a, b, header.cellIndex, header.dataset.best));
    body.append(...known, ...rows.filter(missing));
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  }

  document.querySelectorAll("thead th").forEach((header) => {
    header.querySelector("button").addEventListener("click", () => sort(header));
  });
  document.querySelectorAll(".choices input").forEach((input) => {
    input.addEventListener("change", () => {
      const place = document.getElementById("chart-choice");
      place.dataset.figure = input.value;
      draw(place);
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
})();

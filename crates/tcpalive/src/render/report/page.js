"use strict";
(() => {
  const table = document.getElementById("flows");
  if (!table) return;
  document.documentElement.classList.add("scripted");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const verdict = document.getElementById("verdict");
  const words = document.getElementById("words");
  const count = document.getElementById("count");
  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row, at) => {
      const fits = row.cells[0].textContent.includes(verdict.value) && wanted.every((word) => texts[at].includes(word));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    count.textContent = shown.toLocaleString("en") + " of " + rows.length.toLocaleString("en") + " rows";
  };
  let waiting = 0;
  words.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 150);
  });
  verdict.addEventListener("change", show);
  show();
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    const isNumber = head.classList.contains("n");
    const key = (row) => {
      const text = row.cells[column].textContent;
      if (!isNumber) return text;
      const number = Number(text.replaceAll(",", ""));
      return Number.isNaN(number) ? -1 : number;
    };
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending" || (isNumber && !head.hasAttribute("aria-sort"));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = rows.map((row) => [key(row), row]);
      keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1));
      body.replaceChildren(...keyed.map(([, row]) => row));
    });
  });
})();

"use strict";
// Sorting and filtering. Without this script the page shows everything in its own order.

function valueOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text.replace(/^[<>≤≥]\s*/, "").replaceAll(",", ""));
  return text === "" ? null : Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(table, column, direction) {
  const body = table.tBodies[0];
  const rows = table.rowsAtFirst.slice();
  if (direction !== "none") {
    const sign = direction === "ascending" ? 1 : -1;
    rows.sort((first, second) => {
      const [a, b] = [valueOf(first, column), valueOf(second, column)];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    });
  }
  body.append(...rows);
}

function makeSortable(table) {
  table.rowsAtFirst = [...table.tBodies[0].rows];
  if (table.rowsAtFirst.length < 2) return;
  const heads = [...table.tHead.rows[0].cells];
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  heads.forEach((head, column) => {
    if (head.classList.contains("unsorted")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const direction = next[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", direction);
      sortBy(table, column, direction);
    });
  });
}

function fits(facts, kind, option) {
  if (!option.value || !(kind in facts)) return true;
  return "none" in option.dataset ? facts[kind].length === 0 : facts[kind].includes(option.value);
}

function filterPage(form) {
  const selects = [...form.querySelectorAll("select")];
  const lines = [...document.querySelectorAll("[data-facts]")];
  for (const line of lines) {
    const facts = JSON.parse(line.dataset.facts);
    line.hidden = !selects.every((select) => fits(facts, select.name, select.selectedOptions[0]));
  }
  // A table without a line left says nothing.
  for (const block of document.querySelectorAll("article.block:not([data-facts])")) {
    const rows = [...block.querySelectorAll("tbody > tr")];
    block.hidden = rows.length > 0 && rows.every((row) => row.hidden);
  }
  const rows = lines.filter((line) => line.closest("#tables"));
  const left = rows.filter((row) => !row.hidden).length;
  form.querySelector("output").textContent = `${left} of ${rows.length} rows`;
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
const form = document.getElementById("filters");
if (form.querySelector("select")) {
  form.hidden = false;
  form.addEventListener("input", () => filterPage(form));
  form.addEventListener("reset", () => setTimeout(() => filterPage(form)));
  form.addEventListener("submit", (event) => event.preventDefault());
  filterPage(form);
}

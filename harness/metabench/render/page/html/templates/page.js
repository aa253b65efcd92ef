"use strict";
// Sorting, filtering, downloads, and two configurations side by side. Without this script the page
// shows everything in its own order.

const parsedSvg = (text) => new DOMParser().parseFromString(text, "text/html").querySelector("svg");
const SVG = parsedSvg("<svg></svg>").namespaceURI;
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Sorting.

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
  const rows = table.rowsAtFirst.slice();
  if (direction !== "none") {
    const sign = direction === "ascending" ? 1 : -1;
    rows.sort((first, second) => {
      const [a, b] = [valueOf(first, column), valueOf(second, column)];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    });
  }
  table.tBodies[0].append(...rows);
}

function makeSortable(table) {
  table.rowsAtFirst = [...table.tBodies[0].rows];
  if (table.rowsAtFirst.length < 2) return;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.classList.contains("unsorted")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    const first = head.dataset.first ?? "ascending"; // the best first, where something is best
    const second = first === "ascending" ? "descending" : "ascending";
    const next = { none: first, [first]: second, [second]: "none" };
    button.addEventListener("click", () => {
      const direction = next[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", direction);
      sortBy(table, column, direction);
    });
  });
}

// Filtering: what is chosen, by kind, is in the address.

function chosen(form) {
  const found = {};
  for (const box of all("input:checked", form)) {
    (found[box.name] ??= []).push("none" in box.dataset ? null : box.value);
  }
  return found;
}

function fits(facts, wanted) {
  return Object.entries(wanted).every(([kind, values]) => {
    if (!(kind in facts)) return true;
    return values.some((value) => (value === null ? !facts[kind].length : facts[kind].includes(value)));
  });
}

// A part whose lines are all hidden says nothing.
function hideEmpty(selector, lines) {
  for (const part of all(selector).reverse()) {
    const found = all(lines, part);
    part.hidden = found.length > 0 && found.every((line) => line.hidden);
  }
}

// The verdicts at a glance are those of the lines that are left.
function countVerdicts() {
  for (const row of all("[data-counts]")) {
    const id = row.dataset.counts;
    const place = id === "claims" ? "#claims .claim:not([hidden]) h4 .badge" : `#${id}-block tbody tr:not([hidden]) .badge`;
    const counts = {};
    for (const badge of all(place)) {
      const said = badge.textContent.replace(/\s*[°(±].*$/, (rest) => (id === "claims" ? rest : ""));
      counts[said] = (counts[said] ?? 0) + 1;
    }
    const badges = all(".badge", row);
    for (const badge of badges) {
      const number = badge.querySelector("b");
      badge.said ??= badge.textContent.slice(0, -number.textContent.length).trim();
      number.textContent = counts[badge.said] ?? 0;
      badge.hidden = !counts[badge.said];
    }
    row.hidden = badges.length > 0 && badges.every((badge) => badge.hidden);
  }
}

function filterPage(form) {
  const wanted = chosen(form);
  const lines = all("[data-facts]");
  for (const line of lines) line.hidden = !fits(JSON.parse(line.dataset.facts), wanted);
  hideEmpty(".plot, .card, details.rest", "li");
  hideEmpty("details.block:has(> .scroll table)", "tbody > tr");
  hideEmpty("#claims > details.block", ".claim");
  hideEmpty("#figures > details.block", ".picture");
  hideEmpty("#reproduce > details.block", ".origin");
  countVerdicts();
  for (const filter of all("details.filter", form)) {
    const values = all("input:checked", filter).map((box) => box.value);
    filter.querySelector(".chosen").textContent =
      values.length === 0 ? "all" : values.length === 1 ? values[0] : `${values.length} chosen`;
  }
  const rows = lines.filter((line) => line.closest("#tables"));
  const left = rows.filter((row) => !row.hidden).length;
  form.querySelector("output").textContent = `${left} of ${rows.length} rows`;
  showHints();
}

function toAddress(form, pair = inAddress("pair")) {
  const said = new URLSearchParams();
  for (const box of all("input:checked", form)) {
    said.append(box.name, "none" in box.dataset ? "" : box.value);
  }
  for (const name of pair) said.append("pair", name);
  const query = said.size ? `?${said}` : location.pathname;
  try {
    history.replaceState(null, "", query + location.hash);
  } catch {
    // Some browsers keep the address of a local file as it is.
  }
}

function inAddress(name) {
  return new URLSearchParams(location.search).getAll(name);
}

function fromAddress(form) {
  const said = new URLSearchParams(location.search);
  for (const box of all("input", form)) {
    box.checked = said.getAll(box.name).includes("none" in box.dataset ? "" : box.value);
  }
}

// What is wider than its box says so; only such a box takes the focus.

function showHints() {
  for (const box of all(".scroll")) {
    const wide = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("wide", wide);
    if (wide) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
  for (const row of all("nav ul, #filters")) {
    const rest = row.scrollWidth - row.clientWidth - row.scrollLeft;
    row.classList.toggle("wide", rest > 1);
  }
}

// What a link leads to is opened.

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const folds = target.matches("details") ? [target] : [];
  for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) folds.push(fold);
  for (const fold of folds) fold.open = true;
  target.scrollIntoView();
}

// What is stored: files to download, and pairs of configurations.

// Large figures come out of the store when they are about to be seen.
async function unpackFigures(root = document) {
  const places = all("[data-stored]", root);
  if (!places.length) return;
  const { figures } = await stored();
  for (const place of places.filter((one) => one.isConnected)) {
    place.replaceWith(parsedSvg(figures[place.dataset.stored]));
  }
  showHints();
}

let inflated;
function stored() {
  inflated ??= (async () => {
    const text = document.getElementById("stored").content.textContent;
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  })();
  return inflated;
}

async function download(button) {
  await unpackFigures(button.closest("article") ?? button);
  const { file, kind, name } = button.dataset;
  let text, ending = kind;
  if (kind === "figure") {
    const figure = button.closest("article").querySelector("figure svg").cloneNode(true);
    figure.setAttribute("xmlns", SVG);
    figure.setAttribute("font-family", "DejaVu Sans, sans-serif");
    const [, , width, height] = figure.getAttribute("viewBox").split(" ");
    figure.setAttribute("width", `${width}pt`);
    figure.setAttribute("height", `${height}pt`);
    [text, ending] = [new XMLSerializer().serializeToString(figure), "svg"];
  } else {
    text = (await stored()).files[file][kind];
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: ending === "svg" ? "image/svg+xml" : "text/plain" }));
  link.download = `${name}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Two configurations side by side.

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "text", "image", "circle"].includes(tag);
  const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const signed = (value, unit) => `${value < 0 ? "-" : "+"}${shown(Math.abs(value), unit)}`;
const shown = (value, unit) => (value === null ? "" : value.toFixed(unit === "%" ? 2 : 3));

function tableOf(title, heads, rows) {
  const look = (text) => (/^[[+-]*[\d.]/.test(text) ? "number" : "");
  const head = heads.map((text, i) => make("th", { scope: "col", class: i ? look(rows[0][i]) : "" }, text));
  const body = rows.map((row) => make("tr", {}, ...row.map((text, i) =>
    i ? make("td", { class: look(text) }, text) : make("th", { scope: "row" }, text))));
  const table = make("table", {}, make("caption", { class: "unseen" }, title),
    make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
  return [make("h4", {}, title), document.querySelector(".hint").cloneNode(true),
    make("div", { class: "scroll", role: "group", "aria-label": title }, table)];
}

// Two lines over a common axis; what grows by a factor of 10 has a log axis.
function curvesOf(title, under, lines) {
  const points = lines.flat().filter(([, y]) => y !== null);
  if (points.length < 2) return "";
  const ys = points.map(([, y]) => y);
  const [lowest, highest] = [Math.min(...ys), Math.max(...ys)];
  const log = lowest > 0 && highest > 10 * lowest;
  const scaled = (y) => (log ? Math.log10(y) : y);
  const [left, right, top, bottom] = [52, 410, 12, 150];
  const far = Math.max(...points.map(([x]) => x)) || 1;
  const span = scaled(highest) - scaled(lowest) || 1;
  const at = ([x, y]) => `${(left + ((right - left) * x) / far).toFixed(1)} ${(bottom - ((bottom - top) * (scaled(y) - scaled(lowest))) / span).toFixed(1)}`;
  const said = (value) => String(Number(value.toPrecision(3)));
  const paths = lines.map((line, i) => {
    const known = line.filter(([, y]) => y !== null);
    return make("path", { class: i ? "right" : "left", d: known.length ? `M${known.map(at).join("L")}` : "" });
  });
  const svg = make("svg", { viewBox: "0 0 420 184", role: "img", "aria-label": `${title} of both` },
    make("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }), ...paths,
    make("text", { x: left - 6, y: top + 4, "text-anchor": "end" }, said(highest)),
    make("text", { x: left - 6, y: bottom, "text-anchor": "end" }, said(lowest)),
    make("text", { x: left, y: bottom + 16 }, "0"),
    make("text", { x: right, y: bottom + 16, "text-anchor": "end" }, said(far)),
    make("text", { x: (left + right) / 2, y: bottom + 30, "text-anchor": "middle" }, under));
  return make("div", { class: "curve" }, make("h4", {}, `${title}${log ? " (log scale)" : ""}`), svg);
}

// Episodes that can be looked into.

function openedOf(group, one, other, differing) {
  const kept = Object.keys(group.opened).filter((key) => key in one.scores && key in other.scores);
  const scores = new Map([...differing, ...kept.map((key) => [key, one.scores[key], other.scores[key]])]
    .filter(([key]) => key in group.opened).map(([key, ...both]) => [key, both]));
  const said = [...[one, other].map((side) => side.silent), ...group.opening].filter(Boolean);
  const parts = [make("h4", {}, "Look into an episode")];
  if (scores.size) parts.push(make("p", { class: "about" }, "Scores are means over seeds; what is predicted is of the first seed."));
  for (const [key, both] of scores) {
    const found = group.opened[key];
    const [left, right] = both.map((score) => shown(score, group.unit));
    const title = `${found.source}, episode ${found.number}`;
    parts.push(make("details", { class: "episode" },
      make("summary", {}, `${title} `, make("span", { class: "quiet" }, `left ${left}, right ${right}`)),
      ...(found.sheet ? imagesOf : functionOf)(title, found, [one, other].map((side) => side.predictions[key]))));
  }
  return [...parts, ...said.map((text) => make("p", { class: "about" }, text))];
}

// The true function, the support points and two predictions; what leaves the picture is cut off.
function functionOf(title, found, predictions) {
  const ys = [...found.truth, ...found.support.map(([, y]) => y)].filter((y) => y !== null);
  const margin = Math.max(0.3 * (Math.max(...ys) - Math.min(...ys)), 1.5);
  const [lowest, highest] = [Math.min(...ys) - margin, Math.max(...ys) + margin];
  const [left, right, top, bottom] = [40, 410, 8, 170];
  const [width, height] = [right - left, bottom - top];
  const at = (x, y) => [(width * (x - found.low)) / (found.high - found.low), height - (height * (y - lowest)) / (highest - lowest)];
  const lineOf = (values, look) => {
    let pen = "M";
    const steps = values.map((y, i) => {
      if (y === null) { pen = "M"; return ""; }
      const step = pen + at(found.low + ((found.high - found.low) * i) / (values.length - 1), y).map((one) => one.toFixed(1)).join(" ");
      pen = "L";
      return step;
    });
    return make("path", { class: look, d: steps.join("") });
  };
  const drawn = [[found.truth, "truth"], [predictions[0] ?? [], "left"], [predictions[1] ?? [], "right"]].filter(([values]) => values.length);
  const points = found.support.map(([x, y]) => {
    const [cx, cy] = at(x, y).map((one) => one.toFixed(1));
    return make("circle", { cx, cy, r: 3.5 });
  });
  const said = (value) => String(Number(value.toPrecision(2)));
  const svg = make("svg", { viewBox: "0 0 420 190", role: "img", "aria-label": `${title}: the function, support points and predictions` },
    make("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }),
    make("svg", { x: left, y: top, width, height }, ...drawn.map(([values, look]) => lineOf(values, look)), ...points),
    make("text", { x: left - 5, y: top + 10, "text-anchor": "end" }, said(highest)),
    make("text", { x: left - 5, y: bottom, "text-anchor": "end" }, said(lowest)),
    make("text", { x: left, y: bottom + 15 }, said(found.low)),
    make("text", { x: right, y: bottom + 15, "text-anchor": "end" }, said(found.high)));
  const gone = predictions.every((values) => !values?.length) ? " Neither prediction is here." : "";
  return [make("div", { class: "curve" }, svg),
    make("p", { class: "about" }, `${found.truth.length ? "The thin line is the true function. " : ""}Circles are support points; the other lines are what the two predict.${gone}`)];
}

// Classes in rows, support images left, query images right with the answers of the two below.
function imagesOf(title, found, predictions) {
  const [width, height] = found.size;
  const answers = ["left", "right"].flatMap((look, i) => (predictions[i] ?? []).map((answer, n) => {
    const [x, y] = found.places[n];
    const right = answer === found.labels[n];
    return make("text", { class: look, x: x + (i ? 8 : -8), y: y + 11, "text-anchor": "middle" }, right ? "\u2713" : String(answer + 1));
  }));
  const right = predictions.map((own) => own && `${own.filter((answer, n) => answer === found.labels[n]).length} of ${own.length}`);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, width: `${width / 10}em`, role: "img", "aria-label": `${title}: images of ${found.classes.join(", ")}` },
    make("image", { href: found.sheet, width, height }), ...answers);
  const parts = [make("ol", { class: "classes" }, ...found.classes.map((name) => make("li", {}, name))),
    make("div", { class: "answers" }, svg)];
  const [nSupport, nQuery] = found.shown;
  const texts = [`A row for each class, in this order: ${nSupport} support, then ${nQuery} query.`, found.leftOut];
  if (right.some(Boolean)) texts.push("Below a query image, left and right, is what each of the two says: \u2713 is right, a number is another class.");
  right.forEach((text, i) => texts.push(text ? `${i ? "Right" : "Left"}: ${text} right.` : `${i ? "Right" : "Left"}: no prediction is here.`));
  return [...parts, make("p", { class: "about" }, texts.filter(Boolean).join(" "))];
}

function sideBySide(group, left, right) {
  const [one, other] = [group.sides[left], group.sides[right]];
  const pair = group.pairs.find(({ of }) => of.includes(left) && of.includes(right) && left !== right);
  const parts = [make("p", { class: "key" }, make("span", { class: "left" }, one.name), " and ", make("span", { class: "right" }, other.name))];
  if (pair) {
    const sign = pair.of[0] === left ? 1 : -1;
    const [a, b] = sign > 0 ? [2, 3] : [3, 2];
    const rows = group.columns.map((column, i) => {
      const [mean, low, high] = pair.differences[i].map((value) => sign * value);
      const ends = [low, high].sort((x, y) => x - y).map((end) => signed(end, group.unit));
      return [column, shown(one.means[i], group.unit), shown(other.means[i], group.unit), signed(mean, group.unit), `[${ends.join(", ")}]`];
    });
    const title = `Left minus right in ${group.differences}, ${group.better === "larger" ? "more" : "less"} is better`;
    parts.push(...tableOf(title, ["Source", "Left", "Right", "Difference", "95 % interval"], rows));
    const tested = pair.p
      ? `p ${pair.p} for ${group.columns[0]}, two-sided, adjusted over all pairs of ${group.name}.`
      : `There is no p-value: adjusted over all pairs of ${group.name}, that of two seeds would be too small.`;
    parts.push(make("p", { class: "about" }, `${tested} Interval: ${pair.how}.`));
    const episodes = sign > 0 ? pair.episodes : pair.episodes.slice().reverse();
    parts.push(...tableOf("Episodes that differ most", ["Source", "Left", "Right", "Difference", "Episode", "Key"], episodes.map((found) =>
      [found[0], shown(found[a], group.unit), shown(found[b], group.unit), signed(found[a] - found[b], group.unit), String(found[4]), `#${found[1]}`])));
    parts.push(...openedOf(group, one, other, episodes.map((found) => [found[1], found[a], found[b]])));
  } else {
    parts.push(make("p", { class: "notice" }, left === right ? "Choose two different configurations." : "These two share too few episodes, or too few seeds, to be compared."));
  }
  // What a learner calls its loss is its own.
  const together = (name) => name !== "loss" || one.facts.learner[0] === other.facts.learner[0];
  const logged = [...new Set([...Object.keys(one.training), ...Object.keys(other.training)])];
  const curves = logged.filter(together).map((name) =>
    curvesOf(`Training: ${name}, first seed`, "meta-step", [one, other].map((side) => side.training[name] ?? [])));
  const steps = [one, other].map((side) => side.steps.map((value, step) => [step, value]));
  curves.push(curvesOf(`Meta-test: ${group.unit}, first seed`, "inner step", steps));
  parts.push(make("div", { class: "curves" }, ...curves.filter(Boolean)));
  return parts;
}

async function chooser(form, filters) {
  const { groups } = await stored();
  const options = (select, names, at) => {
    select.replaceChildren(...names.map(([value, name]) => make("option", { value }, name)));
    select.value = names.some(([value]) => value === at) ? at : (names[0]?.[0] ?? "");
  };
  const fill = (change) => {
    const wanted = chosen(filters);
    const kept = groups.map((group, i) => [i, group.sides.map((side, n) => [n, side]).filter(([, side]) => fits(side.facts, wanted))]);
    const able = kept.filter(([, sides]) => sides.length > 1);
    options(form.group, able.map(([i]) => [i, groups[i].name]), Number(form.group.value));
    const sides = able.find(([i]) => i === Number(form.group.value))?.[1] ?? [];
    const names = sides.map(([n, side]) => [n, side.name]);
    options(form.left, names, change === "group" ? names[0]?.[0] : Number(form.left.value || names[0]?.[0]));
    options(form.right, names, change === "group" || !form.right.value ? names[1]?.[0] : Number(form.right.value));
    if (names.length > 1 && form.left.value === form.right.value && change !== "left" && change !== "right") form.right.value = names.find(([n]) => n !== Number(form.left.value))[0];
    const place = document.getElementById("compared");
    if (!names.length) return place.replaceChildren(make("p", { class: "notice" }, "The filters leave no two configurations that ran under the same conditions."));
    place.replaceChildren(...sideBySide(groups[form.group.value], Number(form.left.value), Number(form.right.value)));
    showHints();
  };
  form.addEventListener("input", (event) => {
    fill(event.target.name);
    const { name, sides } = groups[form.group.value];
    toAddress(filters, [name, sides[form.left.value].name, sides[form.right.value].name]);
  });
  filters.addEventListener("input", () => fill("filters"));
  filters.addEventListener("reset", () => setTimeout(() => fill("filters")));
  const [group, ...sides] = inAddress("pair");
  const at = groups.findIndex(({ name }) => name === group);
  const [left, right] = sides.map((side) => groups[at]?.sides.findIndex(({ name }) => name === side));
  if (left >= 0 && right >= 0) {
    options(form.group, [[at, group]], at);
    options(form.left, [[left, sides[0]]], left);
    options(form.right, [[right, sides[1]]], right);
    fill("");
  } else fill("group");
}

// The page comes to life.

all("table.sortable").forEach(makeSortable);
all(".tools").forEach((tools) => (tools.hidden = false));
all("[data-kind]").forEach((button) => button.addEventListener("click", () => download(button)));
const form = document.getElementById("filters");
if (form.querySelector("input")) {
  form.hidden = false;
  fromAddress(form);
  form.addEventListener("input", () => { toAddress(form); filterPage(form); });
  form.addEventListener("reset", () => setTimeout(() => { toAddress(form); filterPage(form); }));
  form.addEventListener("submit", (event) => event.preventDefault());
  filterPage(form);
}
document.addEventListener("click", (event) => {
  for (const filter of all("details.filter[open]")) if (!filter.contains(event.target)) filter.open = false;
});
document.addEventListener("keydown", (event) => {
  const filter = event.key === "Escape" && document.activeElement.closest("details.filter[open]");
  if (!filter) return;
  filter.open = false;
  filter.querySelector("summary").focus();
});
const choice = document.getElementById("choice");
if (choice) {
  document.getElementById("compare").hidden = false;
  const fold = choice.closest("details");
  fold.addEventListener("toggle", () => chooser(choice, form), { once: true });
  if (inAddress("pair").length) fold.open = true;
}
showHints();
addEventListener("resize", showHints);
for (const row of all("nav ul, #filters")) row.addEventListener("scroll", showHints);
document.addEventListener("toggle", (event) => {
  if (event.target.open) unpackFigures(event.target);
  showHints();
}, true);
addEventListener("load", () => setTimeout(unpackFigures, 500)); // so that they can be printed and found
document.addEventListener("change", (event) => event.target.matches("input.further") && showHints());
addEventListener("hashchange", openTarget);
openTarget();
// On paper everything is open.
let folded = [];
addEventListener("beforeprint", () => {
  folded = all("main details:not([open])");
  for (const fold of folded) fold.open = true;
});
addEventListener("afterprint", () => { for (const fold of folded) fold.open = false; });

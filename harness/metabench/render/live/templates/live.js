"use strict";
// Asks the server how far the runs are, every few seconds, and draws what it says.

const SECONDS = 2;
const COLUMNS = ["learner", "seed", "state", "share", "left", "loss", "val", "skipped", "steps"];
const TEXTS = new Set(["learner", "state"]);
const WIDTH = 440, HEIGHT = 240, LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 28;
const curves = new Map();
let now = "0";

function make(name, attributes = {}, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...children);
  return found;
}

function draw(name, attributes = {}, ...children) {
  const found = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...children);
  return found;
}

function short(value) {
  return Math.abs(value) >= 1e4 ? value.toLocaleString("en") : String(Number(value.toPrecision(3)));
}

// A function from values to positions, and the values to mark.
function scaleOf(values) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const log = low > 0 && high / low > 10;
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 1, high + 1];
  const bend = log ? Math.log : (value) => value;
  const back = log ? Math.exp : (value) => value;
  const [start, end] = [bend(low), bend(high)];
  const place = (value) => HEIGHT - BOTTOM - ((bend(value) - start) / (end - start)) * (HEIGHT - TOP - BOTTOM);
  const marks = [0, 1, 2, 3, 4].map((i) => back(start + (i / 4) * (end - start)));
  return { place, marks };
}

function chart(group, kind, title) {
  const lines = group.runs
    .map((run) => ({ run, points: (curves.get(run.key) ?? {})[kind] ?? [] }))
    .filter((line) => line.points.length > 0);
  if (lines.length === 0) return null;
  const { place, marks } = scaleOf(lines.flatMap((line) => line.points.map((point) => point[1])));
  const across = (step) => LEFT + (step / Math.max(1, group.meta_steps)) * (WIDTH - LEFT - RIGHT);
  const said = lines.map(({ run, points }) => `${run.learner} seed ${run.seed}: ${short(points.at(-1)[1])}`);
  const svg = draw("svg", {
    class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "data-kind": kind,
    "aria-label": `${title} over meta-steps. Last values: ${said.slice(0, 20).join(", ")}`,
  });
  for (const mark of marks) {
    const y = place(mark);
    svg.append(
      draw("path", { class: "grid", d: `M${LEFT} ${y}H${WIDTH - RIGHT}` }),
      draw("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, short(mark)),
    );
  }
  for (const part of [0, 0.5, 1]) {
    const step = Math.round(part * group.meta_steps);
    const anchor = part === 1 ? "end" : "middle";
    svg.append(draw("text", { x: across(step), y: HEIGHT - 8, "text-anchor": anchor }, step.toLocaleString("en")));
  }
  const going = lines.some(({ run }) => run.state === "running");
  // Those at work are drawn last, so that nothing hides them.
  for (const { run, points } of lines.reverse()) {
    const path = points.map(([step, value]) => `${across(step).toFixed(1)} ${place(value).toFixed(1)}`);
    if (path.length === 1) path.push(path[0]);
    svg.append(
      draw("path", {
        class: going && run.state !== "running" ? "curve ended" : "curve", d: `M${path.join("L")}`,
        stroke: run.color, "stroke-dasharray": run.dash, "stroke-linecap": "round",
        "data-key": run.key, "data-points": points.length,
      }, draw("title", {}, `${run.learner} seed ${run.seed}`)),
    );
  }
  return make("figure", {}, make("figcaption", {}, title), svg);
}

function row(run, columns) {
  const cells = columns.map((name) => {
    const cell = make("td", TEXTS.has(name) || name === "share" ? {} : { class: "number" });
    if (name === "learner") {
      const line = draw("path", { d: "M1 4H25", stroke: run.color, "stroke-width": 2.5, "stroke-dasharray": run.dash });
      cell.append(draw("svg", { class: "swatch", viewBox: "0 0 26 8", "aria-hidden": "true" }, line));
    }
    if (name === "share") cell.append(make("progress", { max: 1, value: run.part, "aria-label": "Share done" }), " ");
    if (name === "state") cell.className = run.state;
    cell.append(run[name]);
    return cell;
  });
  return make("tr", {}, ...cells);
}

function table(group) {
  const columns = COLUMNS.filter((name) => group.runs.some((run) => run[name] !== ""));
  const heads = columns.map((name) =>
    make("th", { scope: "col", class: TEXTS.has(name) || name === "share" ? "" : "number" }, name));
  const body = make("tbody", {}, ...group.runs.map((run) => row(run, columns)));
  const whole = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body);
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Runs of ${group.place}` }, whole);
}

function reasons(group) {
  return group.runs.filter((run) => run.command !== "").map((run) => {
    const about = `${run.state}: ${run.learner} seed ${run.seed}${run.error ? `: ${run.error}` : ""}`;
    return make("div", { class: "reason" }, about, make("pre", {}, run.command));
  });
}

function show(values) {
  now = values.now;
  for (const run of values.groups.flatMap((group) => group.runs)) {
    if (run.curves) curves.set(run.key, run.curves);
  }
  document.title = `${Math.floor(100 * values.share + 1e-9)} % · ${values.title} · metabench`;
  document.getElementById("title").textContent = values.title;
  const end = values.under_way ? "" : "nothing is at work";
  say([values.counts, values.left, end].filter(Boolean).join(", "));
  document.getElementById("share").value = values.share;
  const parts = values.groups.flatMap((group) => {
    const panels = [chart(group, "loss", group.loss), chart(group, "val", `Meta-validation, ${group.val}`)];
    return [
      make("h2", {}, group.place), ...reasons(group),
      make("div", { class: "panels" }, ...panels.filter(Boolean)), table(group),
    ];
  });
  if (values.problems.length) {
    const lines = values.problems.map((problem) => make("p", { class: "reason" }, problem));
    parts.push(make("h2", {}, "Not readable"), ...lines);
  }
  const main = document.getElementById("main");
  const scrolled = [...main.querySelectorAll(".scroll")].map((region) => region.scrollLeft);
  main.replaceChildren(...parts);
  main.querySelectorAll(".scroll").forEach((region, i) => { region.scrollLeft = scrolled[i] ?? 0; });
}

function say(text, lost = false) {
  const place = document.getElementById("summary");
  if (place.textContent !== text) place.textContent = text;
  place.className = lost ? "lost" : "";
}

async function renew() {
  try {
    // Neither in the background nor under a text that is being selected.
    if (now === "0" || (!document.hidden && getSelection().isCollapsed)) {
      const answer = await fetch(`/status.json?since=${now}`, { cache: "no-store" });
      if (answer.ok) show(await answer.json());
      else say(await answer.text(), true);
    }
  } catch {
    say("The server does not answer: start metabench view again.", true);
  }
  setTimeout(renew, 1000 * SECONDS);
}

renew();

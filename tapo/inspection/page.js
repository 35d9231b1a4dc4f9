"use strict";
// Texts come from rollouts and may hold anything: they reach the page through textContent alone.

const PAGE_SIZE = 50;
const TYPING_MS = 150;
const YIELD_MS = 40;
const STRONGEST_SHADE = 0.6;

const byId = (id) => document.getElementById(id);
const { chunk: CHUNK, rows: ROWS } = JSON.parse(byId("index").textContent);
const CHUNKS = [...document.querySelectorAll("script.chunk")];
const unpacked = new Map();

let shown = [];
let page = 0;
let search = 0;
let typing;

/** A promise of one chunk's texts by field; each chunk is unpacked once. */
function chunkFields(number) {
  if (!unpacked.has(number)) unpacked.set(number, unpack(CHUNKS[number].textContent));
  return unpacked.get(number);
}

async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

async function textOf(row) {
  const fields = await chunkFields(Math.floor(row / CHUNK));
  return Object.fromEntries(Object.entries(fields).map(([name, values]) => [name, values[row % CHUNK]]));
}

/** A new element with a class, a text and children. */
function element(name, className = "", text = "", children = []) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

// ---- filters

function fits(line) {
  const outcome = byId("outcome").value;
  const reward = byId("reward").value;
  const check = byId("check")?.value; // there where the dump holds verdicts
  const { from, to } = stepRange();
  return (
    line.step >= from &&
    line.step <= to &&
    (!outcome || (outcome === "rejected" ? line.outcome !== "trained" : "=" + line.outcome === outcome)) &&
    (!check || check === line.check) &&
    (!reward || reward === (line.reward === null ? "none" : line.correct ? "correct" : "wrong"))
  );
}

function stepRange() {
  const bound = (id, open) => (byId(id).value === "" ? open : Number(byId(id).value));
  return { from: bound("from", -Infinity), to: bound("to", Infinity) };
}

function holds(text, needle) {
  const parts = [text.query, text.wrong, text.correct, text.reflection, text.correction, text.analysis, text.answer];
  return parts.some((part) => part !== null && part.toLowerCase().includes(needle));
}

/** Apply all filters; a newer call makes an older one stop. */
async function update() {
  clearTimeout(typing);
  const run = ++search;
  byId("list").setAttribute("aria-busy", "true");
  let rows = [...ROWS.keys()].filter((row) => fits(ROWS[row]));
  const needle = byId("query").value.trim().toLowerCase();
  if (needle) rows = await matching(rows, needle, run);
  if (run !== search) return;
  // The index is in the order of steps.
  shown = byId("order").value === "-1" ? rows.reverse() : rows;
  page = 0;
  render();
}

async function matching(rows, needle, run) {
  const found = [];
  let paused = performance.now();
  for (const row of rows) {
    if (performance.now() - paused > YIELD_MS) {
      byId("count").textContent = `Searching… ${found.length.toLocaleString("en")} found so far`;
      await new Promise((resume) => setTimeout(resume));
      if (run !== search) return found;
      paused = performance.now();
    }
    if (holds(await textOf(row), needle)) found.push(row);
  }
  return found;
}

// ---- list

function render() {
  const list = byId("list");
  const pages = Math.max(1, Math.ceil(shown.length / PAGE_SIZE));
  list.replaceChildren(...shown.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE).map(item));
  const total = ROWS.length.toLocaleString("en");
  byId("count").textContent = `${shown.length.toLocaleString("en")} of ${total} trajectories`;
  byId("page").textContent = `Page ${page + 1} of ${pages}`;
  byId("previous").disabled = page === 0;
  byId("next").disabled = page === pages - 1;
  list.setAttribute("aria-busy", "false");
}

function turn(by) {
  page += by;
  render();
  byId("count").scrollIntoView();
}

function item(row) {
  const line = ROWS[row];
  const details = element("details", "item", "", [
    element("summary", "", "", [
      element("span", "", `step ${line.step}`),
      element("b", "", line.outcome),
      element("span", "", line.reward === null ? "no reward" : `reward ${line.reward}`),
      element("span", "", line.kept === null ? "nothing spliced" : `${line.kept} tokens kept`),
      ...(line.check === null ? [] : [element("span", "", line.check)]),
      element("span", "excerpt", line.excerpt),
    ]),
  ]);
  details.dataset.row = row;
  details.addEventListener("toggle", () => fill(details));
  return details;
}

/** Put the trajectory into its opened item, once. */
async function fill(details) {
  if (!details.open || details.querySelector(".body")) return;
  const holder = element("div", "body");
  details.append(holder);
  holder.append(...body(await textOf(Number(details.dataset.row))));
}

function body(text) {
  const parts = [heading("Query"), element("pre", "", text.query)];
  if (text.prefix_units === null) {
    parts.push(heading("Answer of the actor"), element("pre", "answer", text.answer || "(none)"));
    parts.push(folded(`Wrong rollout, reward ${text.wrong_reward}`, text.wrong));
  } else {
    parts.push(heading("Trajectory"), trajectory(text));
    if (text.analysis) parts.push(folded("Diagnosis of the actor", text.analysis));
  }
  parts.push(folded("Correct sibling", text.correct), element("p", "field", facts(text)));
  return parts;
}

const heading = (text) => element("h3", "", text);

function folded(title, text) {
  return element("details", "", "", [element("summary", "", title), element("pre", "", text)]);
}

function facts(text) {
  const parts = [`key ${text.key}`, `built on session ${text.wrong_session} with session ${text.correct_session}`];
  if (text.trained_step !== null) parts.push(`trained in step ${text.trained_step}`, `advantage ${rounded(text.advantage)}`);
  return parts.join(" · ");
}

const rounded = (value) => (typeof value === "number" ? String(Number(value.toPrecision(3))) : value);

// ---- one trajectory

function trajectory(text) {
  const dropped = element("del", "dropped", text.wrong.slice(text.prefix_units));
  return element("pre", "trajectory", "", [...segments(text), "\n", dropped]);
}

/** Its three segments, and in shading mode a span for each run of characters that one weight stands for. */
function segments(text) {
  const named = [
    ["prefix", text.wrong.slice(0, text.prefix_units)],
    ["reflection", text.reflection],
    ["correction", text.correction],
  ];
  if (!byId("shade").checked) return named.map(([name, part]) => element("span", name, part));
  if (text.weights === null) {
    return [...named.map(([name, part]) => element("span", name, part)), element("span", "end", "no token weights")];
  }
  const { pieces, rest } = weightedPieces(text);
  const spans = [];
  let start = 0;
  for (const [name, part] of named) {
    const end = start + part.length;
    const segment = element("span", `${name} shaded`);
    for (const piece of pieces) {
      const [from, to] = [Math.max(piece.start, start), Math.min(piece.end, end)];
      if (from < to) segment.append(token(part.slice(from - start, to - start), piece.weights));
    }
    spans.push(segment);
    start = end;
  }
  if (rest.length) spans.push(token("end", rest, "end"));
  return spans;
}

/** Pieces of text with their weights: several where a character is made of several tokens. `rest`: behind the text. */
function weightedPieces(text) {
  const lengths = text.lengths.split(" ").map(Number);
  const pieces = [];
  let rest = [];
  let start = 0;
  text.weights.split(" ").forEach((weight, i) => {
    rest.push(Number(weight));
    if (lengths[i] === 0) return;
    pieces.push({ start, end: start + lengths[i], weights: rest });
    start += lengths[i];
    rest = [];
  });
  return { pieces, rest };
}

/** A shaded piece; the shade is the geometric mean of its weights, on a logarithmic scale from 0.01 to 10. */
function token(text, weights, className = "") {
  const made = element("span", `token ${className}`, text);
  made.title = `weight ${weights.join(", ")}`;
  const exponent = weights.reduce((sum, weight) => sum + Math.log10(weight), 0) / weights.length;
  const strength = exponent < 0 ? Math.min(1, -exponent / 2) : Math.min(1, exponent);
  if (strength > 0) {
    made.classList.add(exponent < 0 ? "low" : "high");
    made.style.setProperty("--strength", (STRONGEST_SHADE * strength).toFixed(3));
  }
  return made;
}

async function reshade() {
  for (const details of document.querySelectorAll(".item[open]")) {
    const old = details.querySelector(".trajectory");
    if (old) old.replaceWith(trajectory(await textOf(Number(details.dataset.row))));
  }
}

// ---- start

function start() {
  const filters = byId("filters");
  for (const event of ["input", "change"]) {
    filters.addEventListener(event, () => {
      byId("list").setAttribute("aria-busy", "true");
      clearTimeout(typing);
      typing = setTimeout(update, TYPING_MS);
    });
  }
  filters.addEventListener("reset", () => setTimeout(update));
  filters.addEventListener("submit", (event) => event.preventDefault());
  byId("shade").addEventListener("change", reshade);
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  for (const button of document.querySelectorAll("button[data-outcome], button[data-check]")) {
    button.addEventListener("click", () => {
      if (button.dataset.check) byId("check").value = button.dataset.check;
      else byId("outcome").value = "=" + button.dataset.outcome;
      update();
      byId("filters").scrollIntoView();
    });
  }
  update();
  performance.mark("interactive");
}

if ("DecompressionStream" in window) start();
else byId("count").textContent = "This browser cannot unpack the trajectories; one of 2023 or later can.";

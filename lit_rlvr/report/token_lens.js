"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const list = byId("list");
const panel = byId("panel");
const LEVELS = [0.07, 0.26, 0.58, 0.999]; // |log2 w| of about 1.05, 1.2, 1.5 and 2
const IS_PLAIN = { "as sampled": true, "no advantage": true };
const ALL = "all";
let selected = null;

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function number(value) {
  return value === null ? "–" : String(Number(value.toPrecision(4)));
}

function stateOf(view, index) {
  return data.states[view.states.charCodeAt(index) - 97];
}

function isInverted(view, index) {
  return view.inverted[index] === "1";
}

function classesOf(view, index) {
  const state = stateOf(view, index);
  const weight = view.weight[index];
  const classes = ["token", state.replace(" ", "-")];
  if (isInverted(view, index)) classes.push("inverted");
  if (weight !== null && weight > 0) {
    const distance = Math.log2(weight);
    const level = LEVELS.filter((threshold) => Math.abs(distance) >= threshold).length;
    if (level) classes.push((distance < 0 ? "down" : "up") + level);
  }
  return classes.join(" ");
}

function words(view, index) {
  return `w ${number(view.weight[index])}, ${stateOf(view, index)}${isInverted(view, index) ? ", inverted" : ""}`;
}

// Line breaks and half characters would leave nothing to see or to point at.
function fill(span, piece) {
  if (piece === "") span.append(element("span", { class: "mark" }, "·"));
  piece.split(/(\n)/).forEach((part) => {
    if (part === "\n") span.append(element("span", { class: "mark" }, "↵"), "\n");
    else span.append(part);
  });
}

function tokenBox(completion, objective) {
  const view = completion.views[objective];
  const label = `Completion ${completion.number} under ${data.objectives[objective]}`;
  const box = element("div", { class: "tokens", role: "listbox", "aria-label": label, "aria-orientation": "horizontal" });
  completion.token.forEach((piece, index) => {
    const span = element("span", { class: classesOf(view, index), role: "option", "aria-selected": "false", tabindex: index ? "-1" : "0" });
    fill(span, piece);
    span.lens = { completion, view, index };
    box.append(span);
  });
  return box;
}

function renderTokens(details) {
  const completion = details.completion;
  const choice = choiceOfObjective();
  const shown = choice === ALL ? completion.views.map((_, i) => i) : [Number(choice)];
  const views = element("div", { class: "views" });
  for (const objective of shown) {
    const box = tokenBox(completion, objective);
    views.append(shown.length > 1 ? element("section", {}, element("h3", {}, data.objectives[objective]), box) : box);
  }
  details.body.replaceChildren(
    element("details", {}, element("summary", {}, "Prompt"), element("div", { class: "prompt" }, completion.prompt)),
    views,
  );
  if (completion.num_tokens > completion.token.length) {
    const note = `The first ${completion.token.length} of ${completion.num_tokens} tokens.`;
    details.body.append(element("p", { class: "quiet" }, note));
  }
}

function makeCompletion(completion) {
  const verdict = completion.is_correct ? "✓ correct" : "✗ wrong";
  const clipped = completion.views.map((view) => view.num_clipped).join(" / ");
  const facts = [
    `#${completion.number} ${verdict}`,
    `reward ${number(completion.reward)}`,
    `A ${number(completion.mean_advantage)}`,
    `${completion.num_tokens} tokens`,
    `${clipped} clipped`,
    `r up to ${number(completion.max_ratio)}`,
  ];
  const body = element("div");
  const details = element("details", { class: "completion" }, element("summary", {}, facts.join(" · ")), body);
  Object.assign(details, { completion, body });
  details.addEventListener("toggle", () => {
    if (details.open) renderTokens(details);
    else body.replaceChildren();
  });
  return details;
}

function tableOf(caption, headings, rows) {
  const cells = headings.map((heading, i) => element("th", i ? { scope: "col" } : { scope: "col", class: "word" }, heading));
  const head = headings.length ? [element("thead", {}, element("tr", {}, ...cells))] : [];
  const lines = rows.map(([name, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((cell) => element("td", {}, cell))),
  );
  return element("table", {}, element("caption", {}, caption), ...head, element("tbody", {}, ...lines));
}

function showToken(span) {
  const { completion, index } = span.lens;
  const numbers = Object.entries(data.columns).map(([name, label]) => [label, number(completion[name][index])]);
  const views = completion.views.map((view, i) => {
    const state = stateOf(view, index) + (isInverted(view, index) ? ", inverted" : "");
    return [data.objectives[i], number(view.weight[index]), state];
  });
  panel.replaceChildren(
    element("div", { id: "text" }, JSON.stringify(completion.token[index])),
    tableOf("", ["Objective", "w", "state"], views),
    tableOf(`Token ${index + 1} of completion ${completion.number}, id ${completion.token_id[index]}`, [], numbers),
  );
}

function select(span) {
  if (selected) selected.setAttribute("aria-selected", "false");
  span.parentNode.querySelectorAll('.token[tabindex="0"]').forEach((other) => other.setAttribute("tabindex", "-1"));
  span.setAttribute("tabindex", "0");
  span.setAttribute("aria-selected", "true");
  const { completion, view, index } = span.lens;
  span.setAttribute("aria-label", `${completion.token[index] || "part of a character"}: ratio ${number(completion.ratio[index])}, ${words(view, index)}`);
  selected = span;
  showToken(span);
}

function nextChanged(span, step) {
  let other = span[step];
  while (other && IS_PLAIN[stateOf(other.lens.view, other.lens.index)] && !isInverted(other.lens.view, other.lens.index)) other = other[step];
  return other;
}

const KEYS = {
  ArrowRight: (span) => span.nextElementSibling,
  ArrowLeft: (span) => span.previousElementSibling,
  Home: (span) => span.parentNode.firstElementChild,
  End: (span) => span.parentNode.lastElementChild,
  n: (span) => nextChanged(span, "nextElementSibling"),
  p: (span) => nextChanged(span, "previousElementSibling"),
};

const tokenAt = (event) => event.target.closest("#list .token");

list.addEventListener("keydown", (event) => {
  const span = tokenAt(event);
  if (!span || !Object.hasOwn(KEYS, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const next = KEYS[event.key](span);
  if (next) next.focus();
});
list.addEventListener("focusin", (event) => {
  const span = tokenAt(event);
  if (span) select(span);
});
list.addEventListener("click", (event) => {
  const span = tokenAt(event);
  if (span) span.focus();
});
list.addEventListener("mouseover", (event) => {
  const span = tokenAt(event);
  if (!span) return;
  const { completion, view, index } = span.lens;
  span.title = `r ${number(completion.ratio[index])}, ${words(view, index)}`;
  showToken(span);
});
list.addEventListener("mouseleave", () => {
  if (selected && selected.isConnected) showToken(selected);
});

function choiceOfObjective() {
  return document.querySelector('#choices input:checked').value;
}

const numClipped = (completion) => {
  const choice = choiceOfObjective();
  const counts = completion.views.map((view) => view.num_clipped);
  return choice === ALL ? Math.max(...counts) : counts[Number(choice)];
};
const ORDERS = {
  clipped: (a, b) => numClipped(b) - numClipped(a) || a.number - b.number,
  ratio: (a, b) => (b.max_ratio ?? -1) - (a.max_ratio ?? -1) || a.number - b.number,
  number: (a, b) => a.number - b.number,
};

const all = data.completions.map(makeCompletion);

function arrange() {
  const show = byId("show").value;
  const chosen = all.filter(
    ({ completion }) =>
      (show === "all" || completion.is_correct === (show === "correct")) && (!byId("only-clipped").checked || numClipped(completion) > 0),
  );
  chosen.sort((a, b) => ORDERS[byId("sort").value](a.completion, b.completion));
  list.replaceChildren(...chosen);
  byId("count").textContent = `${chosen.length} of ${all.length} completions`;
}

[...data.objectives, ...(data.objectives.length > 1 ? ["all, side by side"] : [])].forEach((label, i) => {
  const value = i < data.objectives.length ? String(i) : ALL;
  const input = element("input", { type: "radio", name: "objective", value, ...(i ? {} : { checked: "" }) });
  byId("choices").append(element("label", {}, input, label), " ");
});
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("controls").addEventListener("change", (event) => {
  if (event.target.name === "objective") all.filter((details) => details.open).forEach(renderTokens);
  arrange();
});
arrange();
if (list.firstElementChild) list.firstElementChild.open = true;

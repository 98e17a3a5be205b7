// The page's glue: JSON in, Vega's plots and Tabulator's table out. Every text of a model is set with
// textContent, and nothing is fetched. What is shown was decided by lion/reporting/page.py.
"use strict";

const at = id => document.getElementById(id);
const summary = JSON.parse(at("summary").textContent);

function make(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// --- key figures, plots, small tables

function grid({columns, rows}) {
  const table = make("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const name of columns) head.append(Object.assign(make("th", name), {scope: "col"}));
  for (const row of rows) {
    const line = body.insertRow();
    for (const cell of row) line.append(make("td", cell));
  }
  const frame = make("div", "", "scroll");
  frame.append(table);
  return frame;
}

function card({title, note, plot, table, wide}) {
  const made = make("article", "", wide ? "card wide" : "card");
  made.append(make("h3", title), make("p", note, "note"));
  if (table) made.append(grid(table));
  if (plot) {
    const place = make("div", "", "plot");
    made.append(place);
    waiting.push([place, {...plot, description: `${title}. ${note}`}]);  // which a screen reader has
  }
  return made;
}

const waiting = [];
const ink = {labelColor: "var(--dim)", titleColor: "var(--dim)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal"};
const config = {
  background: null, font: "system-ui, sans-serif", view: {stroke: null}, range: {category: [...Array(11)].map((_, n) => `var(--c${n + 1})`)},
  axis: {...ink, gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)"},
  legend: {...ink, orient: "bottom", title: null, symbolType: "circle", labelLimit: 150, symbolOpacity: 1}, header: ink,
  text: {fill: "var(--fg)"},
};

// "42.5 %", as everywhere in the project
const numbers = {decimal: ".", thousands: ",", grouping: [3], currency: ["$", ""], percent: "\u00a0%"};

// as many as are as wide as the longest label
function legendColumns({data, encoding, layer}, width) {
  const field = (encoding ?? layer[0].encoding).color?.field;
  const longest = Math.max(...data.values.map(value => String(value[field] ?? "").length));
  return Math.max(1, Math.floor((width - 60) / Math.min(180, 30 + 7 * longest)));
}

async function draw() {
  for (const [place, plot] of waiting) {
    const legend = {...config.legend, columns: legendColumns(plot, place.clientWidth)};
    const options = {ast: true, renderer: "svg", actions: false, defaultStyle: false, config: {...config, legend}, formatLocale: numbers, tooltip: {disableDefaultStyle: true}};
    await vegaEmbed(place, plot, options);
    await new Promise(done => setTimeout(done));  // a key pressed meanwhile is answered first
  }
}

function overview() {
  for (const {label, value} of summary.facts) {
    const fact = make("span", `${label} `);
    fact.append(make("b", value));
    at("facts").append(fact);
  }
  at("headline").textContent = summary.headline;
  at("advice").textContent = summary.advice ?? "";
  at("advice").hidden = !summary.advice;
  at("stale").textContent = summary.stale ?? "";
  at("stale").hidden = !summary.stale;
  for (const name of ["leading", "tiles"]) for (const {label, value, note, verdict} of summary[name]) {
    const tile = make("div", "", "tile");
    tile.append(make("span", label), make("b", value), ...verdict ? [make("em", verdict)] : [], make("span", note));
    at(name).append(tile);
  }
  for (const {id, title, cards} of summary.sections) {
    const section = Object.assign(make("section"), {id}), holder = make("div", "", "cards");
    holder.append(...cards.map(card));
    section.append(make("h2", title), holder);
    at("plots").append(section);
  }
  const exam = summary.exam.sentence ? [{id: "exam-rows", title: "Exam answers"}] : [];
  for (const {id, title} of [...exam, ...summary.sections, {id: "instructions", title: "Instructions"}]) {
    const link = make("a", title);
    link.href = `#${id}`;
    document.querySelector("nav").append(link);
  }
}

// --- the instructions

async function unpacked(name) {
  const coded = at(name).textContent;
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(coded) : Uint8Array.from(atob(coded), one => one.charCodeAt(0));
  at(name).remove();
  const stream = new DecompressionStream("gzip"), writer = stream.writable.getWriter();
  writer.write(bytes);  // all at once: a stream of parts takes half as long again
  writer.close();
  return JSON.parse(new TextDecoder().decode(await new Response(stream.readable).arrayBuffer()));
}

async function rows() {
  const {id, text, teacher, student, gap, verdict, judged, origin, parent, iteration, domain} = await unpacked("rows");
  return id.map((one, n) => ({
    number: n, id: one, text: text[n], teacher: teacher[n], student: student[n], gap: gap[n], verdict: verdict[n], judged: judged[n],
    origin: origin[n], parent: parent[n], iteration: iteration[n], domain: domain[n], sought: null,
  }));
}

// what a search looks into: made when first asked for, or while nothing else is to be done
const soughtIn = row => row.sought ??= `${row.id}\n${row.text}\n${row.teacher ?? ""}\n${row.student ?? ""}`.toLowerCase();

async function prepare(data) {
  for (let start = 0; start < data.length; start += 2000) {
    data.slice(start, start + 2000).forEach(soughtIn);
    await new Promise(done => setTimeout(done));  // a key pressed meanwhile is answered first
  }
}

const text = cell => cell.getValue() == null ? make("span", "-", "dim") : Object.assign(make("div", cell.getValue(), "text"), {dir: "auto"});
const plain = cell => make("span", cell.getValue() ?? "-", cell.getValue() == null ? "dim" : "");
const verdict = cell => make("span", cell.getValue() ?? "-", {hard: "hard", easy: "easy"}[cell.getValue()] ?? "dim");
const byValue = (one, other) => one === other ? 0 : one == null ? -1 : other == null ? 1 : one < other ? -1 : 1;

// what does not fit into a row stands below it: short facts on one line, answers on lines of their own
function collapsed(cells) {
  const facts = make("div", "", "facts"), list = make("dl");
  for (const {title, value} of cells.filter(({value}) => value instanceof Node && !value.matches(".dim"))) {
    if (value.matches(".text")) {
      const shown = make("dd");
      shown.append(value);  // what a formatter above made
      list.append(make("dt", title), shown);
    } else facts.append(make("span", `${title} ${value.textContent}`, value.className));
  }
  const whole = make("div");
  whole.append(...[list, facts].filter(one => one.hasChildNodes()));
  return whole;
}

const columnsOf = about => [
  {title: "Instruction", field: "text", formatter: text, widthGrow: 4, minWidth: 220, responsive: 0},
  {title: "Teacher", field: "teacher", formatter: text, widthGrow: 3, minWidth: 180, responsive: 2},
  {title: "Student", field: "student", formatter: text, widthGrow: 3, minWidth: 180, responsive: 2},
  {title: "Gap", field: "gap", formatter: plain, width: 85, hozAlign: "right", responsive: 1, headerSortStartingDir: "desc"},
  {title: "Verdict", field: "verdict", formatter: verdict, width: 95, responsive: 1},
  {title: about, field: "domain", formatter: plain, width: 150, responsive: 4},
  {title: "Origin", field: "origin", formatter: plain, width: 90, responsive: 3},
  {title: "Iter.", field: "iteration", formatter: plain, width: 75, responsive: 3},
  {title: "Number", field: "number", visible: false},  // the pool's order, to sort by
].map(column => ({...column, sorter: byValue, headerHozAlign: column.hozAlign ?? "left"}));

function pressable(element, act) {
  element.tabIndex = 0;
  element.addEventListener("keydown", event => {
    if (event.target !== element || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    act();
  });
}

function detailPart(title, value) {
  const part = make("div");
  part.append(make("h3", title), Object.assign(make("p", value ?? "-", "whole"), {dir: "auto"}));
  return part;
}

function show(row) {
  at("detail-title").textContent = `Instruction ${row.id}`;
  const judged = row.judged == null ? "never judged" : `judged in iteration ${row.judged}: ${row.verdict}, gap ${row.gap ?? "-"}`;
  const from = row.parent == null ? row.origin : `${row.origin}, from ${row.parent}`;
  at("detail-about").textContent = `${from}; iteration ${row.iteration}; ${row.domain ?? "no domain"}; ${judged}`;
  at("detail-label").textContent = "The whole of it, and its life: ";
  at("detail-command").textContent = `lion trace ${row.id}`;
  const parts = [["Instruction", row.text], ["Teacher", row.teacher], ["Student", row.student]].map(([title, value]) => detailPart(title, value));
  document.querySelector("#detail .answers").replaceChildren(...parts);
  at("detail").showModal();
}

function choices(select, all, values) {
  select.append(new Option(all, ""), ...values.map(value => new Option(value, value)));
}

// a text is looked for only where what it begins with was found: each key has less to do than the one before
function searching(data) {
  const known = new Map([["", new Uint8Array(data.length).fill(1)]]);
  return sought => {
    if (known.size > 200) for (const old of [...known.keys()].slice(1)) known.delete(old);
    let start = sought;
    while (!known.has(start)) start = start.slice(0, -1);
    if (start !== sought) {
      const before = known.get(start), found = new Uint8Array(data.length);
      for (let n = 0; n < data.length; n++) if (before[n] && soughtIn(data[n]).includes(sought)) found[n] = 1;
      known.set(sought, found);
    }
    return known.get(sought);
  };
}

function controls(table, data) {
  const distinct = name => [...new Set(data.map(row => row[name]))].filter(one => one != null).sort();
  for (const name of ["verdict", "origin", "iteration", "domain"]) choices(at(name), "all", distinct(name));
  at("about").hidden = at("domain").options.length < 2;
  at("about").firstChild.textContent = `${summary.about} `;
  const orders = {"oldest": "number asc", "newest": "number desc", "largest gap": "gap desc", "smallest gap": "gap asc"};
  at("sort").append(...Object.entries(orders).map(([title, order]) => new Option(title, order)));

  const search = searching(data);
  const wanted = () => {
    const hits = search(at("search").value.trim().toLowerCase()), least = at("gap").value === "" ? null : Number(at("gap").value);
    const chosen = ["verdict", "origin", "iteration", "domain"].map(name => [name, at(name).value]).filter(([, value]) => value);
    const fits = row => chosen.every(([name, value]) => row[name] === value) && (least === null || (row.gap != null && row.gap >= least));
    const all = !chosen.length && least === null;
    table.setFilter(row => hits[row.number] && (all || fits(row)));
    at("count").textContent = `${table.getDataCount("active").toLocaleString("en")} of ${data.length.toLocaleString("en")} instructions`;
  };
  at("filters").addEventListener("input", event => event.target.id !== "sort" && wanted());
  at("sort").addEventListener("change", () => table.setSort(...at("sort").value.split(" ")));
  at("filters").addEventListener("reset", () => setTimeout(() => { table.clearSort(); wanted(); }));
  at("filters").addEventListener("submit", event => event.preventDefault());
}

// of both tables of rows
const browsing = {
  layout: "fitColumns", pagination: true, paginationSize: 25, paginationSizeSelector: [10, 25, 100], paginationButtonCount: 3,
  columnHeaderSortMulti: false, resizableColumnFit: true,
  renderVertical: "basic",  // a page of rows is drawn once: a virtual one is drawn anew under the focus
  responsiveLayout: "collapse", responsiveLayoutCollapseStartOpen: true, responsiveLayoutCollapseFormatter: collapsed,
};

async function browse() {
  const data = await rows();
  at("pool-note").textContent = summary.pool_note;
  const table = new Tabulator("#table", {
    data, index: "number", columns: columnsOf(summary.about), placeholder: "No instruction is like that.", ...browsing,
    rowFormatter: row => pressable(row.getElement(), () => show(row.getData())),
  });
  table.on("rowClick", (event, row) => String(getSelection()) || show(row.getData()));
  await new Promise(done => table.on("tableBuilt", done));
  for (const column of table.getColumns()) pressable(column.getElement(), () => column.getElement().click());
  at("count").textContent = `${data.length.toLocaleString("en")} instructions`;
  controls(table, data);
  document.documentElement.dataset.browsable = "yes";
  return data;
}

overview();
browse().then(data => browseExam().then(draw).then(() => prepare(data))).then(() => document.documentElement.dataset.ready = "yes");

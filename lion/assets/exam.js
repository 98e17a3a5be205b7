// The exam's rows: one student at a time, whole texts, and the fields of JSON side by side. page.js calls
// `browseExam`; its helpers are used here. Every text is set with textContent.
"use strict";

const MARKS = {true: "right", false: "wrong", null: "not marked"};
const marked = correct => MARKS[String(correct)] ?? MARKS.null;
const points = value => value == null ? "-" : value.toFixed(1);

// the fields that differ, or that there are none to compare
function differs(expected, [answer, correct, differing]) {
  if (differing.length) return differing.join(", ");
  return correct === false && fieldsOf(expected) && !fieldsOf(answer) ? "no JSON object" : null;
}

const onOneLine = cell => cell.getValue() == null ? text(cell) : Object.assign(make("div", cell.getValue().replace(/\s+/g, " "), "text"), {dir: "auto"});

// the rows as one student answered them; a row that it has not answered is left out
function examRows(data, student) {
  const {id, category, input, question, expected, teacher, teacher_correct: taught} = data;
  return data.answers[student].map((answer, n) => answer && {
    number: n, student, id: id[n], category: category[n], input: input[n], question: question[n], expected: expected[n],
    teacher: teacher[n], taught: taught[n], answer: answer[0], correct: answer[1], differing: answer[2], fields: differs(expected[n], answer),
    teacherPoints: answer[3], points: answer[4], reasons: answer[5], behind: answer[3] == null || answer[4] == null ? null : answer[4] - answer[3],
  }).filter(row => row);
}

const judged = (value, correct) => {
  const shown = value == null ? make("span", "-", "dim") : Object.assign(make("div", value, "text"), {dir: "auto"});
  if (correct != null) shown.classList.add(correct ? "easy" : "hard");
  return shown;
};

// without the columns that no answer has something for
const examColumns = answers => [
  {title: "Input", field: "input", formatter: onOneLine, widthGrow: 4, minWidth: 220, responsive: 0},
  {title: "Expected", field: "expected", formatter: text, widthGrow: 2, minWidth: 150, responsive: 2},
  {title: "Student", field: "answer", formatter: cell => judged(cell.getValue(), cell.getData().correct), widthGrow: 2, minWidth: 150, responsive: 1},
  {title: "Teacher", field: "teacher", formatter: cell => judged(cell.getValue(), cell.getData().taught), widthGrow: 2, minWidth: 150, responsive: 3},
  {title: "Differs in", field: "fields", formatter: plain, width: 130, responsive: 1},
  {title: "Points", field: "behind", formatter: cell => make("span", `${points(cell.getData().points)} / ${points(cell.getData().teacherPoints)}`,
    cell.getValue() == null ? "dim" : ""), width: 105, hozAlign: "right", responsive: 4},
  {title: "Category", field: "category", formatter: plain, width: 130, responsive: 5},
].filter(({field}) => !["fields", "behind", "category"].includes(field) || answers.some(row => row[field] != null))
  .map(column => ({...column, sorter: byValue, headerHozAlign: column.hozAlign ?? "left"}));

function fieldsOf(value) {
  try {
    const read = JSON.parse(value);
    return read && typeof read === "object" && !Array.isArray(read) ? read : null;
  } catch {
    return null;
  }
}

// expected, teacher and student field by field; nothing where the expected answer is no object
function fieldTable(row) {
  const texts = {expected: row.expected, teacher: row.teacher, student: row.answer};
  const read = Object.fromEntries(Object.entries(texts).map(([name, value]) => [name, fieldsOf(value)]));
  if (!read.expected) return null;
  const names = [...new Set(Object.values(read).flatMap(value => Object.keys(value ?? {})))];
  const shown = value => value === undefined ? "-" : typeof value === "string" ? value : JSON.stringify(value);
  const frame = grid({columns: ["field", ...Object.keys(read)], rows: names.map(name => [name, ...Object.values(read).map(value => shown(value?.[name]))])});
  [...frame.querySelectorAll("tbody tr")].forEach((line, n) => row.differing.includes(names[n]) && line.classList.add("differs"));
  return frame;
}

function showExamRow(row) {
  const taught = row.taught == null ? "" : `, teacher ${marked(row.taught)}`;
  const review = row.points == null ? "not reviewed" : `points: student ${points(row.points)}, teacher ${points(row.teacherPoints)}`;
  at("detail-title").textContent = `Exam row ${row.id}`;
  at("detail-about").textContent = `${row.category ?? "no category"}; student ${row.student} ${marked(row.correct)}${taught}; ${review}`;
  at("detail-label").textContent = "In a terminal: ";
  at("detail-command").textContent = `lion show ${row.student} --exam --whole`;
  const fields = fieldTable(row);
  const texts = [["Input", row.input], ["Expected", row.expected], ["Student", row.answer], ["Teacher", row.teacher],
    ...row.reasons.map((reason, n) => [`Referee, ${n + 1} of ${row.reasons.length}`, reason]), ["The whole request", row.question]];
  const parts = texts.filter(([title, value]) => value != null || title === "Teacher").map(([title, value]) => detailPart(title, value));
  if (fields) {
    const part = make("div", "", "across");
    part.append(make("h3", "Fields"), fields);
    parts.splice(1, 0, part);
  }
  document.querySelector("#detail .answers").replaceChildren(...parts);
  at("detail").showModal();
}

function examControls(table, data) {
  const students = data.students, last = students.at(-1);  // JavaScript puts integer keys first
  const distinct = values => [...new Set(values)].filter(value => value != null).sort();
  at("exam-student").append(...students.map(name => new Option(name, name, name === last, name === last)));
  choices(at("exam-mark"), "all", distinct(Object.values(data.answers).flat().map(answer => answer && marked(answer[1]))));
  choices(at("exam-field"), "any", distinct(Object.values(data.answers).flat().flatMap(answer => answer ? answer[2] : [])));
  choices(at("exam-category"), "all", distinct(data.category));
  for (const name of ["exam-mark", "exam-field", "exam-category"]) at(name).parentElement.hidden = at(name).options.length < 2;
  const wanted = () => {
    const sought = at("exam-search").value.trim().toLowerCase();
    const [mark, field, category] = ["exam-mark", "exam-field", "exam-category"].map(name => at(name).value);
    table.setFilter(row => (!mark || marked(row.correct) === mark) && (!field || row.differing.includes(field)) && (!category || row.category === category)
      && (!sought || `${row.id}\n${row.input}\n${row.expected ?? ""}\n${row.answer}\n${row.teacher ?? ""}`.toLowerCase().includes(sought)));
    const count = table.getDataCount("active").toLocaleString("en"), total = table.getDataCount().toLocaleString("en");
    at("exam-count").textContent = `${count} of ${total} exam rows of student ${at("exam-student").value}`;
  };
  const chosen = () => table.replaceData(examRows(data, at("exam-student").value)).then(wanted);
  at("exam-filters").addEventListener("input", event => event.target.id === "exam-student" ? chosen() : wanted());
  at("exam-filters").addEventListener("reset", () => setTimeout(() => { table.clearSort(); chosen(); }));
  at("exam-filters").addEventListener("submit", event => event.preventDefault());
  const wrong = [...at("exam-mark").options].find(option => option.value === MARKS.false);
  if (wrong && data.answers[last].some(answer => answer?.[1] === false)) wrong.selected = true;  // Reset shows all
  wanted();
}

async function browseExam() {
  at("exam-sentence").textContent = summary.exam.sentence;
  at("exam-rows").hidden = !summary.exam.sentence;
  at("exam-filters").hidden = !summary.exam.has_rows;
  if (!summary.exam.has_rows) return;
  const data = await unpacked("exam-data");
  const table = new Tabulator("#exam-table", {
    data: examRows(data, data.students.at(-1)), index: "number", columns: examColumns(data.students.flatMap(name => examRows(data, name))), placeholder: "No exam row is like that.",
    ...browsing, paginationSize: 10, rowFormatter: row => pressable(row.getElement(), () => showExamRow(row.getData())),
  });
  table.on("rowClick", (event, row) => String(getSelection()) || showExamRow(row.getData()));
  await new Promise(done => table.on("tableBuilt", done));
  for (const column of table.getColumns()) pressable(column.getElement(), () => column.getElement().click());
  examControls(table, data);
}

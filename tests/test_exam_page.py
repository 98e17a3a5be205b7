"""The exam's rows on the report page, in a browser."""

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from urllib.parse import unquote

import pytest
from examined import HARM, ROWS, STUDENTS, lion, write_run
from fixtures import Workplace
from narrow import NARROW
from playwright.sync_api import Page, sync_playwright
from polling import wait_until

from lion.records import jsonl
from lion.records.rows import Answer

CHROMIUM = which("chromium") or which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[str]]]:
    """Yield the page of the run in a browser, and what it said or fetched."""
    root = tmp_path_factory.mktemp("exam")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_run(Workplace(root, NARROW))
        lion("report", "--out", "page.html")
        right = [Answer(row.id, str(row.expected), "stop", "s") for row in ROWS]
        jsonl.write(Path("data/2/exam_responses.jsonl"), right)
        lion("report", "--out", "right.html")
    noise: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.goto((root / "page.html").as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        yield page, noise
        browser.close()


@pytest.fixture
def page(opened: tuple[Page, list[str]]) -> Page:
    page, noise = opened
    page.keyboard.press("Escape")
    page.click("#exam-filters button[type=reset]")
    wait_until(lambda: page.inner_text("#exam-count").startswith("6 of 6"), "all rows are shown")
    assert noise == []
    return page


def test_the_page_opens_on_the_last_students_wrong_answers(opened: tuple[Page, list[str]]) -> None:
    page, _ = opened
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.input_value("#exam-mark") == "wrong"
    assert page.inner_text("#exam-count") == "4 of 6 exam rows of student 2"
    assert set(cells(page, "fields")) == {"label", "urgency", "no JSON object"}


def test_the_page_opens_on_all_rows_of_a_student_without_a_wrong_answer(
    opened: tuple[Page, list[str]],
) -> None:
    """A student before it has some."""
    browser = opened[0].context.browser
    assert browser is not None
    page = browser.new_page()
    page.goto(opened[0].url.replace("page.html", "right.html"))
    page.wait_for_selector("html[data-ready=yes]")
    assert page.inner_text("#exam-count") == "6 of 6 exam rows of student 2"
    page.close()


def test_the_heading_names_project_teacher_student_and_advice(page: Page) -> None:
    folder = Path(unquote(page.url)).parent.name
    assert page.title() == page.inner_text("h1") == f"{folder}: student 2"
    facts = page.inner_text("#facts")
    assert "Teacher oracle-1" in facts and "Student embedded" in facts
    assert page.inner_text("#advice").startswith("Not known: iteration 2 gained +16.7 points")
    tile = page.locator("#leading .tile", has_text="Gain over student 1b").inner_text()
    assert tile.split("\n")[1:3] == ["+16.7 points", "May be chance"]


def cells(page: Page, field: str) -> list[str]:
    shown = page.locator(f"#exam-table .tabulator-cell[tabulator-field={field}]")
    return shown.all_inner_texts()


def test_each_row_has_input_expected_both_answers_and_what_differs(page: Page) -> None:
    assert cells(page, "input") == [f"Ticket {n} Body {n} {HARM}" for n in range(6)]
    assert cells(page, "expected") == [row.expected for row in ROWS]
    assert cells(page, "teacher") == [row.expected for row in ROWS]
    assert cells(page, "answer") == STUDENTS["2"]
    assert cells(page, "fields") == ["-", "label", "-", "urgency", "no JSON object", "label"]
    assert cells(page, "behind") == ["- / -", "3.0 / 9.0", *["- / -"] * 4]
    assert page.evaluate("window.harm") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_rows_are_chosen_by_student_mark_field_and_category_and_sorted(page: Page) -> None:
    page.select_option("#exam-mark", "wrong")
    assert page.inner_text("#exam-count") == "4 of 6 exam rows of student 2"
    page.select_option("#exam-field", "label")
    assert page.inner_text("#exam-count") == "2 of 6 exam rows of student 2"
    page.select_option("#exam-field", "")
    page.select_option("#exam-category", "even")
    assert page.inner_text("#exam-count") == "1 of 6 exam rows of student 2"
    page.select_option("#exam-category", "")
    page.select_option("#exam-student", "1b")
    wait_until(lambda: page.inner_text("#exam-count").endswith("student 1b"), "student 1b is shown")
    assert page.inner_text("#exam-count") == "5 of 6 exam rows of student 1b"
    page.click("#exam-filters button[type=reset]")
    wait_until(lambda: page.inner_text("#exam-count").endswith("student 2"), "student 2 is shown")
    page.locator("#exam-table .tabulator-col[tabulator-field=expected]").click()
    first = "#exam-table .tabulator-cell[tabulator-field=expected] >> nth=0"
    wait_until(lambda: "cancel" in page.inner_text(first), "the rows are sorted")
    assert cells(page, "expected") == sorted(str(row.expected) for row in ROWS)


def test_a_row_opens_with_its_fields_whole_texts_and_the_referees_reasons(page: Page) -> None:
    page.fill("#exam-search", "ticket 1")
    page.locator("#exam-table .tabulator-row").click()
    titles = page.locator("#detail h3").all_inner_texts()
    assert titles == [
        "Input",
        "Fields",
        "Expected",
        "Student",
        "Teacher",
        "Referee, 1 of 2",
        "Referee, 2 of 2",
        "The whole request",
    ]
    about = page.inner_text("#detail-about")
    assert about == "odd; student 2 wrong, teacher right; points: student 3.0, teacher 9.0"
    differing = page.locator("#detail .differs").all_inner_texts()
    assert [text.split() for text in differing] == [["label", "defect", "defect", "refund"]]
    texts = page.locator("#detail .whole").all_inner_texts()
    assert texts[0] == f"Ticket 1\n\nBody 1 {HARM}"
    assert "The label is wrong." in texts[4]
    assert texts[-1].startswith("System: Turn the support ticket")
    assert page.inner_text("#detail-command") == "lion show 2 --exam --whole"


def test_the_confusion_of_labels_is_a_picture(page: Page) -> None:
    """Of the last student: one defect taken for a refund, one answer without a label."""
    card = page.locator("article", has_text="Confusion of label, student 2")
    marks = card.locator("[aria-roledescription='rect mark']").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))"
    )
    counted = {tuple(part.split(": ")[1] for part in mark.split("; ")[:3]) for mark in marks}
    assert len(marks) == 3 * 5
    values = page.evaluate("JSON.stringify(summary.sections)")
    [plot] = [
        each["plot"]["data"]["values"]
        for section in json.loads(values)
        for each in section["cards"]
        if each["title"] == "Confusion of label, student 2"
    ]
    rows = {(value["expected"], value["given"]): value["rows"] for value in plot}
    assert rows["defect", "refund"] == 1
    assert rows["defect", "(none)"] == 1
    assert rows["refund", "(other)"] == 1
    assert sum(rows.values()) == 6
    assert counted

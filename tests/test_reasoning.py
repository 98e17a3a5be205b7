"""BBH and AGIEval: official files in, lettered items out; what a letter is, and what chance is."""

import json
from itertools import product
from pathlib import Path
from statistics import fmean

import pytest
from fixtures import ROOT

from lion.errors import DataError
from lion.evaluation import multiple_choice
from lion.readers import official_exams
from lion.readers.official_exams import OFFICIAL, Item
from lion.reporting import paper_figures
from lion.statistics import Bootstrap

SHARED = ROOT / "../shared/data"
BOOTSTRAP = Bootstrap(0.95, 200, 0)
SPORTS = {"input": 'Is the following sentence plausible? "He swam."', "target": "no"}
MOVIES = {"input": "Find one:\nOptions:\n(A) Jaws\n(B) Up\n(C) Big", "target": "(B)"}


def bbh(folder: Path, task: str, *examples: dict[str, str]) -> Path:
    (folder / f"{task}.json").write_text(json.dumps({"canary": "x", "examples": examples}))
    return folder


def agieval(folder: Path, task: str, **row: object) -> Path:
    made = {"passage": "P.", "question": "Q?", "options": ["(A)x", "(B)y"], "label": "B", **row}
    (folder / f"{task}.jsonl").write_text(json.dumps(made) + "\n")
    return folder


def item(task: str = "snarks", options: int = 2, answer: str | None = "A", number: int = 1) -> Item:
    texts = tuple(str(one) for one in range(options))
    return Item("bbh", task, number, "q", texts, answer, answer or "?")


def test_the_official_exams_have_the_papers_sizes() -> None:
    sizes = {
        exam: (len(tasks), sum(tasks.values())) for exam, tasks in official_exams.OFFICIAL.items()
    }
    assert sizes == {"bbh": (23, 5511), "agieval": (8, 2546)}


def test_a_task_with_letters_keeps_them(tmp_path: Path) -> None:
    (found,) = official_exams.read_items(bbh(tmp_path, "movie_recommendation", MOVIES))
    assert found.options == ("Jaws", "Up", "Big")
    assert (found.letters, found.answer) == ("ABC", "B")
    assert found.prompt == (f"Find one:\nOptions:\n(A) Jaws\n(B) Up\n(C) Big\n{official_exams.ASK}")


def test_a_task_without_letters_gets_them_in_a_fixed_order(tmp_path: Path) -> None:
    (found,) = official_exams.read_items(bbh(tmp_path, "sports_understanding", SPORTS))
    assert (found.options, found.answer) == (("yes", "no"), "B")
    assert found.instruction().category == "bbh/sports_understanding"
    assert found.instruction().expected == "B"


def test_a_target_that_is_no_option_is_no_answer(tmp_path: Path) -> None:
    rows = [{**MOVIES, "target": "Monsters, Inc"}, {**MOVIES, "target": "(D)"}]
    found = official_exams.read_items(bbh(tmp_path, "movie_recommendation", *rows))
    assert [one.answer for one in found] == [None, None]
    figures = multiple_choice.exam_accuracies(
        multiple_choice.choose(found, ["A", "B"], "first_letter"), BOOTSTRAP
    )
    assert figures["bbh"].average_percent == 0
    assert [one.target for one in figures["bbh"].without_right_option] == [
        "Monsters, Inc",
        "(D)",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["(A)x", "(B)y", "(C)z"], ("x", "y", "z")),
        (["(A)x", "(C)z", "(B)y"], ("x", "y", "z")),  # so it stands in LogiQA
        (["A x", "B? y", "C.z"], ("x", "y", "z")),
        (["x", "By", "z"], ("x", "By", "z")),
    ],
)
def test_agievals_options_lose_their_letters(
    tmp_path: Path, options: list[str], expected: tuple[str, ...]
) -> None:
    (found,) = official_exams.read_items(agieval(tmp_path, "logiqa-en", options=options, label="C"))
    assert (found.options, found.answer) == (expected, "C")
    assert found.question == "P.\n\nQ?"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("navigate.json", "{", "not JSON"),
        ("navigate.json", "[]", "a JSON object"),
        ("navigate.json", "{}", "no list `examples`"),
        ("navigate.json", '{"examples": [{"input": 1}]}', "input: text"),
        ("snarks.json", '{"examples": [{"input": "q\\nOptions:\\n- a", "target": "(A)"}]}', "(A)"),
        ("sat-en.jsonl", '{"question": "q"}\n', "no list of options"),
        ("dyck_languages.json", "{", "no file of BBH"),
    ],
)
def test_what_is_not_an_official_file_is_refused(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=told.replace("(", r"\(").replace(")", r"\)")):
        official_exams.read_items(tmp_path)


# --- letters ----------------------------------------------------------------------------------

FIRST = {"B": "B", "(C)": "C", "the answer is C": "C", "Because of A": "B", "d": None, "": None}
STATED = {
    "B": "B",
    "(C)": "C",
    "The answer is C.": "C",
    "Because of (A)": "A",
    "A dog, so the answer: B": "B",
    "B. It is so.": "B",
    "**C**": "C",
    "A dog": None,
    "Z": None,
    "Because": None,
    "": None,
}


@pytest.mark.parametrize(("text", "letter"), FIRST.items())
def test_the_papers_rule_takes_the_first_letter(text: str, letter: str | None) -> None:
    assert multiple_choice.extract(text, "ABC", "first_letter") == letter


@pytest.mark.parametrize(("text", "letter"), STATED.items())
def test_a_stated_letter_is_one_that_is_meant(text: str, letter: str | None) -> None:
    assert multiple_choice.extract(text, "ABC", "stated") == letter


# --- figures ----------------------------------------------------------------------------------


def test_the_average_is_over_tasks_and_what_is_unread_is_wrong() -> None:
    found = [item("snarks", number=n) for n in range(3)] + [item("ruin_names", 4, "D")]
    figures = multiple_choice.exam_accuracies(
        multiple_choice.choose(found, ["A", "A", "?", "D"], "first_letter"), BOOTSTRAP
    )
    exam = figures["bbh"]
    assert exam.average_percent == pytest.approx((200 / 3 + 100) / 2)
    assert exam.chance_percent == pytest.approx((50 + 25) / 2)
    assert exam.unread_percent == 25
    assert exam.subset is True and "navigate" in exam.missing_tasks
    snarks = exam.tasks["snarks"]
    assert snarks.within_chance is True
    assert snarks.accuracy_percent == pytest.approx(200 / 3)
    assert (snarks.chance_percent, snarks.unread_percent) == (50, pytest.approx(100 / 3))
    assert snarks.interval_percent is not None
    low, high = snarks.interval_percent
    assert 5 < low < snarks.accuracy_percent < high
    assert exam.paper_percent["Lion-13B"] == 36.2


def test_a_score_far_from_chance_is_not_marked() -> None:
    found = [item(number=n) for n in range(100)]
    right, guessed = (
        multiple_choice.exam_accuracies(
            multiple_choice.choose(found, texts, "first_letter"), BOOTSTRAP
        )["bbh"].tasks
        for texts in (["A"] * 100, ["A", "B"] * 50)
    )
    assert right["snarks"].within_chance is False
    assert guessed["snarks"].within_chance is True


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real exams lie beside the project")
def test_the_local_files_are_read_whole() -> None:
    """Each task that is here has its official count; three targets are no option."""
    for exam, tasks in (("bbh", 17), ("agieval", 6)):
        items = official_exams.read_items(SHARED / exam)
        figures = multiple_choice.exam_accuracies(
            multiple_choice.choose(items, ["A"] * len(items), "stated"), BOOTSTRAP
        )
        found = figures[exam].tasks
        assert len(found) == tasks
        assert all(one.items == one.official_items for one in found.values())
        if exam == "bbh":
            assert figures[exam].chance_percent == pytest.approx(30.3, abs=0.05)
            assert len(figures[exam].without_right_option) == 3


def test_every_answer_is_right_for_exactly_one_letter() -> None:
    """A law: over all letters a student could always say, each item is right once."""
    found = [item(number=n, options=4, answer=one) for n, one in enumerate("ABCD")]
    rights = [
        one.right
        for letter, each in product("ABCD", found)
        for one in multiple_choice.choose([each], [letter], "first_letter")
    ]
    assert sum(rights) == len(found)


@pytest.mark.parametrize("exam", sorted(OFFICIAL))
def test_the_papers_values_by_task_have_its_averages(exam: str) -> None:
    """Read from pictures: a digit that was misread would move the mean of one model."""
    tasks = paper_figures.TASKS[exam]
    assert tasks.keys() == OFFICIAL[exam].keys()
    for place, model in enumerate(paper_figures.MODELS):
        mean = fmean(values[place] for values in tasks.values())
        assert mean == pytest.approx(multiple_choice.PAPER[exam][model], abs=0.051)

"""What the loop starts from: base pool, exam and base student, with nothing lost silently."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from fixtures import Configure, Workplace
from huggingface_hub import constants

from lion.config.settings import Settings, TaskSettings
from lion.conversations import TaskTemplate, transcript
from lion.errors import DataError
from lion.generation import seed_pool
from lion.generation.filters.decontamination import guard
from lion.records import jsonl
from lion.records.rows import Instruction, TeacherAnswer
from lion.simulator import task_families
from lion.student import checkpoint


def write_rows(path: Path, rows: list[Any]) -> str:
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return str(path)


def own(configure: Configure, *sources: str, **changes: Any) -> Settings:
    return configure(
        {
            "seed.source": list(sources),
            **{f"seed.{key}": value for key, value in changes.items()},
        }
    )


def row(text: str, origin: Any = "seed") -> Instruction:
    return Instruction.new([{"role": "user", "content": text}], origin=origin, iteration="0")


def test_every_row_of_the_files_is_kept_or_dropped_with_its_place(
    configure: Configure, tmp_path: Path
) -> None:
    """Two files, one bad row, one duplicate within and one across: seven rows in, seven told."""
    one = write_rows(
        tmp_path / "a.jsonl",
        [
            {"instruction": "Add 2, 3"},
            {"instruction": "ADD  2, 3"},
            "{",
            {"instruction": "Name it"},
        ],
    )
    two = write_rows(
        tmp_path / "b.jsonl",
        [
            {"messages": [{"role": "user", "content": "Name it"}]},
            {"instruction": "Translate", "input": "Hund", "output": "dog", "category": "words"},
            {
                "conversations": [
                    {"from": "human", "value": "Hi"},
                    {"from": "gpt", "value": "Hello"},
                ]
            },
        ],
    )
    settings = own(configure, one, two, on_bad_row="drop")
    found, dropped = seed_pool.base_pool(settings.seed, 0)
    assert [transcript(one.messages) for one in found] == [
        "Add 2, 3",
        "Name it",
        "Translate\n\nHund",
        "Hi",
    ]
    assert sorted((one.reason, one.detail) for one in dropped) == [
        ("bad_row", f"{one}:3: broken JSON: Expecting property name enclosed in double quotes "
                    "at column 2"),
        ("duplicate", f"{one}, line 2 repeats {one}, line 1"),
        ("duplicate", f"{two}, line 1 repeats {one}, line 4"),
    ]  # fmt: skip
    assert {(one.origin, one.iteration, one.parent) for one in found} == {("seed", "0", None)}
    assert found[2].category == "words"
    assert [one.answer for one in found] == [None] * 4


def test_bad_rows_stop_with_their_places(configure: Configure, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", [{"instruction": "Add 2, 3"}, *["{"] * 14])
    with pytest.raises(DataError) as caught:
        seed_pool.base_pool(own(configure, source).seed, 0)
    lines = str(caught.value).splitlines()
    assert lines[0] == "14 rows cannot be read:"
    assert lines[1].strip().startswith(f"{source}:2: ")
    assert lines[-2].strip() == "and 4 more"
    assert lines[-1] == "Fix them, or set seed.on_bad_row: drop."


def test_answers_of_the_file_may_be_kept(configure: Configure, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", [{"instruction": "2+2?", "output": "4"}])
    ((kept,), _) = seed_pool.base_pool(own(configure, source, answers="keep").seed, 0)
    assert kept.answer == TeacherAnswer("4", "stop", None)
    ((asked,), _) = seed_pool.base_pool(own(configure, source).seed, 0)
    assert asked.answer is None
    assert asked.expected == "4"


def test_an_answer_to_keep_that_is_not_there_names_its_line(
    configure: Configure, tmp_path: Path
) -> None:
    source = write_rows(
        tmp_path / "a.jsonl", [{"instruction": "2+2?", "output": "4"}, {"instruction": "3+3?"}]
    )
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: .*Set seed\.answers: ask"):
        seed_pool.base_pool(own(configure, source, answers="keep").seed, 0)


def test_a_pool_of_nothing_is_refused(configure: Configure, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", [])
    with pytest.raises(DataError, match="no instruction"):
        seed_pool.base_pool(own(configure, source).seed, 0)


def test_a_holdout_becomes_the_exam(configure: Configure, tmp_path: Path) -> None:
    """The same rows whatever the order of the file, without teacher's answers, out of the pool."""
    rows = [{"instruction": f"Task {number}", "output": str(number)} for number in range(30)]
    exams = []
    for name, order in (("a.jsonl", rows), ("b.jsonl", rows[::-1])):
        source = write_rows(tmp_path / name, order)
        settings = own(configure, source, holdout=8, answers="keep")
        settings = settings.model_copy(
            update={"exam": settings.exam.model_copy(update={"file": None})}
        )
        pool, _ = seed_pool.base_pool(settings.seed, 0)
        rest, exam = seed_pool.base_exam(settings.exam, settings.seed, 0, pool)
        assert (len(rest), len(exam)) == (22, 8)
        assert not {one.id for one in rest} & {one.id for one in exam}
        assert {(one.origin, one.answer) for one in exam} == {("exam", None)}
        assert all(one.expected is not None for one in exam)
        exams.append({one.id for one in exam})
    assert exams[0] == exams[1]


def test_an_exam_file_is_the_exam(configure: Configure, tmp_path: Path) -> None:
    source = write_rows(
        tmp_path / "exam.jsonl",
        [{"instruction": "2+2?", "answer": "4", "category": "sums"}] * 2,
    )
    settings = configure({"exam.file": source})
    pool = [row("x")]
    rest, exam = seed_pool.base_exam(settings.exam, settings.seed, 0, pool)
    assert rest == pool
    assert [one.origin for one in exam] == ["exam"]  # the same question twice is one row


def test_a_file_for_the_certificate_brings_rows_of_its_own(
    configure: Configure, tmp_path: Path
) -> None:
    """Out of the exam and of the pool; a row that the exam has, too, has chosen the student."""
    source = write_rows(tmp_path / "own.jsonl", [{"instruction": f"{n} + 1?"} for n in range(3)])
    settings = configure({"exam.certify": source}).exam
    own_rows = seed_pool.certify_rows(settings, [row("x", "exam")])
    assert [one.origin for one in own_rows] == ["certify"] * 3
    assert seed_pool.certify_rows(configure({"exam.certify": 0.5}).exam, own_rows) == []
    with pytest.raises(DataError, match=r"1 of 3 rows of .*own\.jsonl stand in the exam, too"):
        seed_pool.certify_rows(settings, [row("1 + 1?", "exam")])


def test_an_exam_question_with_two_answers_is_refused(configure: Configure, tmp_path: Path) -> None:
    rows = [{"instruction": "2+2?", "answer": "4"}, {"instruction": "2+2?", "answer": "5"}]
    source = write_rows(tmp_path / "exam.jsonl", rows)
    settings = configure({"exam.file": source})
    with pytest.raises(DataError, match=r"exam\.jsonl, line 2: .*another answer"):
        seed_pool.base_exam(settings.exam, settings.seed, 0, [])


def test_an_exam_row_that_is_bad_is_never_dropped(configure: Configure, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "exam.jsonl", [{"instruction": "2+2?"}, "{"])
    settings = configure({"exam.file": source, "seed.on_bad_row": "drop"})
    with pytest.raises(DataError, match=r"exam\.jsonl:2"):
        seed_pool.base_exam(settings.exam, settings.seed, 0, [])


def test_a_base_row_that_gives_an_exam_question_away_is_seen(settings: Settings) -> None:
    exam = [row("How many legs has a spider of the desert?", "exam")]
    pool = [row("Why?"), row("Tell me: how many legs has a spider of the desert, please")]
    against = guard(exam, settings.decontaminate)
    kept, leaked = seed_pool.split_contaminated(pool, against, "drop")
    assert kept == pool[:1]
    assert [(one.reason, one.id) for one in leaked] == [("contaminated", pool[1].id)]
    assert exam[0].id in (leaked[0].detail or "")
    with pytest.raises(DataError, match=rf"{pool[1].id} meets exam {exam[0].id}") as caught:
        seed_pool.split_contaminated(pool, against, "error")
    assert "seed.on_contaminated: drop" in str(caught.value)


def test_further_exams_keep_their_items_out(configure: Configure, tmp_path: Path) -> None:
    """Of whatever shape; each item once, and a bad row is never dropped."""
    bench = {"examples": [{"input": "Is a spider of the desert an insect?", "target": "no"}] * 2}
    (tmp_path / "insects.json").write_text(json.dumps(bench))
    asked = {"question_id": 1, "text": "How do I learn to play the organ?", "category": "generic"}
    other = write_rows(tmp_path / "vicuna.jsonl", [asked])
    settings = configure({"decontaminate.against": [str(tmp_path / "insects.json"), other]})
    found = seed_pool.further_exams(settings.decontaminate, settings.exams)
    assert [(one.category, one.origin) for one in found] == [
        ("insects", "exam"),
        ("generic", "exam"),
    ]
    pool = [row("Say: how do I learn to play the organ?"), row("Is a spider of the desert a bug?")]
    kept, leaked = seed_pool.split_contaminated(pool, guard(found, settings.decontaminate), "drop")
    assert kept == pool[1:]
    assert found[1].id in (leaked[0].detail or "")
    broken = write_rows(tmp_path / "broken.jsonl", [asked, "{"])
    settings = configure({"decontaminate.against": [broken]})
    with pytest.raises(DataError, match=r"broken\.jsonl:2"):
        seed_pool.further_exams(settings.decontaminate, settings.exams)


def test_rows_that_no_student_can_use_are_dropped_with_their_flaw(configure: Configure) -> None:
    settings = configure({"quality.absent_input": True})
    pool = [row("Ring the \x07 bell"), row("Name a bell"), row("Translate the given sentence")]
    kept, dropped = seed_pool.usable(pool, settings.quality, None)
    assert kept == pool[1:2]
    assert [(one.id, one.reason, one.detail) for one in dropped] == [
        (pool[0].id, "control", "U+0007 at 9"),
        (pool[2].id, "absent_input", "the given"),
    ]
    with pytest.raises(DataError, match="none of 1 instructions passes `quality`"):
        seed_pool.usable(pool[:1], settings.quality, None)


def test_the_embedded_pool_and_exam_do_not_meet(configure: Configure) -> None:
    settings = configure({"seed.size": 400, "exam.size": 100})
    pool, dropped = seed_pool.base_pool(settings.seed, 0)
    rest, exam = seed_pool.base_exam(settings.exam, settings.seed, 0, pool)
    kept, leaked = seed_pool.split_contaminated(rest, guard(exam, settings.decontaminate), "error")
    assert (len(kept), len(exam), dropped, leaked) == (400, 100, [], [])
    for one in exam:
        task = task_families.solve(one.messages[0]["content"])
        assert task is not None
        assert (one.expected, one.category) == (task.answer, task.family)
    assert seed_pool.base_pool(settings.seed, 0)[0] == pool
    assert seed_pool.base_pool(settings.seed, 1)[0] != pool
    assert all(one.expected is None for one in pool)


@pytest.mark.parametrize("folder", [True, False])
def test_a_base_student_is_pointed_to_and_never_copied(workplace: Workplace, folder: bool) -> None:
    name = "mine" if folder else "Qwen/Qwen3-0.6B"
    if folder:
        (workplace.path / name).mkdir()
    commit = "ab" * 20
    settings = workplace.params({"student.model": name, "student.revision": commit})
    seed_pool.write_student(Path("data/base"), settings.student, [], 0)
    assert [path.name for path in Path("data/base").iterdir()] == ["pointer.json"]
    pointer = checkpoint.Pointer.read(Path("data/base"))
    wanted = ("folder", name, None) if folder else ("hub", name, commit)
    assert (pointer.kind, pointer.target, pointer.revision) == wanted
    assert jsonl.read_document(Path("data/base/pointer.json"))["format"] == 1


def test_a_hub_students_commit_is_pinned(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`main` moves: which weights made which student is written down."""
    asked = []

    def told(name: str, **arguments: Any) -> SimpleNamespace:
        asked.append((name, arguments["revision"]))
        return SimpleNamespace(sha="cd" * 20)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "model_info", told)
    settings = workplace.params({"student.model": "Qwen/Qwen3-0.6B"})
    seed_pool.write_student(Path("data/base"), settings.student, [], 0)
    assert checkpoint.Pointer.read(Path("data/base")).revision == "cd" * 20
    assert asked == [("Qwen/Qwen3-0.6B", None)]


def test_a_kept_answer_that_is_badly_encoded_drops_its_row(
    configure: Configure, tmp_path: Path
) -> None:
    """It would be learnt as it is; an answer that the teacher replaces does not matter."""
    broken = {"instruction": "Ring a bell", "output": "Ding \x07"}
    sound = {"instruction": "Beat a drum", "output": "Dum"}
    write_rows(tmp_path / "a.jsonl", [broken, sound])
    for answers, reasons in (("keep", ["control"]), ("ask", [])):
        settings = own(configure, str(tmp_path / "a.jsonl"), answers=answers)
        found, _ = seed_pool.base_pool(settings.seed, 0)
        kept, dropped = seed_pool.usable(found, settings.quality, None)
        assert [row.reason for row in dropped] == reasons
        assert len(kept) + len(dropped) == 2
    assert seed_pool.usable(found[:1], settings.quality, None)[1] == []


def test_rows_of_a_declared_task_bring_its_fields_alone(
    tmp_path: Path, configure: Configure
) -> None:
    """A shared prompt hides no row from the exam's guard, and makes none look like another."""
    prompt = "Turn the ticket into one line of JSON with label and urgency, and nothing else. " * 4
    task = TaskTemplate.declared(
        TaskSettings.model_validate(
            {
                "fields": ["ticket"],
                "messages": [{"role": "user", "content": f"{prompt}\n\n$ticket"}],
                "good": None,
            }
        )
    )
    tickets = [f"Printer number {number} is broken, please help." for number in range(60)]
    path = tmp_path / "tickets.jsonl"
    lines = [json.dumps({"ticket": ticket, "expected": {"label": "defect"}}) for ticket in tickets]
    path.write_text("\n".join(lines), encoding="utf-8")
    settings = configure({})
    seed = settings.seed.model_copy(update={"source": [str(path)], "holdout": 20})
    rows, dropped = seed_pool.base_pool(seed, 0, task)
    assert (len(rows), dropped) == (60, [])
    exam_settings = settings.exam.model_copy(update={"file": None})
    pool, exam = seed_pool.base_exam(exam_settings, seed, 0, rows, task)
    rules = settings.decontaminate.model_copy(update={"ngram": 13})
    kept, leaked = seed_pool.split_contaminated(pool, guard(exam, rules, task), "drop", task)
    assert (len(kept), len(leaked), len(exam)) == (40, 0, 20)
    assert exam[0].expected == '{"label": "defect"}'
    bare = [row.messages[0]["content"] for row in pool]
    assert all(guard(exam, rules).find_overlap(text) for text in bare), "the prompt is 13 words"

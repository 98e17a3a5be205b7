"""What would stop a run is found before anything is spent or removed."""

import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from click.testing import CliRunner
from fixtures import Workplace
from safetensors.numpy import save_file

from lion.cli import main
from lion.config.settings import ROLES
from lion.pipeline.checks import student
from lion.pipeline.checks.offline import offline_problems, without_keys

ROWS = [{"instruction": f"Task number {number}, please", "output": "x"} for number in range(30)]


def write_rows(path: Path, rows: list[Any]) -> str:
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return f"inputs/{path.name}"


def own_pool(source: str, **changes: Any) -> dict[str, Any]:
    """Return changes of params for a pool of one's own, small enough for 30 rows."""
    return {
        **remote(),
        **{f"{role}.api_key_env": None for role in ROLES},
        "seed.source": [source],
        "exam.file": None,
        "generate.hard": 20,
        "generate.easy": 20,
        "generate.per_parent": 20,
        **changes,
    }


def remote(url: str = "https://api.example.com/v1") -> dict[str, Any]:
    return {f"{role}.base_url": url for role in ROLES}


def test_the_default_has_no_problem(workplace: Workplace) -> None:
    assert offline_problems(workplace.params({})) == []


def test_a_usable_pool_of_ones_own_has_no_problem(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", ROWS)
    tiny.folder(workplace.path / "student")
    own = own_pool(source, **{"student.model": "student", "tune.max_length": 128})
    settings = workplace.params(own)
    assert offline_problems(settings) == []


def test_a_missing_key_is_told_once_with_all_of_its_roles(workplace: Workplace) -> None:
    (line,) = offline_problems(workplace.params(remote()))
    assert line.startswith("teacher, referee, generator: no key. Set the environment variable ")
    assert "OPENAI_API_KEY" in line


def test_keys_are_looked_for_where_they_are_needed(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-1")
    changes = {
        **remote(),
        "teacher.base_url": "embedded",
        "referee.api_key_env": "OTHER_KEY",
        "generator.api_key_env": None,
    }
    assert offline_problems(workplace.params(changes)) == []


def test_bad_rows_are_told_with_their_lines(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", [*ROWS, "{", {"output": "x"}])
    found = offline_problems(workplace.params(own_pool(source)))
    assert len(found) == 2
    assert all(line.startswith("seed.source: inputs/tasks.jsonl:3") for line in found)


def test_of_many_bad_rows_ten_are_told_and_the_rest_counted(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", [*ROWS, *["{"] * 25])
    found = offline_problems(workplace.params(own_pool(source)))
    assert len(found) == 11
    assert found[-1].endswith("and 15 more rows")


def test_bad_rows_may_be_dropped(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", [*ROWS, "{"])
    settings = workplace.params(own_pool(source, **{"seed.on_bad_row": "drop"}))
    assert offline_problems(settings) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read"), (b"", "holds no instruction"), (b"[{]", "broken JSON")],
)
def test_files_that_cannot_be_used_are_told(
    workplace: Workplace, content: bytes | None, told: str
) -> None:
    if content is not None:
        (workplace.path / "inputs/tasks.jsonl").write_bytes(content)
    shown = offline_problems(workplace.params(own_pool("inputs/tasks.jsonl")))
    assert [line for line in shown if line.startswith("seed.source: ") and told in line]
    exam = offline_problems(workplace.params({"exam.file": "inputs/tasks.jsonl"}))
    assert [line for line in exam if line.startswith("exam.file: ") and told in line]


def test_keeping_answers_that_are_not_there_is_told(workplace: Workplace) -> None:
    """`seed.answers: keep` with a row that brings none would stop the seed stage."""
    source = write_rows(
        workplace.path / "inputs/tasks.jsonl", [*ROWS, {"instruction": "No answer here"}]
    )
    found = offline_problems(workplace.params(own_pool(source, **{"seed.answers": "keep"})))
    assert [line for line in found if "tasks.jsonl" in line and "31" in line], found


def test_a_pool_that_is_too_small_is_told(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", ROWS)
    changes = own_pool(source, **{"generate.hard": 700})
    (line,) = offline_problems(workplace.params(changes))
    assert "30 rows of the pool are judged, too few for 700 hard" in line
    assert offline_problems(workplace.params({**changes, "generate.per_parent": None})) == []


def test_an_override_that_asks_for_too_much_is_told(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", ROWS)
    changes = own_pool(source, **{"iterations.3.generate": {"easy": 700}})
    (line,) = offline_problems(workplace.params(changes))
    assert line.startswith("iterations.3: ")


@pytest.mark.parametrize(
    ("role", "name", "text", "told"),
    [
        ("generator", "hard.txt", "$fence $instruction $instuction", "$instuction"),
        ("generator", "hard.txt", "$fence only", "$instruction"),
        ("referee", "user.txt", "a lone $ sign", "$$"),
        ("teacher", "extra.txt", "x", "no such prompt"),
        ("teacher", "system.txt", None, "missing"),
    ],
)
def test_prompts_are_looked_at(
    workplace: Workplace, role: str, name: str, text: str | None, told: str
) -> None:
    path = workplace.path / "prompts" / role / name
    path.unlink() if text is None else path.write_text(text)
    (line,) = offline_problems(workplace.params({}))
    assert f"prompts/{role}/{name}: " in line
    assert told in line


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"exam.scorer": {"kind": "regex", "option": "("}}, "exam.scorer: "),
        ({"exam.scorer": {"kind": "json_schema", "option": "scorers/no.json"}}, "exam.scorer: "),
        ({"exam.scorer": {"kind": "function", "option": "scorers.no:f"}}, "exam.scorer: "),
        (
            {"exam.scorer": {"kind": "referee", "option": None}, "review.judge": "scorer"},
            "review.judge: ",
        ),
    ],
)
def test_a_scorer_that_cannot_mark_is_told(
    workplace: Workplace, changes: dict[str, Any], told: str
) -> None:
    (line,) = offline_problems(workplace.params(changes))
    assert line.startswith(told)


def test_a_pool_is_as_small_as_what_is_judged_of_it(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", ROWS)
    (line,) = offline_problems(
        workplace.params(own_pool(source, **{"respond.limit": 1, "generate.hard": 21}))
    )
    assert "1 rows of the pool are judged" in line


def test_rows_held_out_leave_some_to_learn_from(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", ROWS)
    (line,) = offline_problems(workplace.params(own_pool(source, **{"seed.holdout": 30})))
    assert line.startswith("seed.holdout: ")


def test_files_that_dvc_would_not_see_change_are_told(workplace: Workplace) -> None:
    """They are no dependency, and an edited pool would be called up to date."""
    write_rows(workplace.path / "tasks.jsonl", ROWS)
    (line,) = offline_problems(workplace.params(own_pool("tasks.jsonl")))
    assert line.startswith("inputs: tasks.jsonl lies outside inputs")


@pytest.mark.parametrize("folder", [".", "./", "..", "data", ".lion", "inputs/.."])
@pytest.mark.parametrize("parameter", ["inputs", "seed.depends_on"])
def test_a_watched_folder_that_a_run_changes_is_told(
    workplace: Workplace, parameter: str, folder: str
) -> None:
    """DVC refuses it, or would run every stage again for ever."""
    for name in ("data", ".lion"):
        (workplace.path / name).mkdir()
    found = offline_problems(workplace.params({parameter: folder}))
    assert [line for line in found if line.startswith(f"{parameter}: ") and "run writes" in line]


@pytest.mark.parametrize(
    "kind, option", [("json_schema", "answer.json"), ("function", "mine:mark")]
)
def test_scorers_that_dvc_would_not_see_change_are_told(
    workplace: Workplace, kind: str, option: str
) -> None:
    (workplace.path / "answer.json").write_text("{}")
    found = offline_problems(workplace.params({"exam.scorer": {"kind": kind, "option": option}}))
    assert found[0] == f"exam.scorer.option: DVC watches the folder scorers/; move {option} there"


def test_a_scorer_of_ones_own_is_found_beside_params(workplace: Workplace) -> None:
    (workplace.path / "scorers").mkdir()
    (workplace.path / "scorers/mine.py").write_text(
        "def mark(answer, expected):\n    return True\n"
    )
    changes = {"exam.scorer": {"kind": "function", "option": "scorers.mine:mark"}}
    assert offline_problems(workplace.params(changes)) == []


def test_the_embedded_teacher_is_refused_for_real_text(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", ROWS)
    changes = {**own_pool(source), "referee.base_url": "embedded"}
    (line,) = offline_problems(workplace.params(changes))
    assert line.startswith("referee.base_url: the embedded teacher")


def test_an_exam_that_cannot_be_marked_is_told(workplace: Workplace) -> None:
    source = write_rows(
        workplace.path / "inputs/exam.jsonl", [{"instruction": "Say hello, please"}]
    )
    (line,) = offline_problems(workplace.params({"exam.file": source}))
    assert "1 of 1 rows bring no `expected`" in line
    judged = {"exam.file": source, "exam.scorer": {"kind": "referee", "option": None}}
    assert offline_problems(workplace.params(judged)) == []


def test_an_expected_answer_that_no_number_equals_is_told_with_its_line(
    workplace: Workplace,
) -> None:
    """Before anything is paid, with what to do; what is a fraction, a time or a tuple passes."""
    fit = ["1/2", "3:45", "(1, 2)", "9{,}500", "#### 12", "3 to 5"]
    texts = ["3 apples and 4 pears", *fit, "2\\sqrt{3}"]
    rows = [{"instruction": f"How many, {text}?", "expected": text} for text in texts]
    source = write_rows(workplace.path / "inputs/exam.jsonl", rows)
    numbers = {"exam.file": source, "exam.scorer": {"kind": "number", "option": None}}
    lines = offline_problems(workplace.params(numbers))
    assert [line.split(": ")[1] for line in lines] == [f"{source}, line 1", f"{source}, line 8"]
    assert all("write the answer alone" in line for line in lines)


def test_a_pool_that_a_scorer_cannot_mark_is_told(workplace: Workplace) -> None:
    """More of its rows than may be dropped in review, which a scorer does there."""
    rows = [{**row, "output": "3 apples and 4 pears"} for row in ROWS[:2]]
    rows += [{**row, "output": "12"} for row in ROWS[2:]]
    source = write_rows(workplace.path / "inputs/tasks.jsonl", rows)
    changes = {
        **own_pool(source),
        "exam.scorer": {"kind": "number", "option": None},
        "review.judge": "scorer",
        "review.max_dropped": 0.05,
    }
    (line,) = offline_problems(workplace.params(changes))
    assert f"{source}, line 1: " in line and "2 of 30 rows" in line
    assert offline_problems(workplace.params({**changes, "review.max_dropped": 0.1})) == []


def test_adapters_without_their_library_are_told(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    (line,) = offline_problems(workplace.params({"tune.method": "lora"}))
    assert line.startswith("tune.method: lora and qlora need the library peft")


def test_half_precision_without_a_gpu_is_told(workplace: Workplace) -> None:
    import torch

    if torch.accelerator.is_available():
        pytest.skip("there is an accelerator here")
    (line,) = offline_problems(workplace.params({"student.dtype": "float16"}))
    assert line.startswith("student.dtype: float16")


def test_a_folder_that_is_no_student_is_told(workplace: Workplace) -> None:
    (workplace.path / "student").mkdir()
    found = offline_problems(workplace.params({"student.model": "student"}))
    assert found
    assert all(line.startswith("student.model: student has no ") for line in found)
    found = offline_problems(workplace.params({"student.model": "./nowhere"}))
    assert found == [
        "student.model: there is no folder ./nowhere. Fix the path, or name a Hugging Face id "
        "such as `Qwen/Qwen3-0.6B`."
    ]


def test_a_disk_that_is_too_small_is_told(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 99, 1 << 20))
    found = offline_problems(workplace.params({}))
    assert [line for line in found if "disk" in line or "free" in line]


def test_every_planted_problem_is_told_at_once(workplace: Workplace) -> None:
    source = write_rows(workplace.path / "inputs/tasks.jsonl", [*ROWS[:2], "{"])
    (workplace.path / "prompts/teacher/system.txt").write_text("$who")
    changes = {
        **own_pool(source),
        **{f"{role}.api_key_env": "OPENAI_API_KEY" for role in ROLES},
    }
    changes["student.model"] = "./nowhere"
    found = "\n".join(offline_problems(workplace.params(changes)))
    for told in ("$who", "OPENAI_API_KEY", "tasks.jsonl:3", "./nowhere"):
        assert told in found


def test_exams_that_cannot_be_read_are_told(workplace: Workplace) -> None:
    for name, told in (("inputs/bbh", "no such folder"), ("inputs", "no file of BBH")):
        settings = workplace.params({"exams.students": ["1"], "exams.folders": [name]})
        (found,) = offline_problems(settings)
        assert found.startswith("exams.folders: inputs") and told in found


def test_the_first_rows_of_each_file_are_shown_as_they_were_understood(
    workplace: Workplace,
) -> None:
    """With the keys whose text is not read, and before the problems that stop the run."""
    rows = [
        {
            "instruction": "Sort",
            "input": "c a b",
            "output": "a b c",
            "remark": "Most people found this easy",
        },
        {
            "messages": [
                {"role": "system", "content": "Be brief"},
                {"role": "user", "content": "Hi"},
            ]
        },
        "{",
    ]
    source = write_rows(workplace.path / "inputs/tasks.jsonl", [*rows, *ROWS])
    workplace.params({**own_pool(source), "exam.file": "inputs/none.jsonl"})
    wide = {"COLUMNS": "200"}
    result = CliRunner(env=wide).invoke(main, ["check", "--offline", "--rows", "2"])
    assert result.exit_code == 2
    shown = result.stdout.splitlines()
    assert shown[0] == "seed.source: inputs/tasks.jsonl: 32 rows, 1 that cannot be read"
    assert shown[1].startswith("  inputs/tasks.jsonl:3: broken JSON")
    assert shown[2] == "  not read: the text under 'remark' in 1 rows"
    assert [line.strip() for line in shown[3:10]] == [
        "line 1", "user: Sort", "", "c a b", "expected: a b c", "line 2", "system: Be brief",
    ]  # fmt: skip
    assert "exam.file: inputs/none.jsonl: " in result.stdout


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"budget.tokens": 1000, "teacher.request": {}}, "no cap on what it writes"),
        ({"budget.usd": 5.0, "teacher.model": "nobody-knows-me"}, "price of nobody-knows-me"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_told_before_the_run(
    workplace: Workplace, changes: dict[str, Any], told: str
) -> None:
    settings = workplace.params({**remote(), "random_seed": 0, **changes})
    found = [line for line in without_keys(settings, ask_hub=False) if line.startswith("budget")]
    assert any(told in line for line in found)


def test_a_launchers_missing_file_and_qloras_missing_library_are_told(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    launcher = {"processes": 2, "machines": 1, "main_address": None, "start": []}
    found = offline_problems(
        workplace.params(
            {
                "hardware.launcher": {**launcher, "config": "launchers/none.yaml"},
                "tune.method": "qlora",
            }
        )
    )
    told = "\n".join(found)
    assert "hardware.launcher.config: there is no file launchers/none.yaml" in told
    assert "tune.method: qlora needs the library bitsandbytes" in told


def hollow_student(folder: Path) -> None:
    """Write two layers' matrices and an embedding, float32."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    layers = (f"model.layers.{layer}.mlp.weight" for layer in range(2))
    weights = {name: np.zeros((20, 30), np.float32) for name in layers}
    weights["model.embed_tokens.weight"] = np.zeros((50, 20), np.float32)
    save_file(weights, folder / "model.safetensors")


def test_the_disk_counts_full_students_and_the_states_of_one(workplace: Workplace) -> None:
    hollow_student(workplace.path / "student")
    size = 2 * 20 * 30 + 50 * 20  # parameters, of two bytes; a state has three times four
    full = workplace.params({"student.model": "student", "student.dtype": "bfloat16"})
    students = 1 + len(full.iterations)
    assert student.disk_needed(full, ask_hub=False) == student.DiskNeed(
        students=2 * students * 2 * size, staying=2 * students * 2 * size, states=2 * 3 * 4 * size
    )
    last = workplace.params({"student.model": "student", "hardware.keep_students": "last"})
    assert student.disk_needed(last, ask_hub=False).staying == 2 * 4 * size


def test_the_disk_counts_adapters_beside_the_layers_matrices(workplace: Workplace) -> None:
    """Of rank 16 in float32: a row and a column of rank for each of 2 x (20 x 30), no embedding."""
    hollow_student(workplace.path / "student")
    params = workplace.params({"student.model": "student", "tune.method": "lora"})
    adapter = 4 * 16 * 2 * (20 + 30)
    students = 2 * (1 + len(params.iterations)) * adapter
    assert student.disk_needed(params, ask_hub=False) == student.DiskNeed(
        students=students, staying=students, states=2 * 3 * adapter
    )


def test_what_the_gates_of_generation_need_is_looked_for(workplace: Workplace) -> None:
    endpoint = {"base_url": "https://api.example.com/v1", "model": "e", "api_key_env": "E_KEY",
                "request": {}}  # fmt: skip
    gate = {"model": None, "endpoint": endpoint, "limit": 0.9}
    (line,) = offline_problems(workplace.params({"generate.near_duplicates": gate}))
    assert line.startswith("generate.near_duplicates.endpoint: no key. Set the environment")
    local = {**gate, "model": "encoder", "endpoint": None}
    own = {"iterations.2.generate": {"near_duplicates": local}}
    (line,) = offline_problems(workplace.params(own))
    assert line.startswith("iterations.2.generate.near_duplicates.model: there is no folder")
    (line,) = offline_problems(workplace.params({"generate.safety": True}))
    assert "the embedded referee knows nothing of safety" in line

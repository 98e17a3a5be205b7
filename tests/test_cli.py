"""The `lion` command as a person types it."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fixtures import ROOT, Workplace

from lion.cli import main


def lion(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def plain(result: Result) -> str:
    return " ".join(result.stderr.split())


def as_repository(workplace: Workplace) -> None:
    """Make the folder a git repository and a DVC project without stages."""
    (workplace.path / ".dvc").mkdir()
    (workplace.path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    subprocess.run(["git", "init", "--quiet"], check=True)


def test_help_lists_the_commands_in_the_order_of_use() -> None:
    shown = lion("--help").stdout
    places = [shown.index(f"\n  {name}") for name in ("run", "check", "table", "profile")]
    assert places == sorted(places)
    assert lion("-h").stdout == shown


def test_every_command_has_examples_or_says_what_it_costs() -> None:
    assert "lion run --pull --allow-missing\n" in lion("run", "--help").stdout
    assert "paid call" in lion("check", "--help").stdout
    assert "curl localhost:8099" in lion("serve-teacher", "--help").stdout


def test_an_unknown_command_is_refused() -> None:
    assert lion("trian").exit_code == 2


def test_check_of_the_default_finds_nothing(workplace: Workplace) -> None:
    as_repository(workplace)
    found = lion("check", "--offline")
    assert (found.exit_code, found.stdout) == (0, "")
    assert "all checks passed; no endpoint was asked" in found.stderr
    assert not (workplace.path / ".lion").exists()


def test_check_lists_every_planted_problem_in_one_message(workplace: Workplace) -> None:
    """No key, a bad file, a pool that is too small, a prompt and a folder that is no student."""
    (workplace.path / "inputs/tasks.jsonl").write_text('{"instruction": "Add 2 and 3"}\n{"inst\n')
    (workplace.path / "inputs/tiny.jsonl").write_text('{"instruction": "Add 2 and 3"}\n')
    (workplace.path / "prompts/generator/easy.txt").write_text("$fence $instruction $rarity")
    (workplace.path / "student").mkdir()
    workplace.params(
        {
            "teacher.base_url": "https://api.example.com/v1",
            "exam.file": "inputs/tasks.jsonl",
            "seed.source": ["inputs/tiny.jsonl"],
            "generate.per_parent": 20,
            "student.model": "student",
        }
    )
    found = lion("check", "--offline")
    assert found.exit_code == 2
    told = plain(found)
    assert told.startswith("error: 10 problems, nothing started: ")
    for part in (
        "teacher: no key. Set the environment variable OPENAI_API_KEY",
        "exam.file: inputs/tasks.jsonl:2: broken JSON",
        "1 rows of the pool are judged, too few",
        "easy.txt: the prompt may not use $rarity",
        "student.model: student has no config.json",
        "student.model: student has no *.safetensors",
        "student.model: student has no tokenizer",
        "Nothing was spent or removed.",
    ):
        assert part in told
    assert "Traceback" not in told


def test_run_starts_nothing_where_check_finds_something(workplace: Workplace) -> None:
    workplace.params({"student.model": "./nowhere"})
    found = lion("run")
    assert found.exit_code == 2
    assert "there is no folder ./nowhere" in plain(found)
    assert sorted(path.name for path in workplace.path.iterdir()) == [
        "inputs",
        "params.yaml",
        "prompts",
        "seeds",
    ]


def test_run_ends_with_the_code_of_dvc(workplace: Workplace) -> None:
    """Here there is no pipeline. Its arguments are dvc's own."""
    as_repository(workplace)
    command = [sys.executable, "-m", "lion.cli", "run", "--no-such-option"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=workplace.path)
    direct = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--no-such-option"],
        capture_output=True,
        cwd=workplace.path,
    )
    assert found.returncode == direct.returncode != 0
    assert "--no-such-option" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", [("check",), ("table",), ("run",)])
def test_a_folder_without_params_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = lion(*command)
    assert found.exit_code == 2
    assert "params.yaml: no such file" in plain(found)
    assert "Traceback" not in found.stderr


def test_the_table_of_nothing_has_dashes(workplace: Workplace) -> None:
    workplace.params({})
    found = lion("table")
    assert found.exit_code == 0
    assert "No student has taken the exam yet." in found.stdout
    rows = [line.split() for line in found.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert all(set(row[1:]) <= {"-", "0", "free"} for row in rows)


def test_the_table_as_json_is_for_scripts(workplace: Workplace) -> None:
    workplace.params({})
    found = lion("table", "--json")
    rows = json.loads(found.stdout)
    assert [row["iteration"] for row in rows] == ["0", "1", "2", "3"]
    assert (rows[1]["accuracy_share"], rows[1]["comparisons"]) == (None, [])
    assert found.stderr == ""


@pytest.fixture
def profiled(workplace: Workplace) -> Workplace:
    (workplace.path / "profiles").symlink_to(ROOT / "profiles")
    return workplace


def test_profiles_are_listed(profiled: Workplace) -> None:
    shown = lion("profile").stdout.splitlines()
    names = [line.split()[0] for line in shown]
    assert names == sorted(path.stem for path in (profiled.path / "profiles").glob("*.yaml"))


def test_a_profile_is_switched_to(profiled: Workplace) -> None:
    found = lion("profile", "ci")
    assert found.exit_code == 0
    assert Path("params.yaml").read_bytes() == (profiled.path / "profiles/ci.yaml").read_bytes()


def test_a_profile_refuses_to_overwrite_uncommitted_changes(profiled: Workplace) -> None:
    profiled.params({"split.tau": 2.0})
    mine = Path("params.yaml").read_bytes()
    found = lion("profile", "ci")
    assert found.exit_code == 2
    assert "no commit holds" in plain(found)
    assert Path("params.yaml").read_bytes() == mine
    assert lion("profile", "ci", "--force").exit_code == 0
    assert Path("params.yaml").read_bytes() != mine


def test_a_port_in_use_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "lion.cli", "serve-teacher", "--port", port]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert port in found.stderr


OUTSIDE = {
    # -> the next action that the error names; None: the command needs no repository
    "make-room": "`git init && dvc init`",
    "make-room --dry-run": "`git init && dvc init`",
    "plan": "`git init && dvc init`",
    "verify-remote": "`git init && dvc init`",
    "table": None,
    "diff": "`git log --oneline`",
    "diff 1 2": "`lion run`",
    "report": "`lion run`",
    "report HEAD": "`git log --oneline`",
    "show": "`lion run`",
    "show HEAD:1": "`git log --oneline`",
    "trace 6a7c": "`lion show --search TEXT`",
}


@pytest.mark.parametrize("with_dvc", [False, True], ids=["no dvc", "no git"])
@pytest.mark.parametrize("line", OUTSIDE, ids=OUTSIDE)
def test_outside_a_repository_an_error_says_what_to_do(
    line: str, with_dvc: bool, workplace: Workplace
) -> None:
    if with_dvc:
        (workplace.path / ".dvc").mkdir()
    result = lion(*line.split())
    assert isinstance(result.exception, SystemExit | None), result.exception
    words = " ".join(result.stderr.split())
    if OUTSIDE[line] is None:
        assert result.exit_code == 0
    else:
        assert result.exit_code in (1, 2)
        assert words.startswith("error: ")
        assert OUTSIDE[line] in words

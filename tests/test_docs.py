"""The pages tell what is so: commands run, settings are taken, the reference is current."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import tiny
import yaml
from documents import PAGES, blocks, commands
from dvc.cli import parser as dvc_parser
from pipeline import ROOT, TINY, Project

from lion.cli import main
from lion.config import project, settings
from lion.simulator import server, task_families

PLACEHOLDERS = re.compile(r"\b[A-Z][A-Z_]{2,}\b")  # STUDENT, OUT, ID
OTHERS = {"git", "make", "source", "pip", "export", "python", "accelerate", "curl", "bash", "cd"}
SHELL = {"echo", "until", "wc", "zcat", "env", "cp", "mkdir", "vllm", "ls", "sh", "ssh", "aws"}


def spoken(program: str) -> list[tuple[str, str]]:
    """Return page and command line of every call of a program in the pages."""
    found = []
    for page in PAGES:
        for line in commands(page):
            for part in re.split(r"\s*(?:\||;|&&)\s*", line):
                words = part.split()
                if words and words[0] == program:
                    found.append((page.name, part))
    return found


@pytest.mark.parametrize(("page", "line"), spoken("lion"))
def test_every_command_of_lion_is_one(page: str, line: str) -> None:
    """Its name and its options; what it does is other tests' matter."""
    words = shlex.split(line.split(">", maxsplit=1)[0])[1:]
    command: click.Command = main
    context: click.Context | None = None
    while True:
        context = command.make_context(
            command.name, words, parent=context, resilient_parsing=True, allow_extra_args=False
        )
        if not isinstance(command, click.Group):
            break
        left = [*context._protected_args, *context.args]
        if not left:
            break
        found = command.get_command(context, left[0])
        assert found is not None, f"{page}: no command {left[0]!r} in: {line}"
        command, words = found, left[1:]


@pytest.mark.parametrize(("page", "line"), spoken("dvc"))
def test_every_command_of_dvc_is_one(page: str, line: str) -> None:
    words = shlex.split(re.split(r"\s[12]?>", line)[0])[1:]
    parser = dvc_parser.get_main_parser()
    assert parser.parse_args(words).func, page


def test_no_page_calls_a_program_that_nobody_checks() -> None:
    called = {words[0] for page in PAGES for line in commands(page) if (words := line.split())}
    assert called <= {"lion", "dvc", *OTHERS, *SHELL}


def sections(page: Path) -> Iterator[dict[str, Any]]:
    """Yield the YAML blocks that are about params.yaml."""
    known = set(settings.Settings.model_fields)
    for text in blocks(page, "yaml"):
        document = yaml.safe_load(text)
        if set(document) <= known:
            yield document


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_setting_of_the_pages_is_taken(tmp_path: Path, page: Path) -> None:
    """Each block stands alone, in a project of three iterations."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "params.yaml"
    for document in sections(page):
        path.write_text(yaml.safe_dump(merged(params, document)), encoding="utf-8")
        project.load_settings(path)


def merged(old: Any, new: Any) -> Any:
    """Return `old` with the values of `new`, section by section."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "reference.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# --- the tutorials, from top to bottom


def follow(mine: Project, lines: list[str], **environment: str) -> dict[str, str]:
    """Run command lines as a reader would; return what each printed. `make run` is `lion run`."""
    told = {}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line.replace("make run", "lion run")],
            cwd=mine.root,
            env={**mine.environment(), **names(), "PYTHONPATH": str(mine.root), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}"
        told[line] = done.stdout
    return told


def names() -> dict[str, str]:
    """Return who commits."""
    whose = {"NAME": "A reader", "EMAIL": "reader@example.invalid"}
    return {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in whose.items()}


@pytest.mark.slow
def test_the_tutorial_is_walked_from_top_to_bottom(tmp_path: Path) -> None:
    lines = commands(ROOT / "docs" / "tutorials" / "demonstration.md")
    mine = Project.of_working_tree(tmp_path / "project", "ci")
    mine.edit(TINY)
    mine.append_iteration("2", "1")
    mine.append_iteration("3", "2")
    mine.git("checkout", "--quiet", "-b", "main")
    mine.commit()

    pulled = lines.index("dvc pull")
    fourth = lines.index("lion plan")
    first = follow(mine, lines[:fourth])
    assert "Running stage" not in first["dvc repro"]
    mine.append_iteration("4", "3")
    later = follow(mine, lines[fourth:pulled])
    assert "4" in later["lion diff 3 4"]

    theirs = mine.clone(tmp_path / "theirs")
    elsewhere = follow(theirs, lines[pulled:])
    assert "Running stage" not in elsewhere["dvc repro"]
    assert theirs.replies() == 0, "nobody was asked"


# what makes the profile small: no text of the page names these
SMALL: Mapping[str, Any] = {
    "seed.holdout": 30,
    "student.dtype": "float32",
    "decontaminate.ngram": None,  # the embedded families are templates
    "respond.limit": 20,
    "answering.max_tokens": 8,
    "review.limit": 20,
    "generate.hard": 6,
    "generate.easy": 6,
    "generate.novelty": 0.995,
    "generate.min_acceptance": 0.0,
    "tune.epochs": None,
    "tune.steps": 3,
    "tune.batch_size": 8,
    "tune.max_length": 512,
    "split.tau": -10.0,
    "evaluate.quality": 10,
    "evaluate.resamples": 50,
    "hardware.micro_batch": None,
    "iterations": {"1": {"previous": "0", "generate": {}, "tune": {}}},
}


@pytest.mark.slow
def test_the_tutorial_of_ones_own_is_walked_from_top_to_bottom(tmp_path: Path) -> None:
    """With the embedded teacher as the server that wants a key and has a price."""
    page = ROOT / "docs" / "tutorials" / "general-assistant.md"
    lines = commands(page)
    mine = Project.of_working_tree(tmp_path / "project", "default")
    follow(mine, lines[:1])
    tiny.folder(tmp_path / "student")
    tasks = task_families.pool(150, random_seed=5, skew=0.5)
    rows = [{"instruction": task.instruction} for task in tasks]
    jsonl_lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (mine.root / "inputs" / "my_instructions.jsonl").write_text(jsonl_lines, encoding="utf-8")
    (mine.root / "prices.yaml").write_text("oracle-1: {input: 0.1, output: 0.4}\n")
    with server.running() as url:
        params = mine.settings()
        for document in sections(page):
            params = merged(params, document)
        (mine.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        roles = ("teacher", "referee", "generator")
        mine.edit({f"{role}.base_url": url for role in roles})
        mine.edit({f"{role}.model": "oracle-1" for role in roles})
        mine.edit({**SMALL, "student.model": str(tmp_path / "student"), "tune.max_length": 128})
        mine.commit()
        told = follow(mine, lines[1:], OPENAI_API_KEY="a-key-of-the-test")
    assert "$" in told["lion plan"]
    assert "$" in told["lion costs"]
    assert list((mine.root / "out" / "student").glob("*.safetensors"))

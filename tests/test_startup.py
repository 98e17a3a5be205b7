"""What starts at once: no command and no stage loads what it does not use.

Commands import at the top of their modules, and `lion.cli` imports a command when it is called:
the tables below are what keeps a heavy library out of a quick command.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from fixtures import Workplace

from lion.cli import COMMANDS, main

HEAVY = {"torch", "transformers"}  # seconds
CLIENT = {"openai", "aiohttp"}  # 0.4 s
SLOW = {"polars", "scipy", "dvc", "pydantic", *CLIENT, *HEAVY}
COMMAND_LINES = {  # -> what it must not load, whether or not the project has data
    "--help": SLOW | {"rich"},
    "profile": SLOW,
    "new --help": SLOW,
    "table": SLOW - {"pydantic"},
    "check --offline": SLOW - {"pydantic", "dvc"},  # what DVC would refuse
    "make-room --dry-run": HEAVY | CLIENT | {"scipy", "polars"},
    "plan": HEAVY | CLIENT | {"scipy", "polars"},
    "ledger": HEAVY | CLIENT | {"scipy", "dvc"},
    "costs": HEAVY | CLIENT | {"scipy", "dvc"},
    "curve": HEAVY | CLIENT | {"dvc"},
    "show": SLOW - {"polars", "pydantic"},  # --exam marks by params
    "trace 6a7c": HEAVY | CLIENT | {"scipy", "dvc"},
    "report": HEAVY | CLIENT | {"scipy", "dvc"},
    "diff workspace: workspace:": SLOW - {"polars"},
    "batch": HEAVY | {"scipy", "polars", "dvc"},
    "ask --file nowhere": SLOW - {"pydantic"},
    "chat": SLOW - {"pydantic"},  # ends where no student is tuned yet
    "export out": SLOW - {"pydantic"},
    "serve-student": SLOW - {"pydantic"},
    "delta make --help": SLOW,
    "exam --help": SLOW - {"pydantic"},
    "verify-remote --help": SLOW,
    "serve-teacher --help": SLOW - {"aiohttp"},
    "run --help": SLOW - {"pydantic", "polars"},
}
STAGES = {
    "stages.seed": HEAVY,
    "stages.teach": HEAVY,
    "stages.review": HEAVY,
    "stages.split": HEAVY | {"openai", "aiohttp"},
    "stages.generate": HEAVY,
    "stages.report": HEAVY | {"openai", "aiohttp"},
    "stages.certify": HEAVY,
}


def loaded(program: str) -> set[str]:
    """Return the top-level modules that `program` loads in a process of its own."""
    tail = "\nimport json, sys; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    found = subprocess.run(
        [sys.executable, "-c", program + tail], capture_output=True, text=True, check=True
    )
    return set(json.loads(found.stdout.splitlines()[-1]))


_RUN = """
import sys
from lion.cli import main
try:
    main({arguments!r})
except SystemExit as ended:
    assert ended.code in (0, 1, 2), ended.code
"""


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_loads_nothing_heavy_that_it_does_not_use(
    line: str, workplace: Workplace
) -> None:
    (workplace.path / ".dvc").mkdir()
    (workplace.path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    found = loaded(_RUN.format(arguments=shlex.split(line)))
    assert found & COMMAND_LINES[line] == set()


def test_every_command_has_a_limit() -> None:
    assert {line.split()[0] for line in COMMAND_LINES} == {"--help", *COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_leads_to_the_command(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.short_help is None, "the table of lion.cli has it"


@pytest.mark.parametrize("module", STAGES)
def test_a_stage_without_a_model_loads_no_torch(module: str) -> None:
    assert not loaded(f"import {module}") & STAGES[module]


_COMPLETE = """
import os
os.environ.update(COMP_WORDS="lion ch", COMP_CWORD="1", _LION_COMPLETE="bash_complete")
from lion.cli import main
try:
    main(prog_name="lion")
except SystemExit:
    print()
"""


def test_completion_loads_nothing_slow() -> None:
    """Commands of an older kind were all loaded by a press of the tab key."""
    assert not loaded(_COMPLETE) & SLOW


def test_names_are_completed() -> None:
    found = main.shell_complete(click.Context(main), "ch")
    assert [(one.value, one.help) for one in found] == [
        ("check", COMMANDS["check"].short_help),
        ("chat", COMMANDS["chat"].short_help),
    ]


def test_what_is_looked_for_would_be_found() -> None:
    assert "openai" in loaded("import lion.llm.sender")


def cpu_seconds(*command: str) -> tuple[str, float]:
    """Return what a process prints, and the seconds of CPU that it alone takes."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return shown, usage.ru_utime + usage.ru_stime


def test_help_appears_at_once() -> None:
    """The best of three, in CPU seconds, since other processes use the machine too."""
    seconds = []
    for _ in range(3):
        shown, used = cpu_seconds(str(Path(sys.executable).parent / "lion"), "--help")
        assert "Usage: lion" in shown
        seconds.append(used)
    assert min(seconds) < 0.6, seconds

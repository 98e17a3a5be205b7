"""The `lion` command: a table of its commands, each imported when it is called.

So `lion --help` and a quick command import no library of another command, and the modules of
`lion.cli` import what they need at their top. tests/test_startup.py lists the limits.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from lion import __version__


class LazyCommand(NamedTuple):
    """A command to import: `module:attribute`, and its line in the help."""

    target: str
    short_help: str


# in the order of use, which is the order of `lion --help`
COMMANDS = {
    "run": LazyCommand("run:run_command", "Check, run the pipeline, print the table."),
    "check": LazyCommand("check:check_command", "Find what would stop a run."),
    "make-room": LazyCommand(
        "make_room:make_room_command",
        "Remove the students that `hardware.keep_students` does not keep.",
    ),
    "table": LazyCommand("table:table_command", "Print the iterations side by side."),
    "curve": LazyCommand("curve:curve_command", "Accuracy against the number of given rows."),
    "profile": LazyCommand("profile:profile_command", "List the profiles, or switch to one."),
    "new": LazyCommand("new:new_command", "Make a project for another task from this one."),
    "serve-teacher": LazyCommand(
        "serve_teacher:serve_teacher_command", "Serve the embedded teacher to any client."
    ),
    "diff": LazyCommand("diff:diff_command", "Compare two pools: iterations, revisions, files."),
    "show": LazyCommand("show:show_command", "Browse a pool: filter, sort, search."),
    "trace": LazyCommand("trace:trace_command", "Follow one instruction from seed to verdicts."),
    "report": LazyCommand("report:report_command", "Write the report page, one HTML file."),
    "ask": LazyCommand("ask:ask_command", "What a student may answer itself, by its certificate."),
    "chat": LazyCommand("student:chat_command", "Talk to a student."),
    "export": LazyCommand(
        "student:export_command", "Write a student for others: merged weights and a model card."
    ),
    "delta": LazyCommand("delta:delta_group", "A student's weights as a difference to its base."),
    "serve-student": LazyCommand("student:serve_student_command", "Serve a student to any client."),
    "plan": LazyCommand("plan:plan_command", "What is still to be asked, and what it will cost."),
    "ledger": LazyCommand("ledger:ledger_group", "The replies already paid for."),
    "costs": LazyCommand("ledger:costs_command", "What was paid, by stage."),
    "batch": LazyCommand("batch:batch_group", "The batches that are at work."),
    "verify-remote": LazyCommand(
        "verify_remote:verify_remote_command",
        "Find damaged objects in the remote, and repair them.",
    ),
    "exam": LazyCommand("exam:exam_group", "Standard exams: open-ended reviews, BBH and AGIEval."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def __init__(
        self, *, package: str, entries: Mapping[str, LazyCommand], **attributes: Any
    ) -> None:
        super().__init__(**attributes)
        self._package = package
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command, or return None where the table has no such name."""
        if cmd_name not in self._entries:
            return None
        module, _, attribute = self._entries[cmd_name].target.partition(":")
        command: click.Command = getattr(import_module(f"{self._package}.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write names and short helps from the table: click itself would import every command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in self._entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names from the table, for the same reason."""
        names = [
            CompletionItem(name, help=entry.short_help)
            for name, entry in self._entries.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(
    cls=LazyGroup,
    package="lion.cli",
    entries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="lion")
def main() -> None:
    """Lion: distil an LLM behind an API into a small student of your own.

    \b
    lion run                 check, then `dvc repro`, then the table
    lion profile lab         another params.yaml
    lion check               what would stop a run, before anything is spent
    """

"""`lion ask`: requests through a student and its certified threshold."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lion import console
from lion.certify.decision import Decision
from lion.config import project
from lion.config.settings import Settings
from lion.errors import DataError, SettingsError
from lion.escape import inert
from lion.pipeline.stage import Work
from lion.records.rows import Instruction
from lion.serving import ask

_HANDED_BACK, _TROUBLE = 1, 2


@click.command("ask")
@click.argument("request", required=False)
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Requests in any format of a pool; prints one JSON object a line.",
)
@click.option("--iteration", metavar="K", help="Whose student; else the last of certify.students.")
@click.option(
    "--agreement",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    metavar="PERCENT",
    help="The promise to keep; else certify.agreement.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
def ask_command(
    request: str | None,
    path: Path | None,
    iteration: str | None,
    agreement: float | None,
    as_json: bool,
) -> None:
    """Answer REQUEST by the student where its certificate lets it; else hand it back, and say why.

    \b
    lion ask "Is 17 odd or even?"
    echo "Is 17 odd or even?" | lion ask -
    lion ask --file requests.jsonl --agreement 95 > decisions.jsonl

    The teacher is never asked. Exit codes: 0 the student answered (every request); 1 handed back
    (at least one); 2 trouble.
    """
    with console.error_boundary(exit_code=_TROUBLE):
        settings = project.load_settings()
        rows = _requests(request, path, settings)
        name = _chosen(iteration, settings)
        student = ask.CertifiedStudent.load(name, settings, Work("ask", name, settings))
        decisions = student.answer(rows, None if agreement is None else agreement / 100)
        if path is None and not as_json:
            _show(decisions[0])
        else:
            _write(rows, decisions)
    sys.exit(0 if all(decision.answered for decision in decisions) else _HANDED_BACK)


def _requests(request: str | None, path: Path | None, settings: Settings) -> list[Instruction]:
    if (request is None) == (path is None):
        raise DataError("name one REQUEST (`-` reads it from the input), or --file")
    if path is not None:
        return ask.requests_in(path, settings)
    text = sys.stdin.read() if request == "-" else str(request)
    return [ask.request_of(text, settings)]


def _chosen(iteration: str | None, settings: Settings) -> str:
    if iteration is not None:
        return iteration
    if not settings.certify.students:
        raise SettingsError(
            "no student is certified. Name one in certify.students, set exam.certify, and run "
            "`lion run` (docs/concepts/certificate.md)."
        )
    return settings.certify.students[-1]


def _show(decision: Decision) -> None:
    """Print the answer; what else there is to say goes to the other stream."""
    if decision.text is not None:
        click.echo(inert(decision.text))
        click.echo(f"({decision.explanation})", err=True)
    else:
        click.echo(f"handed back: {decision.explanation}", err=True)


def _write(rows: Sequence[Instruction], decisions: Sequence[Decision]) -> None:
    for row, decision in zip(rows, decisions, strict=True):
        document = {
            "id": row.id,
            "answered": decision.answered,
            "answer": decision.text,
            "why": decision.why,
            "explanation": decision.explanation,
            "uncertainty": decision.uncertainty,
            "uncertainty_limit": decision.limit,
        }
        click.echo(json.dumps(document, ensure_ascii=False))

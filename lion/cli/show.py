"""`lion show`: browse a pool."""

from typing import Literal

import click
import orjson

from lion import console
from lion.config import project
from lion.pipeline import revisions
from lion.reporting import browse, case_studies, exam_rows, snapshot


@click.command("show")
@click.argument("place", default="workspace:")
@click.option("--pool", type=click.Choice(["cache", "train"]), default="cache", show_default=True)
@click.option("--hard", "difficulty", flag_value="hard", help="Hard rows, by the split.")
@click.option("--easy", "difficulty", flag_value="easy", help="Easy rows.")
@click.option("--undecided", "difficulty", flag_value="undecided", help="Without a verdict's gap.")
@click.option(
    "--gap",
    metavar="RANGE",
    help="As 3.. or ..2 or 1..3; nats per token where the likelihood judged.",
)
@click.option("--origin", type=click.Choice(["seed", "hard", "easy"]), help="How it was made.")
@click.option("--iteration", help="The iteration that brought it.")
@click.option("--domain", help="What it is about: `writing`, or a row's own label.")
@click.option("--category", help="Its task, where the file said so.")
@click.option("--parent", metavar="ID", help="Made from this one; the first digits do.")
@click.option("--id", "identity", metavar="ID", help="This one, whole; the first digits do.")
@click.option("--search", metavar="TEXT", help="In instruction or answers, upper case or lower.")
@click.option(
    "--sort",
    "order",
    type=click.Choice(["pool", "gap", "-gap", "length", "-length"]),
    default="pool",
    show_default=True,
    help="With a minus the largest first.",
)
@click.option(
    "-n", "--limit", type=click.IntRange(0), default=20, show_default=True, help="0: all of them."
)
@click.option("--exam", "examined", is_flag=True, help="The exam's rows instead, as answered.")
@click.option("--wrong", is_flag=True, help="With --exam: those that the student failed.")
@click.option(
    "--student",
    "students",
    multiple=True,
    metavar="K",
    help="With --exam: the answers of the students of these iterations side by side.",
)
@click.option("--whole", is_flag=True, help="Cut no text.")
@click.option("--json", "as_json", is_flag=True, help="Print rows as JSON lines, whole.")
def show_command(
    place: str,
    pool: Literal["cache", "train"],
    order: str,
    limit: int,
    whole: bool,
    as_json: bool,
    examined: bool,
    wrong: bool,
    students: tuple[str, ...],
    identity: str | None,
    **criteria: str | None,
) -> None:
    """Browse the pool of PLACE: each row with its answers and its latest verdict.

    \b
    lion show --hard --gap 3.. --sort=-gap
    lion show 2 --domain writing --search "haiku"
    lion show HEAD~3:1 --origin hard --json | jq .instruction
    lion show --id 6a7c
    lion show 2 --exam --wrong
    lion show --exam --student 0 --student 3
    """
    if (wrong or students) and not examined:
        raise click.UsageError("--wrong and --student belong to --exam")
    if students:
        _show_cases(place, students, limit, wrong=wrong, whole=whole, as_json=as_json)
        return
    if examined:
        _show_exam(place, limit, wrong=wrong, whole=whole, as_json=as_json)
        return
    with console.error_boundary():
        with revisions.open_trees() as trees:
            shown_place = trees.place(place)
            rows = snapshot.judged_pool(shown_place, pool)
            stale = revisions.stale_notice(shown_place, f"{pool}_pool.jsonl", "verdicts.jsonl")
        matching = browse.select_rows(rows, browse.RowFilter(id=identity, **criteria), order)
        shown = matching if limit == 0 else matching.head(limit)
        if as_json:
            for row in shown.iter_rows(named=True):
                click.echo(orjson.dumps(browse.json_row(row)))
        else:
            with console.paged():
                console.stdout.print(browse.rows_as_text(shown, whole or identity is not None))
        emptied = browse.emptied_by(rows, browse.RowFilter(id=identity, **criteria))
    console.say(f"{shown.height:,} of {matching.height:,} rows; the pool has {rows.height:,}")
    for sentence in filter(None, (emptied, stale)):
        console.say(sentence)


def _show_exam(place: str, limit: int, *, wrong: bool, whole: bool, as_json: bool) -> None:
    """Print the exam's rows with both answers, or those that the student failed."""
    with console.error_boundary():
        settings = project.load_settings()
        with revisions.open_trees() as trees:
            shown_place = trees.place(place)
            rows = exam_rows.exam_rows(shown_place, settings)
            stale = revisions.stale_notice(exam_rows.examined_place(shown_place), exam_rows.ANSWERS)
        matching = exam_rows.wrong_rows(rows, settings.exam.scorer) if wrong else rows
        shown = matching if limit == 0 else matching[:limit]
        if as_json:
            for row in shown:
                click.echo(orjson.dumps(exam_rows.row_as_json(row)))
        else:
            with console.paged():
                console.stdout.print(exam_rows.exam_rows_as_text(shown, whole))
    console.say(f"{len(shown):,} of {len(matching):,} rows; the exam has {len(rows):,}")
    if stale is not None:
        console.say(stale)


def _show_cases(
    place: str, students: tuple[str, ...], limit: int, *, wrong: bool, whole: bool, as_json: bool
) -> None:
    """Print the exam's rows with the answers of several students, or those that one failed."""
    with console.error_boundary():
        settings = project.load_settings()
        with revisions.open_trees() as trees:
            rows = case_studies.case_studies(trees.place(place), students, settings)
        matching = [row for row in rows if row.failed] if wrong else rows
        shown = matching if limit == 0 else matching[:limit]
        if as_json:
            for row in shown:
                click.echo(orjson.dumps(case_studies.case_as_json(row)))
        else:
            with console.paged():
                console.stdout.print(case_studies.case_studies_as_text(shown, whole))
    console.say(f"{len(shown):,} of {len(matching):,} rows; the exam has {len(rows):,}")

"""`lion exam`: standard examinations outside the pipeline, of files that exist already."""

import json
from pathlib import Path

import click

from lion import console

_CONFIDENCE, _RESAMPLES = 0.95, 2000
_File = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(short_help="Standard exams: open-ended reviews, BBH and AGIEval.")
def exam() -> None:
    """Read the reviews and answers of standard examinations.

    \b
    lion exam reviews question.jsonl reviews.jsonl
    lion exam reasoning inputs/bbh inputs/agieval --student data/3/student
    """


@exam.command(short_help="What a file of reviews comes to.")
@click.argument("questions", type=_File)
@click.argument("reviews", type=_File)
@click.option("--candidate", type=click.Choice(["1", "2"]), default="1", show_default=True)
@click.option("--answers", type=_File, nargs=2, help="Answers of assistants 1 and 2, for length.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def reviews(
    questions: Path,
    reviews: Path,
    candidate: str,
    answers: tuple[Path, Path] | None,
    seed: int,
    as_json: bool,
) -> None:
    """Print the sums, the quality and the win rates of REVIEWS, by the categories of QUESTIONS.

    From the scores that the file brings, and from those read in its texts; every difference
    between the two is listed. The quality is that of --candidate against the other one.
    """
    from lion.evaluation import reports, vicuna
    from lion.evaluation.measures import Bootstrap

    with console.error_boundary():
        asked = vicuna.questions(questions)
        by_key = {one.key: one for one in vicuna.reviews(reviews)}
        found = vicuna.join(asked, by_key, reviews)
        written = (
            [vicuna.join(asked, vicuna.answers(path), path) for path in answers]
            if answers
            else None
        )
        document = reports.of_reviews(
            asked, found, written, int(candidate), Bootstrap(_CONFIDENCE, _RESAMPLES, seed)
        )
        if as_json:
            click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            console.stdout.print(reports.reviews_table(document))

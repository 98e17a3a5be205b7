"""`lion exam`: standard exams outside the pipeline."""

import json
from pathlib import Path
from typing import Literal

import click
import msgspec

from lion import console
from lion.config import project
from lion.config.settings import Exams
from lion.evaluation import multiple_choice, open_exam
from lion.evaluation.open_exam import OpenExam
from lion.inference.respondent import Respondent
from lion.pipeline.stage import Work
from lion.readers import official_exams as official
from lion.reporting import exam_tables
from lion.statistics import Bootstrap

_CONFIDENCE, _RESAMPLES = 0.95, 2000
_Folder = click.Path(exists=True, file_okay=False, path_type=Path)
_File = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("exam")
def exam_group() -> None:
    """Read the reviews and answers of standard examinations.

    \b
    lion exam reviews question.jsonl reviews.jsonl
    lion exam reasoning inputs/bbh inputs/agieval --student data/3/student
    """


@exam_group.command("open", short_help="Let the referee compare answers to open questions.")
@click.argument("questions", type=_File)
@click.argument("reference")
@click.argument("candidate")
@click.option(
    "--setting",
    type=click.Choice(["1", "2"]),
    default="2",
    show_default=True,
    help="1: scores first, the reference first; 2: evidence first, both orders.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def open_exam_command(
    questions: Path, reference: str, candidate: str, setting: str, as_json: bool
) -> None:
    """Let evaluation's referee compare CANDIDATE's answers to QUESTIONS with REFERENCE's.

    \b
    lion exam open question.jsonl answer_gpt35.jsonl data/3/student
    lion exam open question.jsonl teacher data/3/student --setting 1

    Both are a file of answers, a student's folder, or `teacher`, the endpoint of params.yaml.
    Replies are kept in the ledger: the same exam again is free.
    """
    with console.error_boundary():
        settings = project.load_settings()
        work = Work("exam", project.BASE, settings)
        exam = OpenExam(
            open_exam.read_questions(questions),
            settings,
            work,
            work.prompts("teacher", "referee"),
            respondent=lambda folder: _checkpoint(work, folder),
        )
        document = exam.compare(reference, candidate, scores_first=setting == "1")
        if as_json:
            click.echo(json.dumps(msgspec.to_builtins(document), indent=2, ensure_ascii=False))
        else:
            console.stdout.print(exam_tables.open_table(document))


def _checkpoint(work: Work, folder: Path) -> Respondent:
    """Return the student of a folder, which responds here even if params name a server.

    Freely: open questions have no answers in the form of the project's exam.
    """
    student = work.settings.student.model_copy(update={"endpoint": None})
    answering = work.settings.answering.model_copy(update={"form": "text"})
    settings = work.settings.model_copy(update={"student": student, "answering": answering})
    name = folder.parent.name
    return Respondent(folder, name, settings, work, work.unfinished, work.progress)


@exam_group.command("reasoning", short_help="Give a student the BBH or AGIEval exam.")
@click.argument("folders", type=_Folder, nargs=-1, required=True)
@click.option("--student", type=_Folder, required=True, help="A checkpoint's folder.")
@click.option(
    "--scoring",
    type=click.Choice(["first_letter", "stated", "likelihood"]),
    default="first_letter",
    show_default=True,
)
@click.option("--max-tokens", type=click.IntRange(1), default=16, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def reasoning_command(
    folders: tuple[Path, ...],
    student: Path,
    scoring: Literal["first_letter", "stated", "likelihood"],
    max_tokens: int,
    batch_size: int,
    as_json: bool,
) -> None:
    """Give --student the official files in FOLDERS, zero-shot; print each task beside chance.

    Prompt format and precision are those of params.yaml's `student`.
    """
    names = [str(folder) for folder in folders]
    exams = Exams(students=[], folders=names, scoring=scoring, max_tokens=max_tokens)
    with console.error_boundary():
        settings = project.load_settings()
        with console.progress("exam") as update:
            taken = multiple_choice.take_exams(
                multiple_choice.read_exams(exams),
                student=student,
                settings=settings.student,
                exams=exams,
                answering=settings.answering.model_copy(update={"batch_size": batch_size}),
                random_seed=settings.random_seed,
                progress=update,
            )
        document = multiple_choice.exam_accuracies(
            taken.choices, Bootstrap(_CONFIDENCE, _RESAMPLES, 0)
        )
        if as_json:
            click.echo(json.dumps(msgspec.to_builtins(document), indent=2, ensure_ascii=False))
        else:
            for name, accuracy in document.items():
                console.stdout.print(exam_tables.reasoning_table(name, accuracy))


@exam_group.command("lm-eval", short_help="Write BBH or AGIEval as tasks of lm-eval.")
@click.argument("folders", type=_Folder, nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--max-tokens", type=click.IntRange(1), default=16, show_default=True)
@click.option("--chat/--paper", default=True, help="Bare questions, or the paper's prompt format.")
def lm_eval_command(folders: tuple[Path, ...], out: Path, max_tokens: int, chat: bool) -> None:
    """Write the official files in FOLDERS as task files, for lm-eval to run on any model.

    \b
    lion exam lm-eval inputs/bbh --out tasks
    lm_eval --model hf --model_args pretrained=data/3/student --include_path tasks \\
      --tasks lion_bbh,lion_bbh_likelihood --apply_chat_template
    """
    with console.error_boundary():
        items = [item for folder in folders for item in official.read_items(folder)]
        count = multiple_choice.write_tasks(items, out, max_tokens=max_tokens, chat=chat)
    console.say(f"{count} tasks in {out}; the lines to run them: lion exam lm-eval --help")


@exam_group.command("reviews", short_help="What a file of reviews comes to.")
@click.argument("questions", type=_File)
@click.argument("reviews", type=_File)
@click.option("--candidate", type=click.Choice(["1", "2"]), default="1", show_default=True)
@click.option("--answers", type=_File, nargs=2, help="Answers of assistants 1 and 2, for length.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def reviews_command(
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
    with console.error_boundary():
        question_rows = open_exam.read_questions(questions)
        by_key = {review.key: review for review in open_exam.read_reviews(reviews)}
        ordered_reviews = open_exam.join(question_rows, by_key, reviews)
        written = (
            [open_exam.join(question_rows, open_exam.read_answers(path), path) for path in answers]
            if answers
            else None
        )
        document = exam_tables.of_reviews(
            question_rows,
            ordered_reviews,
            written,
            int(candidate),
            Bootstrap(_CONFIDENCE, _RESAMPLES, seed),
        )
        if as_json:
            click.echo(json.dumps(msgspec.to_builtins(document), indent=2, ensure_ascii=False))
        else:
            console.stdout.print(exam_tables.reviews_table(document))

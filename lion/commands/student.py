"""`lion chat`, `export`, `delta` and `serve-student`: what people do with a student."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lion import console

if TYPE_CHECKING:
    from lion.settings import Settings

_iteration = click.option(
    "--iteration", metavar="K", help="Whose student; without it, the last one that was tuned."
)


@click.command(short_help="Talk to a student.")
@_iteration
@click.option("--beside", type=click.Choice(["teacher"]), help="Show its answer, too (paid).")
@click.option("--temperature", type=click.FloatRange(0), help="0: greedy; else as in params.yaml.")
def chat(iteration: str | None, beside: str | None, temperature: float | None) -> None:
    """Talk to a student in the terminal; an empty line starts anew, Ctrl-D ends.

    \b
    lion chat
    lion chat --iteration 1 --beside teacher
    """
    from lion.model import student

    with console.error_boundary():
        settings, name, folder = _chosen(iteration)
        student.load_libraries()
        from lion.commands import talking

        warmth = settings.answering.temperature if temperature is None else temperature
        talker = talking.Talker(folder, settings, warmth)
        console.say(f"student {name}; an empty line starts anew, Ctrl-D ends")
        with talking.teacher(settings) if beside else nullcontext() as teacher:
            talking.talk(_listen, console.say, talker, teacher)


@click.command(short_help="Write a student for others: merged weights and a model card.")
@click.argument("out", type=click.Path(path_type=Path))
@_iteration
@click.option("--licence", help="The student's, for the card; else the base model's own.")
def export(out: Path, iteration: str | None, licence: str | None) -> None:
    """Write a student to OUT, ready for `from_pretrained`, vLLM and converters to GGUF.

    Its model card tells data, lineage, scores, params and licences, filled in from the run.
    """
    from lion.commands import card
    from lion.model import student

    with console.error_boundary():
        settings, name, folder = _chosen(iteration)
        text = card.card(settings, name, licence)
        student.load_libraries()
        from lion.model import exporting

        exporting.export(folder, settings.student, out)
        (out / "README.md").write_text(text, encoding="utf-8")
        console.say(f"student {name} is in {out}; README.md is its model card")


@click.group(short_help="A student's weights as a difference to its base.")
def delta() -> None:
    """Share what was learnt alone: a student's weights as a difference to its base model."""


@delta.command()
@click.argument("student", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("base", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
def make(student: Path, base: Path, out: Path) -> None:
    """Write the difference of the checkpoint STUDENT (see `lion export`) to BASE into OUT."""
    from lion.model import delta as deltas

    with console.error_boundary():
        differences, whole = deltas.make(student, base, out)
        console.say(f"{differences} tensors as differences and {whole} whole in {out}")


@delta.command()
@click.argument("difference", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("base", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
def recover(difference: Path, base: Path, out: Path) -> None:
    """Write the student that DIFFERENCE was made of, from the same BASE, into OUT."""
    from lion.model import delta as deltas

    with console.error_boundary():
        count = deltas.recover(difference, base, out)
        console.say(f"{count} tensors in {out}, each as it was")


@click.command("serve-student", short_help="Serve a student to any client.")
@_iteration
@click.option("--port", type=click.IntRange(1, 65535), default=8098, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def serve_student(iteration: str | None, port: int, host: str) -> None:
    """Serve a student by vLLM where it is installed, else by `transformers serve`.

    `student.endpoint` in params.yaml lets `dvc repro` answer through it. On another address than
    loopback clients have to send the token in LION_SERVER_TOKEN, which vLLM alone can ask for.
    """
    from lion.model import serving, student

    with console.error_boundary():
        settings, name, folder = _chosen(iteration)
        student.load_libraries()
        sys.exit(serving.serve(folder, name, settings, host, port))


def _chosen(iteration: str | None) -> "tuple[Settings, str, Path]":
    """Return settings, iteration and folder. Raises ModelError where there is no such student."""
    from lion import project
    from lion.errors import ModelError
    from lion.model import student

    settings = project.load_settings()
    names = [project.BASE, *settings.iterations]
    if iteration is None:
        tuned = [name for name in names if project.data(name, "student").is_dir()]
        if not tuned:
            raise ModelError("no student is tuned yet. Run `lion run`, or `dvc checkout`.")
        iteration = tuned[-1]
    if iteration not in names:
        raise ModelError(f"there is no iteration {iteration}; params.yaml has {', '.join(names)}")
    folder = project.data(iteration, "student")
    student.resolve(folder)
    return settings, iteration, folder


def _listen() -> str | None:
    try:
        return console.stdout.input("you: ")
    except EOFError:
        return None

"""The commands about one student: `lion chat`, `lion export` and `lion serve-student`."""

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from lion import console
from lion.config import project
from lion.config.settings import Settings
from lion.conversations import TaskTemplate
from lion.errors import ModelError
from lion.reporting import model_card
from lion.serving import export, server
from lion.student import checkpoint

iteration_option = click.option(
    "--iteration", metavar="K", help="Whose student, a baseline's too; else the last one tuned."
)


def chosen_student(iteration: str | None) -> tuple[Settings, str, Path]:
    """Return settings, iteration or baseline, and folder.

    Without a name: the last iteration that was tuned; no baseline. Raises ModelError where there is
    no such student.
    """
    settings = project.load_settings()
    loop = [project.BASE, *settings.iterations]
    names = [*loop, *settings.baselines]
    if iteration is None:
        tuned = [name for name in loop if project.data(name, "student").is_dir()]
        if not tuned:
            raise ModelError("no student is tuned yet. Run `lion run`, or `dvc checkout`.")
        iteration = tuned[-1]
    if iteration not in names:
        raise ModelError(f"there is no iteration {iteration}; params.yaml has {', '.join(names)}")
    folder = project.data(iteration, "student")
    checkpoint.resolve(folder)
    return settings, iteration, folder


@click.command("chat")
@iteration_option
@click.option("--beside", type=click.Choice(["teacher"]), help="Show its answer, too (paid).")
@click.option("--temperature", type=click.FloatRange(0), help="0: greedy; else as in params.yaml.")
def chat_command(iteration: str | None, beside: str | None, temperature: float | None) -> None:
    """Talk to a student in the terminal; an empty line starts a new chat, Ctrl-D ends.

    \b
    lion chat
    lion chat --iteration 1 --beside teacher
    """
    with console.error_boundary():
        settings, name, folder = chosen_student(iteration)
        checkpoint.load_libraries()
        from lion.serving import chat

        warmth = settings.answering.temperature if temperature is None else temperature
        talker = chat.Talker(folder, settings, warmth)
        task = TaskTemplate.declared(settings.task)
        request = f"; each line is a request: {task.form()}" if task else ""
        console.say(f"student {name}{request}; an empty line starts a new chat, Ctrl-D ends")
        with chat.teacher(settings) if beside else nullcontext() as teacher:
            chat.talk(_listen, console.say, talker, teacher, task)


def _listen() -> str | None:
    try:
        return console.stdout.input("you: ")
    except EOFError:
        return None


@click.command("export")
@click.argument("out", type=click.Path(path_type=Path))
@iteration_option
@click.option("--licence", help="The student's, for the card; else the base model's own.")
def export_command(out: Path, iteration: str | None, licence: str | None) -> None:
    """Write a student to OUT, ready for `from_pretrained`, vLLM and converters to GGUF.

    Its model card tells data, lineage, scores, params and licences, filled in from the run.
    """
    with console.error_boundary():
        settings, name, folder = chosen_student(iteration)
        text = model_card.model_card(settings, name, licence)
        checkpoint.load_libraries()
        export.export_student(folder, settings.student, out)
        (out / "README.md").write_text(text, encoding="utf-8")
        console.say(f"student {name} is in {out}; README.md is its model card")


@click.command("serve-student")
@iteration_option
@click.option("--port", type=click.IntRange(1, 65535), default=8098, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def serve_student_command(iteration: str | None, port: int, host: str) -> None:
    """Serve a student by vLLM where it is installed, else by `transformers serve`.

    `student.endpoint` in params.yaml lets `dvc repro` answer through it. On another address than
    loopback clients have to send the token in LION_SERVER_TOKEN, which vLLM alone can ask for.
    """
    with console.error_boundary():
        settings, name, folder = chosen_student(iteration)
        checkpoint.load_libraries()
        sys.exit(server.serve_student(folder, name, settings, host, port))

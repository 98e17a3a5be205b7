"""`lion chat`: talk to a student in the terminal."""

from contextlib import nullcontext

import click

from lion import console
from lion.cli.students import chosen_student, iteration_option
from lion.student import checkpoint


@click.command("chat")
@iteration_option
@click.option("--beside", type=click.Choice(["teacher"]), help="Show its answer, too (paid).")
@click.option("--temperature", type=click.FloatRange(0), help="0: greedy; else as in params.yaml.")
def chat_command(iteration: str | None, beside: str | None, temperature: float | None) -> None:
    """Talk to a student in the terminal; an empty line starts anew, Ctrl-D ends.

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
        console.say(f"student {name}; an empty line starts anew, Ctrl-D ends")
        with chat.teacher(settings) if beside else nullcontext() as teacher:
            chat.talk(_listen, console.say, talker, teacher)


def _listen() -> str | None:
    try:
        return console.stdout.input("you: ")
    except EOFError:
        return None

"""`lion delta`: a student's weights as a difference to its base."""

from pathlib import Path

import click

from lion import console

_Checkpoint = click.Path(path_type=Path, exists=True, file_okay=False)
_Out = click.Path(path_type=Path)


@click.group("delta")
def delta_group() -> None:
    """Share what was learnt alone: a student's weights as a difference to its base model."""


@delta_group.command("make")
@click.argument("student", type=_Checkpoint)
@click.argument("base", type=_Checkpoint)
@click.argument("out", type=_Out)
def make_delta(student: Path, base: Path, out: Path) -> None:
    """Write the difference of the checkpoint STUDENT (see `lion export`) to BASE into OUT."""
    from lion.serving import delta

    with console.error_boundary():
        differences, whole = delta.make(student, base, out)
        console.say(f"{differences} tensors as differences and {whole} whole in {out}")


@delta_group.command("recover")
@click.argument("difference", type=_Checkpoint)
@click.argument("base", type=_Checkpoint)
@click.argument("out", type=_Out)
def recover_delta(difference: Path, base: Path, out: Path) -> None:
    """Write the student that DIFFERENCE was made of, from the same BASE, into OUT."""
    from lion.serving import delta

    with console.error_boundary():
        count = delta.recover(difference, base, out)
        console.say(f"{count} tensors in {out}, each as it was")

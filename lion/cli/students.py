"""Which student a command is about: the option `--iteration`, and the folder that it names."""

from pathlib import Path

import click

from lion.config import project
from lion.config.settings import Settings
from lion.errors import ModelError
from lion.student import checkpoint

iteration_option = click.option(
    "--iteration", metavar="K", help="Whose student; without it, the last one that was tuned."
)


def chosen_student(iteration: str | None) -> tuple[Settings, str, Path]:
    """Return settings, iteration and folder. Raises ModelError where there is no such student."""
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
    checkpoint.resolve(folder)
    return settings, iteration, folder

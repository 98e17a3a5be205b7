"""What would stop a run, found before anything is spent or removed, without asking an endpoint.

DVC removes a stage's outputs before the stage runs, so what can be known beforehand is looked for
here.
"""

from collections.abc import Callable, Iterator
from functools import partial

from lion.config import project
from lion.config.settings import Settings
from lion.errors import LionError, SettingsError
from lion.pipeline import dvc_project
from lion.pipeline.checks import endpoints, inputs, student
from lion.prompting import templates


def offline_problems(settings: Settings) -> list[str]:
    """Return every problem that can be found without asking an endpoint, one line each."""
    return [
        *lock_problems(),
        *endpoints.key_problems(settings),
        *without_keys(settings, ask_hub=True),
    ]


def without_keys(settings: Settings, *, ask_hub: bool) -> list[str]:
    """Return the same but for the keys: a stage whose replies are all known needs none."""
    looks: tuple[Callable[[Settings], Iterator[str]], ...] = (
        prompt_problems,
        endpoints.role_problems,
        endpoints.filter_problems,
        inputs.bootstrap_problems,
        inputs.watched_folder_problems,
        inputs.exam_problems,
        inputs.official_exam_problems,
        inputs.source_problems,
        inputs.scorer_problems,
        inputs.calibrate_problems,
        partial(student.student_problems, ask_hub=ask_hub),
        student.tune_problems,
        endpoints.budget_problems,
        partial(student.disk_problems, ask_hub=ask_hub),
    )
    return [problem for look in looks for problem in look(settings)]


def refuse(problems: list[str], ending: str = "") -> None:
    """Raise SettingsError with all `problems`, where there are any."""
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise SettingsError(f"this run would not come far:\n{lines}{ending}")


def prompt_problems(_: Settings) -> Iterator[str]:
    """Read the prompts of every role."""
    for role in templates.VARIABLES:
        try:
            templates.load(project.PROMPTS / role, role)
        except LionError as error:
            yield str(error)


def lock_problems() -> Iterator[str]:
    """Look whether dvc.lock is whole and merged."""
    if dvc_project.lock_in_conflict():
        yield (
            "dvc.lock: git could not merge it. `git checkout --ours dvc.lock` (or --theirs), then "
            "`dvc repro --pull --allow-missing` brings what the other side has run"
        )
    elif not dvc_project.lock_is_whole():
        yield (
            "dvc.lock: cut off, as dvc leaves it when it is killed while writing; `lion run` puts "
            "the last whole one back"
        )

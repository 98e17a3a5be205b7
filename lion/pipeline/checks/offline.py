"""What would stop a run, found before anything is spent or removed, without asking an endpoint.

DVC removes a stage's outputs before the stage runs, so what can be known beforehand is looked for
here.
"""

from collections.abc import Callable, Iterator
from functools import partial

from lion.config.settings import Settings
from lion.errors import SettingsError
from lion.pipeline.checks import endpoints, exam, pool, project, student


def offline_problems(settings: Settings) -> list[str]:
    """Return every problem that can be found without asking an endpoint, one line each."""
    return [
        *project.lock_problems(),
        *endpoints.key_problems(settings),
        *without_keys(settings, ask_hub=True),
    ]


def without_keys(settings: Settings, *, ask_hub: bool) -> list[str]:
    """Return the same but for the keys: a stage whose replies are all known needs none."""
    looks: tuple[Callable[[Settings], Iterator[str]], ...] = (
        project.prompt_problems,
        endpoints.role_problems,
        endpoints.filter_problems,
        pool.bootstrap_problems,
        pool.watched_folder_problems,
        exam.exam_problems,
        exam.official_exam_problems,
        pool.source_problems,
        exam.scorer_problems,
        exam.calibrate_problems,
        partial(student.student_problems, ask_hub=ask_hub),
        student.tune_problems,
        endpoints.budget_problems,
        partial(project.disk_problems, ask_hub=ask_hub),
    )
    return [problem for look in looks for problem in look(settings)]


def refuse(problems: list[str], ending: str = "") -> None:
    """Raise SettingsError with all `problems`, where there are any."""
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise SettingsError(f"this run would not come far:\n{lines}{ending}")

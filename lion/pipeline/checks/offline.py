"""All checks before a run that need no endpoint.

DVC removes a stage's outputs before the stage runs, so whatever can be known is checked before.
"""

from collections.abc import Callable, Iterator
from functools import partial

from lion.config import project
from lion.config.settings import Settings
from lion.errors import LionError, SettingsError
from lion.pipeline import dvc_project
from lion.pipeline.checks import (
    answer_form,
    endpoints,
    inputs,
    student,
    student_rehearsal,
    task_declaration,
)
from lion.prompting import templates


def offline_problems(settings: Settings) -> list[str]:
    """Return every problem that can be found without a request, one per line."""
    return [
        *lock_problems(),
        *endpoints.key_problems(settings),
        *without_keys(settings, ask_hub=True, rehearse=True),
    ]


def without_keys(settings: Settings, *, ask_hub: bool, rehearse: bool = False) -> list[str]:
    """Return the problems but for keys: a stage whose replies are in the ledger needs none.

    With `rehearse`, what takes seconds: the student's tokenizer is loaded and tried on every row,
    and text that the rows share is looked for.
    """
    looks: tuple[Callable[[Settings], Iterator[str]], ...] = (
        prompt_problems,
        endpoints.role_problems,
        endpoints.filter_problems,
        inputs.bootstrap_problems,
        inputs.watched_folder_problems,
        inputs.exam_problems,
        inputs.certify_file_problems,
        inputs.official_exam_problems,
        inputs.source_problems,
        inputs.reference_problems,
        inputs.scorer_problems,
        inputs.calibrate_problems,
        partial(_student_problems, ask_hub=ask_hub, rehearse=rehearse),
        student.tune_problems,
        answer_form.answer_form_problems,
        student.random_seed_problems,
        endpoints.budget_problems,
        partial(student.disk_problems, ask_hub=ask_hub),
    )
    # the text that rows share takes seconds to find in long prompts: not in every stage
    shared = (task_declaration.undeclared_problems,) if rehearse else ()
    return [problem for look in (*looks, *shared) for problem in look(settings)]


def _student_problems(settings: Settings, *, ask_hub: bool, rehearse: bool) -> Iterator[str]:
    problems = list(student.student_problems(settings, ask_hub=ask_hub))
    yield from problems
    if rehearse and not problems:
        yield from student_rehearsal.rehearsal_problems(settings)


def refuse(problems: list[str], ending: str = "") -> None:
    """Raise SettingsError that lists all `problems`, if there are any."""
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise SettingsError(f"{count}, nothing started:\n{lines}{ending}")


def prompt_problems(_: Settings) -> Iterator[str]:
    """Yield prompts that cannot be loaded."""
    for role in templates.VARIABLES:
        try:
            templates.load(project.PROMPTS / role, role)
        except LionError as error:
            yield str(error)


def lock_problems() -> Iterator[str]:
    """Yield what is wrong with dvc.lock: cut off, or with conflict marks of git."""
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

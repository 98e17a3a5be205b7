"""What would stop a run in the project itself: dvc.lock, the prompts, the free disk."""

import shutil
from collections.abc import Iterator

from lion.config import project
from lion.config.settings import Settings
from lion.errors import LionError
from lion.pipeline import dvc_lock
from lion.pipeline.checks import disk
from lion.prompting import templates

_LEAST_FREE = 1 << 30  # bytes: DVC's database, the ledger and one small student


def prompt_problems(_: Settings) -> Iterator[str]:
    """Read the prompts of every role."""
    for role in templates.VARIABLES:
        try:
            templates.load(project.PROMPTS / role, role)
        except LionError as error:
            yield str(error)


def lock_problems() -> Iterator[str]:
    """Look whether dvc.lock is whole and merged."""
    if dvc_lock.in_conflict():
        yield (
            "dvc.lock: git could not merge it. `git checkout --ours dvc.lock` (or --theirs), then "
            "`dvc repro --pull --allow-missing` brings what the other side has run"
        )
    elif not dvc_lock.is_whole():
        yield (
            "dvc.lock: cut off, as dvc leaves it when it is killed while writing; `lion run` puts "
            "the last whole one back"
        )


def disk_problems(settings: Settings, *, ask_hub: bool) -> Iterator[str]:
    """Compare the free disk with a student per iteration, in the workspace and in the cache."""
    room = disk.needed(settings, ask_hub=ask_hub)
    needed = max(_LEAST_FREE, room.students + room.states)
    free = shutil.disk_usage(".").free
    if free < needed:
        yield (
            f"disk: {free / 1e9:.1f} GB are free here, the run may need {needed / 1e9:.1f} GB. "
            "Make room (`dvc gc -w` removes what no commit uses)."
        )

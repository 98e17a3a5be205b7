"""The rows of base pool and exam: as a run left them, or as params and the user's files say."""

from pathlib import Path

from lion.config import project
from lion.config.settings import Settings
from lion.pipeline.stale_outputs import StaleOutputs
from lion.readers import files as sources
from lion.records import jsonl
from lion.records.rows import Instruction


def count_base_rows(settings: Settings) -> int:
    """Return the rows of the base pool."""
    pool = project.data(project.BASE, "train_pool.jsonl")
    if StaleOutputs.of_workspace().has_current(pool):
        return len(jsonl.read(pool, Instruction))
    if settings.seed.simulated:
        return settings.seed.size
    rows = sum(
        settings.bootstrap[project.BASE].size
        if settings.bootstrap and Path(name) == project.BOOTSTRAPPED
        else count_file_rows(name)
        for name in settings.seed.source
    )
    return max(0, rows - (settings.seed.holdout if settings.exam.file is None else 0))


def count_exam_rows(settings: Settings) -> int:
    """Return the rows of the exam, those apart among them."""
    if StaleOutputs.of_workspace().has_current(project.EXAM):
        return len(jsonl.read(project.EXAM, Instruction))
    further = settings.exam.certify
    apart = count_file_rows(further) if isinstance(further, str) else 0
    if settings.exam.file is None:
        return settings.seed.holdout + apart
    if settings.exam.simulated:
        return settings.exam.size + apart
    return count_file_rows(settings.exam.file) + apart


def count_rows_apart(settings: Settings, exam: int) -> int:
    """Return the rows that `exam.certify` sets apart, about as many where it is a share."""
    certify = settings.exam.certify
    if certify is None:
        return 0
    return count_file_rows(certify) if isinstance(certify, str) else round(certify * exam)


def count_file_rows(name: str) -> int:
    """Return the rows of a file of the user's. Raises DataError."""
    return len(sources.read_rows(Path(name)).rows)

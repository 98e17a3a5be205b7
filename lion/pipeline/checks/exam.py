"""What would stop a run in its examinations: their files, the scorer, the anchors."""

from collections.abc import Iterator
from pathlib import Path

from lion.config.settings import EMBEDDED, Settings
from lion.discrimination import scorers
from lion.discrimination.calibrate import anchor_problems
from lion.errors import LionError
from lion.pipeline.checks.files import file_problems
from lion.readers import files, official_exams


def exam_problems(settings: Settings) -> Iterator[str]:
    """Look at the files of the exam and of `decontaminate.against`."""
    for further in settings.decontaminate.against:
        yield from file_problems("decontaminate.against", further, "error")
    if settings.exam.file in (None, EMBEDDED):
        return
    name = str(settings.exam.file)
    problems = list(file_problems("exam.file", name, "error"))
    yield from problems
    if settings.seed.holdout:
        yield "seed.holdout: rows are held out only where exam.file is null; set it to 0"
    kind = settings.exam.scorer.kind
    if problems or kind in ("referee", "json_schema"):
        return
    rows = files.read_rows(Path(name)).rows
    bare = [row.line for row in rows if row.expected is None]
    if bare:
        yield (
            f"exam.file: {name}, line {bare[0]}: {len(bare)} of {len(rows)} rows bring no "
            f"`expected`, by which the scorer `{kind}` marks. Add it, or use the scorer `referee`."
        )


def official_exam_problems(settings: Settings) -> Iterator[str]:
    """Read the official files once: a student that was paid for should not wait for a path."""
    for folder in settings.exams.folders:
        try:
            official_exams.read_items(Path(folder))
        except LionError as error:
            yield f"exams.folders: {error}"


def scorer_problems(settings: Settings) -> Iterator[str]:
    """Look whether the exam's scorer can be used, and by the review too where it judges there."""
    scorer = settings.exam.scorer
    option = scorer.option or ""
    if scorer.kind == "json_schema" and not option.startswith("scorers/"):
        yield f"exam.scorer.option: DVC watches the folder scorers/; move {option} there"
    if scorer.kind == "function" and not option.startswith("scorers."):
        yield f"exam.scorer.option: DVC watches the folder scorers/; move {option} there"
    if scorer.kind != "referee":
        try:
            scorers.marker(scorer)
        except LionError as error:
            yield f"exam.scorer: {error}"
    elif settings.review.judge == "scorer":
        yield "review.judge: the exam's scorer is the referee itself; set review.judge: referee"


def calibrate_problems(settings: Settings) -> Iterator[str]:
    """Look at the anchors, and whether a second referee understands what it is asked."""
    calibrate = settings.calibrate
    if not calibrate.iterations:
        return
    yield from anchor_problems(settings)
    second = calibrate.second
    if second and second.base_url == EMBEDDED and settings.seed.source != EMBEDDED:
        yield (
            "calibrate.second.base_url: the embedded teacher understands its own tasks only. "
            "Name an endpoint."
        )

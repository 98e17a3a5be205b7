"""Problems of the user's files: the base pool, the exams, the scorer and the anchors."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lion.config import project
from lion.config.settings import EMBEDDED, Settings
from lion.conversations import TaskTemplate
from lion.discrimination import scorers
from lion.discrimination.calibrate import anchor_problems
from lion.errors import LionError
from lion.readers import files, official_exams
from lion.readers.formats import SourceRow


def bootstrap_problems(settings: Settings) -> Iterator[str]:
    """Yield problems of the seeds of bootstrap, and of params that use its pool."""
    grown = str(project.BOOTSTRAPPED)
    sown = not settings.seed.simulated and grown in settings.seed.source
    if sown != bool(settings.bootstrap):
        yield (
            f"seed.source: {'' if sown else 'not '}{grown}, while bootstrap makes "
            f"{'none' if sown else 'it'}. Set both, or neither."
        )
    elif not sown and not Path(settings.seed.depends_on).exists():
        path = settings.seed.depends_on
        yield f"seed.depends_on: there is no {path}; name a path that exists, as seeds"
    task = TaskTemplate.declared(settings.task)
    for entry in settings.bootstrap.values():
        yield from _grown_pool_problems(settings, grown)
        rows = 0
        for name in entry.seeds:
            yield from file_problems("bootstrap.0.seeds", name, settings.seed.on_bad_row, task)
            rows += _row_count(name, task)
        if rows >= entry.size:
            yield f"bootstrap.0.size: {entry.size}, but there are {rows} seeds already; raise it"


def _grown_pool_problems(settings: Settings, grown: str) -> Iterator[str]:
    if settings.seed.depends_on != grown:
        yield f"seed.depends_on: set {grown}, or DVC would not see that bootstrap writes it"
    if settings.seed.answers == "keep":
        yield "seed.answers: `keep`, but bootstrap makes tasks without answers. Set ask."
    if settings.exam.file is None and settings.seed.holdout:
        yield (
            "seed.holdout: rows of a pool that bootstrap grew are no exam, others were made from "
            "them. Put some of your tasks apart, name them as exam.file, and set seed.holdout: 0."
        )


def _row_count(name: str, task: TaskTemplate | None) -> int:
    try:
        return len(files.read_rows(Path(name), task).rows)
    except LionError:
        return 0  # `file_problems` reports it


def watched_folder_problems(settings: Settings) -> Iterator[str]:
    """Yield files outside the folders that DVC watches.

    Their changes would not rerun a stage.
    """
    paths = [] if settings.seed.simulated else list(settings.seed.source)
    paths += [] if settings.exam.file is None or settings.exam.simulated else [settings.exam.file]
    paths += [settings.exam.certify] if isinstance(settings.exam.certify, str) else []
    paths += [*settings.decontaminate.against, *settings.exams.folders]
    anchors = settings.calibrate.anchors
    paths += [] if anchors in (None, "exam") else [str(anchors)]
    folder = Path(settings.inputs)
    if not folder.is_dir():
        yield f"inputs: there is no folder {folder}. Make it, or name the one of your files."
        return
    yield from _holds_outputs("inputs", folder)
    yield from _holds_outputs("seed.depends_on", Path(settings.seed.depends_on))
    yield from _outside(paths, [folder, Path(settings.seed.depends_on)])
    for entry in settings.bootstrap.values():
        yield from _outside(entry.seeds, [folder, project.SEEDS])


_WRITTEN = ("data", "metrics", "report", ".lion", ".dvc", ".git")
"""What stages, DVC and git write in the project."""


def _holds_outputs(parameter: str, folder: Path) -> Iterator[str]:
    """Yield a problem of a watched folder that a run itself would change."""
    inside = [name for name in _WRITTEN if Path(name).resolve().is_relative_to(folder.resolve())]
    if inside or folder.resolve() == Path.cwd():
        yield (
            f"{parameter}: {folder} holds what a run writes ({', '.join(inside)}), so DVC refuses "
            "it. Move your files into a folder of their own, and name that."
        )


def _outside(paths: Sequence[str], watched: Sequence[Path]) -> Iterator[str]:
    for name in paths:
        if not any(Path(name).resolve().is_relative_to(folder.resolve()) for folder in watched):
            yield (
                f"inputs: {name} lies outside {watched[0]}, so DVC would not see it change. Move "
                "it there, or set `inputs` to its folder."
            )


def source_problems(settings: Settings) -> Iterator[str]:
    """Yield problems of the base pool's files, and of its size for what params ask."""
    if settings.seed.simulated:
        yield from _too_few_parents(settings, settings.seed.size)
        return
    rows, task = 0, TaskTemplate.declared(settings.task)
    for name in settings.seed.source:
        if settings.bootstrap and Path(name) == project.BOOTSTRAPPED:
            rows += settings.bootstrap[project.BASE].size
            continue  # bootstrap writes this file
        problems = list(file_problems("seed.source", name, settings.seed.on_bad_row, task))
        yield from problems
        if problems:
            return
        loaded = files.read_rows(Path(name), task).rows
        rows += len(loaded)
        bare = [row.line for row in loaded if row.expected is None]
        if bare and settings.seed.answers == "keep":
            yield (
                f"seed.answers: {name}, line {bare[0]}: `keep`, but {len(bare)} rows bring no "
                "answer. Set seed.answers: ask."
            )
    held = settings.seed.holdout if settings.exam.file is None else 0
    if rows and rows <= held:
        yield f"seed.holdout: {held} rows are held out of {rows}; none is left to learn from"
        return
    yield from _too_few_parents(settings, rows - held)


def _too_few_parents(settings: Settings, rows: int) -> Iterator[str]:
    """Yield an iteration that asks for more instructions than its parents allow."""
    review, limit = settings.review, settings.respond.limit
    if review.judge == "likelihood":
        limit = None
    judged = max(0, rows if limit is None else min(rows, limit))
    if review.judge == "referee" and review.limit is not None and review.same_answer == "ask":
        judged = min(judged, review.limit)
    for name in settings.iterations:
        generate = settings.generate_at(name)
        by_verdict = generate.feedback == "adversarial"
        parents, word = (judged, "judged") if by_verdict else (max(0, rows), "parents")
        if generate.per_parent is not None and parents * generate.per_parent < max(
            generate.hard, generate.easy
        ):
            yield (
                f"iterations.{name}: {parents} rows of the pool are {word}, too few for "
                f"{generate.hard} hard and {generate.easy} easy new ones at {generate.per_parent} "
                "a parent. Lower generate.hard and generate.easy, or raise generate.per_parent "
                "and respond.limit (and review.limit)."
            )
            return


def certify_file_problems(settings: Settings) -> Iterator[str]:
    """Yield problems of the file of rows for the certificate."""
    if isinstance(settings.exam.certify, str):
        declared = TaskTemplate.declared(settings.task)
        yield from file_problems("exam.certify", settings.exam.certify, "error", declared)


def exam_problems(settings: Settings) -> Iterator[str]:
    """Yield problems of the exam's file and of `decontaminate.against`."""
    for further in settings.decontaminate.against:
        yield from file_problems("decontaminate.against", further, "error")
    if settings.exam.file is None or settings.exam.simulated:
        return
    name, task = settings.exam.file, TaskTemplate.declared(settings.task)
    problems = list(file_problems("exam.file", name, "error", task))
    yield from problems
    if settings.seed.holdout:
        yield "seed.holdout: rows are held out only where exam.file is null; set it to 0"
    kind = settings.exam.scorer.kind
    if problems or kind == "referee":
        return
    rows = files.read_rows(Path(name), task).rows
    bare = [row.line for row in rows if row.expected is None]
    if bare and kind != "json_schema":
        yield (
            f"exam.file: {name}, line {bare[0]}: {len(bare)} of {len(rows)} rows bring no "
            f"`expected`, by which the scorer `{kind}` marks. Add it, or use the scorer `referee`."
        )
    refused = _refused_references(rows, settings)
    yield from (f"exam.file: {name}, {problem}" for problem in refused[:10])
    if len(refused) > 10:
        yield f"exam.file: {name}: and {len(refused) - 10} more rows"
    if not refused:
        yield from _expected_problems(settings, f"exam.file: {name}", rows)


def _refused_references(rows: Sequence[SourceRow], settings: Settings) -> list[str]:
    """Return the rows whose `expected` the exam's scorer cannot compare with, and why."""
    scorer = settings.exam.scorer
    try:
        scorers.marker(scorer)
    except LionError:
        return []  # `scorer_problems` reports it
    reasons = [
        (row.line, scorers.reference_problem(row.expected, scorer))
        for row in rows
        if row.expected is not None
    ]
    return [f"line {line}: {reason}" for line, reason in reasons if reason is not None]


def reference_problems(settings: Settings) -> Iterator[str]:
    """Yield files of the pool with too many rows that a scorer in the referee's place cannot mark.

    Too many is more than `review.max_dropped`: the stage would stop there.
    """
    if settings.review.judge != "scorer" or settings.seed.simulated:
        return
    task = TaskTemplate.declared(settings.task)
    for name in settings.seed.source:
        try:
            rows = files.read_rows(Path(name), task).rows
        except LionError:
            continue  # `source_problems` reports it
        refused = _refused_references(rows, settings)
        if len(refused) > settings.review.max_dropped * len(rows):
            yield (
                f"seed.source: {name}, {refused[0]}. So of {len(refused)} of {len(rows)} rows, by "
                "which review.judge: scorer marks; more than review.max_dropped."
            )


_COMPARING = ("exact", "json", "json_schema")
"""Scorers for which an expected answer is itself a right answer. A pattern or a function may look
for more than that; numbers have `scorers.reference_problem`."""


def _expected_problems(settings: Settings, place: str, rows: Sequence[SourceRow]) -> Iterator[str]:
    """Yield the expected answers that the scorer itself would not take for right."""
    scorer = settings.exam.scorer
    if scorer.kind not in _COMPARING:
        return
    try:
        mark = scorers.marker(scorer)
    except LionError:
        return  # `scorer_problems` reports it
    failing = []
    for row in rows:
        if row.expected is not None and not (marked := mark(row.expected, row.expected)).correct:
            failing.append(f"line {row.line}: {marked.reason or 'wrong'}, {row.expected!r:.80}")
    if failing:
        yield (
            f"{place}, {failing[0]}: {len(failing)} of {len(rows)} expected answers do not pass "
            f"the scorer `{scorer.kind}` themselves. Fix them, or exam.scorer."
        )


def official_exam_problems(settings: Settings) -> Iterator[str]:
    """Yield problems of the official exams' files, before a student is paid for."""
    for folder in settings.exams.folders:
        try:
            official_exams.read_items(Path(folder))
        except LionError as error:
            yield f"exams.folders: {error}"


def scorer_problems(settings: Settings) -> Iterator[str]:
    """Yield problems of the exam's scorer, in the exam and in the review."""
    scorer = settings.exam.scorer
    option = scorer.option or ""
    if scorer.kind in ("json_schema", "json") and option and not option.startswith("scorers/"):
        yield f"exam.scorer.option: DVC watches the folder scorers/; move {option} there"
    if scorer.kind == "function" and not option.startswith("scorers."):
        yield f"exam.scorer.option: DVC watches the folder scorers/; move {option} there"
    if scorer.kind != "referee":
        try:
            scorers.marker(scorer)
        except LionError as error:
            yield f"exam.scorer: {error}"
        return
    if settings.review.judge == "scorer":
        yield "review.judge: the exam's scorer is the referee itself; set review.judge: referee"
    if settings.teach.filter != "none":
        yield "teach.filter: the referee is no scorer that reads answers; set teach.filter: none"
    if settings.exam.teacher_at_least:
        yield "exam.teacher_at_least: the referee marks no answer as right; set it to 0"


def calibrate_problems(settings: Settings) -> Iterator[str]:
    """Yield problems of the anchors and of the second referee."""
    calibrate = settings.calibrate
    if not calibrate.iterations:
        return
    yield from anchor_problems(settings)
    second = calibrate.second
    if second and second.base_url == EMBEDDED and not settings.seed.simulated:
        yield (
            "calibrate.second.base_url: the embedded teacher understands its own tasks only. "
            "Name an endpoint."
        )


def file_problems(
    parameter: str, name: str, on_bad_row: str, task: TaskTemplate | None = None
) -> Iterator[str]:
    """Yield problems of the file `name`, which `parameter` names.

    Bad rows are problems where `on_bad_row` is `error`.
    """
    try:
        loaded = files.read_rows(Path(name), task)
    except LionError as error:
        yield f"{parameter}: {error}"
        return
    if on_bad_row == "error":
        yield from (f"{parameter}: {problem}" for problem in loaded.problems[:10])
        if len(loaded.problems) > 10:
            yield f"{parameter}: {name}: and {len(loaded.problems) - 10} more rows"
    if not loaded.rows:
        yield f"{parameter}: {name} holds no instruction"

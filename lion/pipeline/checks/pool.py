"""What would stop a run in the files of the base pool: where they lie, their rows, their number."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lion.config import project
from lion.config.settings import EMBEDDED, Settings
from lion.errors import LionError
from lion.pipeline.checks.files import file_problems
from lion.readers import files as sources


def bootstrap_problems(settings: Settings) -> Iterator[str]:
    """Look at the files that a base pool grows from, and at what becomes of the pool."""
    grown = str(project.BOOTSTRAPPED)
    sown = settings.seed.source != EMBEDDED and grown in settings.seed.source
    if sown != bool(settings.bootstrap):
        yield (
            f"seed.source: {'' if sown else 'not '}{grown}, while bootstrap makes "
            f"{'none' if sown else 'it'}. Set both, or neither."
        )
    elif not sown and not Path(settings.seed.watch).exists():
        yield f"seed.watch: there is no {settings.seed.watch}; name a path that is there, as seeds"
    for entry in settings.bootstrap.values():
        yield from _grown_pool_problems(settings, grown)
        rows = 0
        for name in entry.seeds:
            yield from file_problems("bootstrap.0.seeds", name, settings.seed.on_bad_row)
            rows += _row_count(name)
        if rows >= entry.size:
            yield f"bootstrap.0.size: {entry.size}, but there are {rows} seeds already; raise it"


def _grown_pool_problems(settings: Settings, grown: str) -> Iterator[str]:
    if settings.seed.watch != grown:
        yield f"seed.watch: set {grown}, or DVC would not see that bootstrap writes it"
    if settings.seed.answers == "keep":
        yield "seed.answers: `keep`, but bootstrap makes tasks without answers. Set ask."
    if settings.exam.file is None and settings.seed.holdout:
        yield (
            "seed.holdout: rows of a pool that bootstrap grew are no exam, others were made from "
            "them. Put some of your tasks apart, name them as exam.file, and set seed.holdout: 0."
        )


def _row_count(name: str) -> int:
    try:
        return len(sources.read_rows(Path(name)).rows)
    except LionError:
        return 0  # told with the file's problems


def watched_folder_problems(settings: Settings) -> Iterator[str]:
    """Files outside the folders that DVC watches could change without any stage running again."""
    files = [] if settings.seed.source == EMBEDDED else list(settings.seed.source)
    files += [] if settings.exam.file in (None, EMBEDDED) else [str(settings.exam.file)]
    files += [*settings.decontaminate.against, *settings.exams.folders]
    anchors = settings.calibrate.anchors
    files += [] if anchors in (None, "exam") else [str(anchors)]
    folder = Path(settings.inputs)
    if not folder.is_dir():
        yield f"inputs: there is no folder {folder}. Make it, or name the one of your files."
        return
    yield from _outside(files, [folder, Path(settings.seed.watch)])
    for entry in settings.bootstrap.values():
        yield from _outside(entry.seeds, [folder, project.SEEDS])


def _outside(files: Sequence[str], watched: Sequence[Path]) -> Iterator[str]:
    for name in files:
        if not any(Path(name).resolve().is_relative_to(path.resolve()) for path in watched):
            yield (
                f"inputs: {name} lies outside {watched[0]}, so DVC would not see it change. Move "
                "it there, or set `inputs` to its folder."
            )


def source_problems(settings: Settings) -> Iterator[str]:
    """Look at the rows of the base pool, and whether they suffice for what is asked of them."""
    if settings.seed.source == EMBEDDED:
        yield from _too_few_parents(settings, settings.seed.size)
        return
    rows = 0
    for name in settings.seed.source:
        if settings.bootstrap and Path(name) == project.BOOTSTRAPPED:
            rows += settings.bootstrap[project.BASE].size
            continue  # bootstrap writes it
        problems = list(file_problems("seed.source", name, settings.seed.on_bad_row))
        yield from problems
        if problems:
            return
        loaded = sources.read_rows(Path(name)).rows
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
    """Compare what generation asks with what `per_parent` allows of the rows that are judged."""
    parents = max(0, rows if settings.respond.limit is None else min(rows, settings.respond.limit))
    review = settings.review
    if review.judge == "referee" and review.limit is not None and review.same_answer == "ask":
        parents = min(parents, review.limit)
    for name in settings.iterations:
        generate = settings.generate_at(name)
        if generate.per_parent is not None and parents * generate.per_parent < max(
            generate.hard, generate.easy
        ):
            yield (
                f"iterations.{name}: {parents} rows of the pool are judged, too few for "
                f"{generate.hard} hard and {generate.easy} easy new ones at {generate.per_parent} "
                "a parent. Lower generate.hard and generate.easy, or raise generate.per_parent "
                "and respond.limit (and review.limit)."
            )
            return

"""What would stop a run, found before anything is spent or removed.

DVC removes a stage's outputs before the stage runs, so what can be known beforehand is looked for
here: settings, prompts, keys, endpoints, files, budget, the student's folder, the disk.
"""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from lion import lockfile, project, prompts, scores
from lion.endpoints import ROLES, generations, near_duplicates
from lion.endpoints import endpoints as named_endpoints
from lion.errors import BudgetError, LionError, ModelError, SettingsError
from lion.model import disk, inspection
from lion.records import Message
from lion.settings import EMBEDDED, Endpoint, Referee, Settings
from lion.wire import Failure, Reply, Request

_LEAST_FREE = 1 << 30  # bytes: DVC's database, the ledger and one small student
_PROBE: Message = {"role": "user", "content": "Reply with the word: ready"}


def offline(settings: Settings) -> list[str]:
    """Return every problem that can be found without asking an endpoint, one line each."""
    return [
        *_lock_problems(),
        *_key_problems(settings),
        *without_keys(settings, ask_hub=True),
    ]


def without_keys(settings: Settings, *, ask_hub: bool) -> list[str]:
    """Return the same but for the keys: a stage whose replies are all known needs none."""
    looks: tuple[Callable[[Settings], Iterator[str]], ...] = (
        _prompt_problems,
        _role_problems,
        _gate_problems,
        _bootstrap_problems,
        _input_problems,
        _source_problems,
        _scorer_problems,
        _calibrate_problems,
        partial(_student_problems, ask_hub=ask_hub),
        _tune_problems,
        _budget_problems,
        partial(_disk_problems, ask_hub=ask_hub),
    )
    return [problem for look in looks for problem in look(settings)]


def refuse(problems: list[str], ending: str = "") -> None:
    """Raise SettingsError with all `problems`, where there are any."""
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise SettingsError(f"this run would not come far:\n{lines}{ending}")


def endpoints(settings: Settings) -> list[str]:
    """Ask each distinct endpoint one short question, with the role's own `request`; say what fails.

    Past the ledger, since the question is whether the endpoint answers today: one paid call each.
    """
    from lion.asking.api import Asker
    from lion.asking.ledger import Ledger

    problems: list[str] = []
    asked: list[tuple[str, str, Request]] = []
    with Ledger(project.ledger()) as ledger:
        for role, endpoint in named_endpoints(settings):
            schema = isinstance(endpoint, Referee) and endpoint.form == "schema"
            question = Request((_PROBE,), response_format=scores.SCHEMA if schema else None)
            plain = endpoint.model_dump_json(include=set(Endpoint.model_fields))
            distinct = plain, endpoint.path, question
            if distinct in asked:
                continue
            asked.append(distinct)
            try:
                with Asker(endpoint, settings.api, ledger, settings.random_seed) as asker:
                    outcome = asker.probe(question)
            except LionError as error:
                problems.append(f"{role}: {error}")
                continue
            if isinstance(outcome, Failure) and outcome.reason != "content_filter":
                problems.append(_explained(role, endpoint, outcome))
            elif schema and isinstance(outcome, Reply) and not _keeps_to_schema(outcome):
                problems.append(
                    f"{role}: {endpoint.model} at {endpoint.base_url} does not keep to the JSON "
                    f"schema that it was sent. Set {role}.form: text."
                )
    return problems or list(_batch_problems(settings))


def _keeps_to_schema(reply: Reply) -> bool:
    return isinstance(scores.from_json(reply.text), tuple)


def _batch_problems(settings: Settings) -> Iterator[str]:
    """Look whether there is a Batch API where one is to be used; that costs nothing."""
    from lion.asking.batches import Provider
    from lion.asking.transport import Transport

    async def look(endpoint: Endpoint) -> None:
        transport = Transport(endpoint, settings.api)
        try:
            await Provider(transport, settings.api).look()
        finally:
            await transport.close()

    for role in ROLES:
        if getattr(settings.api.mode, role) == "batch":
            try:
                asyncio.run(look(getattr(settings, role)))
            except LionError as error:
                yield f"{role}: {error}"


def _explained(role: str, endpoint: Endpoint, failure: Failure) -> str:
    where = f"{role}: {endpoint.model} at {endpoint.base_url}"
    if failure.reason == "cap_spent":
        return (
            f"{where}: the reply is empty, the token cap was spent (hidden reasoning?). "
            f"Raise the cap in {role}.request, or lower its reasoning effort."
        )
    return f"{where}: {failure.reason}: {failure.detail}. Is the server up, and base_url right?"


def _prompt_problems(_: Settings) -> Iterator[str]:
    for role in prompts.VARIABLES:
        try:
            prompts.load(project.PROMPTS / role, role)
        except LionError as error:
            yield str(error)


def _lock_problems() -> Iterator[str]:
    if lockfile.in_conflict():
        yield (
            "dvc.lock: git could not merge it. `git checkout --ours dvc.lock` (or --theirs), then "
            "`dvc repro --pull --allow-missing` brings what the other side has run"
        )
    elif not lockfile.is_whole():
        yield (
            "dvc.lock: cut off, as dvc leaves it when it is killed while writing; `lion run` puts "
            "the last whole one back"
        )


def _key_problems(settings: Settings) -> Iterator[str]:
    missing: dict[str, list[str]] = {}
    for role, endpoint in named_endpoints(settings):
        name = endpoint.api_key_env
        if endpoint.base_url != EMBEDDED and name is not None and not os.environ.get(name):
            missing.setdefault(name, []).append(role)
    for name, roles in missing.items():
        yield (
            f"{', '.join(roles)}: no key. Set the environment variable {name}, or "
            "`api_key_env: null` for a server that wants none."
        )


def _gate_problems(settings: Settings) -> Iterator[str]:
    from lion.instructions import embeddings

    for place, gate in near_duplicates(settings):
        yield from embeddings.problems(place, gate)
    for place, filters in generations(settings):
        if filters.safety and settings.referee.base_url == EMBEDDED:
            yield (
                f"{place}.safety: the embedded referee knows nothing of safety. Name an endpoint "
                "as referee, or set generate.safety: false."
            )
            return


def _role_problems(settings: Settings) -> Iterator[str]:
    """Refuse the embedded teacher for real text: it knows its own twenty families alone."""
    for role in ROLES:
        batch = getattr(settings.api.mode, role) == "batch"
        if batch and getattr(settings, role).base_url == EMBEDDED:
            yield (
                f"api.mode.{role}: the embedded teacher answers at once and for nothing, so it "
                "has no Batch API. Set live."
            )
    if settings.seed.source == EMBEDDED:
        return
    for role in ROLES:
        if getattr(settings, role).base_url == EMBEDDED:
            yield (
                f"{role}.base_url: the embedded teacher understands its own tasks only, and "
                "seed.source names files. Name an endpoint, or set seed.source: embedded."
            )


def _bootstrap_problems(settings: Settings) -> Iterator[str]:
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
        yield from _sown_problems(settings, grown)
        rows = 0
        for name in entry.seeds:
            yield from _file_problems("bootstrap.0.seeds", name, settings.seed.on_bad_row)
            rows += _row_count(name)
        if rows >= entry.size:
            yield f"bootstrap.0.size: {entry.size}, but there are {rows} seeds already; raise it"


def _sown_problems(settings: Settings, grown: str) -> Iterator[str]:
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
    from lion.instructions import sources

    try:
        return len(sources.read_rows(Path(name)).rows)
    except LionError:
        return 0  # told with the file's problems


def _input_problems(settings: Settings) -> Iterator[str]:
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
    yield from _unseen(files, [folder, Path(settings.seed.watch)])
    for entry in settings.bootstrap.values():
        yield from _unseen(entry.seeds, [folder, project.SEEDS])


def _unseen(files: Sequence[str], watched: Sequence[Path]) -> Iterator[str]:
    for name in files:
        if not any(Path(name).resolve().is_relative_to(path.resolve()) for path in watched):
            yield (
                f"inputs: {name} lies outside {watched[0]}, so DVC would not see it change. Move "
                "it there, or set `inputs` to its folder."
            )


def _exams_problems(settings: Settings) -> Iterator[str]:
    """Read the official files once: a student that was paid for should not wait for a path."""
    from lion.evaluation import reasoning

    for folder in settings.exams.folders:
        try:
            reasoning.read(Path(folder))
        except LionError as error:
            yield f"exams.folders: {error}"


def _source_problems(settings: Settings) -> Iterator[str]:
    yield from _exam_problems(settings)
    yield from _exams_problems(settings)
    if settings.seed.source == EMBEDDED:
        yield from _too_small(settings, settings.seed.size)
        return
    from lion.instructions import sources  # brings polars, which the embedded tasks do not need

    rows = 0
    for name in settings.seed.source:
        if settings.bootstrap and Path(name) == project.BOOTSTRAPPED:
            rows += settings.bootstrap[project.BASE].size
            continue  # bootstrap writes it
        problems = list(_file_problems("seed.source", name, settings.seed.on_bad_row))
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
    yield from _too_small(settings, rows - held)


def _exam_problems(settings: Settings) -> Iterator[str]:
    for further in settings.decontaminate.against:
        yield from _file_problems("decontaminate.against", further, "error")
    if settings.exam.file in (None, EMBEDDED):
        return
    name = str(settings.exam.file)
    problems = list(_file_problems("exam.file", name, "error"))
    yield from problems
    if settings.seed.holdout:
        yield "seed.holdout: rows are held out only where exam.file is null; set it to 0"
    kind = settings.exam.scorer.kind
    if problems or kind in ("referee", "json_schema"):
        return
    from lion.instructions import sources

    rows = sources.read_rows(Path(name)).rows
    bare = [row.line for row in rows if row.expected is None]
    if bare:
        yield (
            f"exam.file: {name}, line {bare[0]}: {len(bare)} of {len(rows)} rows bring no "
            f"`expected`, by which the scorer `{kind}` marks. Add it, or use the scorer `referee`."
        )


def _file_problems(parameter: str, name: str, on_bad_row: str) -> Iterator[str]:
    from lion.instructions import sources

    try:
        loaded = sources.read_rows(Path(name))
    except LionError as error:
        yield f"{parameter}: {error}"
        return
    if on_bad_row == "error":
        yield from (f"{parameter}: {problem}" for problem in loaded.problems[:10])
        if len(loaded.problems) > 10:
            yield f"{parameter}: {name}: and {len(loaded.problems) - 10} more rows"
    if not loaded.rows:
        yield f"{parameter}: {name} holds no instruction"


def _too_small(settings: Settings, rows: int) -> Iterator[str]:
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


def _scorer_problems(settings: Settings) -> Iterator[str]:
    from lion.judgement import scorers

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


def _calibrate_problems(settings: Settings) -> Iterator[str]:
    """Look at the anchors, and whether a second referee understands what it is asked."""
    calibrate = settings.calibrate
    if not calibrate.iterations:
        return
    from lion.judgement import calibrating

    yield from calibrating.problems(settings)
    second = calibrate.second
    if second and second.base_url == EMBEDDED and settings.seed.source != EMBEDDED:
        yield (
            "calibrate.second.base_url: the embedded teacher understands its own tasks only. "
            "Name an endpoint."
        )


def _student_problems(settings: Settings, *, ask_hub: bool) -> Iterator[str]:
    try:
        yield from inspection.problems(settings.student, ask_hub=ask_hub)
    except ModelError as error:
        yield str(error)


def _tune_problems(settings: Settings) -> Iterator[str]:
    methods = {settings.tune_at(name).method for name in ("0", *settings.iterations)}
    if methods - {"full"} and importlib.util.find_spec("peft") is None:
        yield (
            "tune.method: lora and qlora need the library peft. In Lion's folder, run "
            "`pip install -e '.[lora]'`."
        )
    if "qlora" in methods and importlib.util.find_spec("bitsandbytes") is None:
        yield (
            "tune.method: qlora needs the library bitsandbytes. In Lion's folder, run "
            "`pip install -e '.[qlora]'`."
        )
    if settings.student.dtype == "float16" and not _has_accelerator():
        yield "student.dtype: float16 trains on a GPU only; set float32 or bfloat16"
    config = settings.hardware.launcher.config
    if config is not None and not Path(config).is_file():
        yield f"hardware.launcher.config: there is no file {config}. Name one of launchers/."


def _has_accelerator() -> bool:
    """Ask torch in a process of its own: its import takes seconds, here only for float16."""
    look = "import sys, torch; sys.exit(not torch.accelerator.is_available())"
    return subprocess.run([sys.executable, "-c", look], check=False).returncode == 0  # noqa: S603 - our own words


def _budget_problems(settings: Settings) -> Iterator[str]:
    """Ask, for each role, what the first call will ask: the most that a call can cost."""
    from lion.asking.ledger import cap
    from lion.asking.pricing import Prices
    from lion.asking.purse import Purse

    prices = Prices.load(project.PRICES)
    told = set()
    for _, endpoint in named_endpoints(settings):
        try:
            Purse(endpoint, prices, cap(settings.budget)).most(b"")
        except BudgetError as error:
            told.add(str(error))
    yield from sorted(told)


def _disk_problems(settings: Settings, *, ask_hub: bool) -> Iterator[str]:
    """Compare the free disk with a student per iteration, in the workspace and in the cache."""
    room = disk.needed(settings, ask_hub=ask_hub)
    needed = max(_LEAST_FREE, room.students + room.states)
    free = shutil.disk_usage(".").free
    if free < needed:
        yield (
            f"disk: {free / 1e9:.1f} GB are free here, the run may need {needed / 1e9:.1f} GB. "
            "Make room (`dvc gc -w` removes what no commit uses)."
        )

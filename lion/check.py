"""What would stop a run, found before anything is spent or removed.

DVC removes a stage's outputs before the stage runs, so what can be known beforehand is looked for
here: settings, prompts, keys, endpoints, files, the student's folder, the disk.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from lion import project, prompts, sources, student
from lion.errors import LionError, ModelError
from lion.prompts import PromptRole
from lion.records import Message
from lion.settings import EMBEDDED, Endpoint, Settings
from lion.wire import Failure, Request

ROLES: tuple[PromptRole, ...] = ("teacher", "referee", "generator")
_LEAST_FREE = 1 << 30  # bytes: DVC's database, the ledger and one small student
_PROBE: Message = {"role": "user", "content": "Reply with the word: ready"}


def offline(settings: Settings) -> list[str]:
    """Return every problem that can be found without asking an endpoint, one line each."""
    looks: tuple[Callable[[Settings], Iterator[str]], ...] = (
        _prompt_problems,
        _key_problems,
        _source_problems,
        _scorer_problems,
        _student_problems,
        _disk_problems,
    )
    return [problem for look in looks for problem in look(settings)]


def endpoints(settings: Settings) -> list[str]:
    """Ask each distinct endpoint one short question, with the role's own `request`; say what fails.

    Past the ledger, since the question is whether the endpoint answers today: one paid call each.
    """
    from lion.api import Asker
    from lion.ledger import Ledger

    problems: list[str] = []
    asked: list[Endpoint] = []
    with Ledger(project.ledger()) as ledger:
        for role in ROLES:
            endpoint: Endpoint = getattr(settings, role)
            if endpoint in asked:
                continue
            asked.append(endpoint)
            try:
                with Asker(endpoint, settings.api, ledger, settings.random_seed) as asker:
                    outcome = asker.probe(Request((_PROBE,)))
            except LionError as error:
                problems.append(f"{role}: {error}")
                continue
            if isinstance(outcome, Failure) and outcome.reason != "content_filter":
                problems.append(_explained(role, endpoint, outcome))
    return problems


def _explained(role: str, endpoint: Endpoint, failure: Failure) -> str:
    where = f"{role}: {endpoint.model} at {endpoint.base_url}"
    if failure.reason == "cap_spent":
        return (
            f"{where}: the reply is empty, the token cap was spent (hidden reasoning?). "
            f"Raise the cap in {role}.request, or lower its reasoning effort."
        )
    return f"{where}: {failure.reason}: {failure.detail}. Is the server up, and base_url right?"


def _prompt_problems(_: Settings) -> Iterator[str]:
    for role in ROLES:
        try:
            prompts.load(project.PROMPTS / role, role)
        except LionError as error:
            yield str(error)


def _key_problems(settings: Settings) -> Iterator[str]:
    missing: dict[str, list[str]] = {}
    for role in ROLES:
        endpoint: Endpoint = getattr(settings, role)
        name = endpoint.api_key_env
        if endpoint.base_url != EMBEDDED and name is not None and not os.environ.get(name):
            missing.setdefault(name, []).append(role)
    for name, roles in missing.items():
        yield (
            f"{', '.join(roles)}: no key. Set the environment variable {name}, or "
            "`api_key_env: null` for a server that wants none."
        )


def _source_problems(settings: Settings) -> Iterator[str]:
    if settings.exam.file not in (None, EMBEDDED):
        yield from _file_problems("exam.file", str(settings.exam.file), "error")
    if settings.seed.source == EMBEDDED:
        yield from _too_small(settings, settings.seed.size)
        return
    rows = 0
    for name in settings.seed.source:
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
    yield from _too_small(settings, rows - settings.seed.holdout)


def _file_problems(parameter: str, name: str, on_bad_row: str) -> Iterator[str]:
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
    """Compare what generation asks with what `per_parent` allows of the pool's rows."""
    for name in settings.iterations:
        generate = settings.generate_at(name)
        if generate.per_parent is not None and rows * generate.per_parent < max(
            generate.hard, generate.easy
        ):
            yield (
                f"iterations.{name}: the base pool has {max(rows, 0)} rows, too few for "
                f"{generate.hard} hard and {generate.easy} easy new ones at {generate.per_parent} "
                "a parent. Lower generate.hard and generate.easy, or raise generate.per_parent."
            )
            return


def _scorer_problems(settings: Settings) -> Iterator[str]:
    from lion.evaluation import scorers

    scorer = settings.exam.scorer
    if scorer.kind != "referee":
        try:
            scorers.marker(scorer)
        except LionError as error:
            yield f"exam.scorer: {error}"
    elif settings.review.judge == "scorer":
        yield "review.judge: the exam's scorer is the referee itself; set review.judge: referee"


def _student_problems(settings: Settings) -> Iterator[str]:
    try:
        yield from student.check(settings.student)
    except ModelError as error:
        yield str(error)


def _disk_problems(settings: Settings) -> Iterator[str]:
    """Compare the free disk with a student per iteration, in the workspace and in the cache."""
    weights = _weight_bytes(Path(settings.student.model).expanduser())
    copies = 0 if settings.tune.method == "lora" else 2 * (len(settings.iterations) + 1)
    needed = max(_LEAST_FREE, copies * weights)
    free = shutil.disk_usage(".").free
    if free < needed:
        yield (
            f"disk: {free / 1e9:.1f} GB are free here, the run may need {needed / 1e9:.1f} GB. "
            "Make room (`dvc gc -w` removes what no commit uses)."
        )


def _weight_bytes(folder: Path) -> int:
    return (
        sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    )

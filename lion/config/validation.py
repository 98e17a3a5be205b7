"""Reads a parsed params.yaml into settings, or refuses it with every problem in one message.

pydantic checks each value; what does not fit together across sections is checked here. Reads no
file (see `lion.config.project`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from lion.config.settings import (
    BASELINE_NAME,
    ITERATION_NAME,
    Baseline,
    Generate,
    IterationSettings,
    Section,
    Settings,
    TaskSettings,
    Tune,
)
from lion.errors import SettingsError

# parameters that have another name today, by the end of their dotted name
RENAMED = {
    "seed.watch": "depends_on",
    "review.favour": "uncertain_weight",
    "review.margin": "second_order_margin",
    "review.audit": "audit_rate",
    "generate.per_seed": "max_descendants",
    "generate.round": "requests_per_round",
    "bootstrap.0.round": "requests_per_round",
    "api.patience": "max_request_seconds",
    "hardware.keep": "keep_students",
}
# values of these keys may be secrets by mistake: messages do not repeat them
_SECRET = ("base_url", "api_key_env")


def read_settings(document: object) -> Settings:
    """Validate a parsed params.yaml. Raises SettingsError that lists every problem."""
    if not isinstance(document, dict):
        raise _refusal(["the file: a mapping of sections is expected"])
    problems, document = _with_text_keys(document)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise _refusal(problems + _describe(error, "")) from error
    problems += _override_problems(settings) + _chain_problems(settings.iterations)
    problems += _noise_problems(settings)
    problems += [
        f"calibrate.iterations: there is no iteration {name!r}"
        for name in settings.calibrate.iterations
        if name not in settings.iterations
    ]
    if len(set(settings.curve)) < len(settings.curve):
        problems.append("curve: names a number of rows twice")
    if settings.curve and settings.exam.scorer.kind == "referee":
        problems.append("curve: the exam's scorer is the referee, so no row is right or wrong")
    if settings.curve and settings.student.endpoint is not None:
        problems.append(
            "curve: its students are not kept, so none can be served; set student.endpoint: null"
        )
    problems += _student_problems(settings) + list(_baseline_problems(settings))
    problems += _form_problems(settings)
    if not problems:  # overrides can be read
        problems += [*_verdict_problems(settings), *_prompt_problems(settings)]
    if problems:
        raise _refusal(problems)
    return settings


def _refusal(problems: list[str]) -> SettingsError:
    lines = "\n".join(f"  {problem}" for problem in problems)
    return SettingsError(
        f"params.yaml is not usable:\n{lines}\nCorrect these lines and run `lion check`."
    )


def _with_text_keys(document: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return the problems of iterations' names, and the document with names that are text.

    An unquoted name is a number in YAML, and DVC then makes no stage of it. The rest of the
    document is still read, so that one message lists all problems.
    """
    iterations = document.get("iterations")
    if not isinstance(iterations, dict):
        return [], document
    problems = []
    for key in iterations:
        if not isinstance(key, str):
            problems.append(
                f'iterations.{key}: put the name in quotes ("{key}":), or DVC makes no stage of it'
            )
        elif not ITERATION_NAME.match(key):
            problems.append(f"iterations.{key}: a name is a digit, then digits, a-z, _ or -")
    return problems, {**document, "iterations": {str(k): v for k, v in iterations.items()}}


def _override_problems(settings: Settings) -> list[str]:
    problems = []
    places: list[tuple[str, type[Section], Section, dict[str, Any]]] = [
        ("base.tune", Tune, settings.tune, settings.base.tune)
    ]
    for name, entry in settings.bootstrap.items():
        places.append((f"bootstrap.{name}.generate", Generate, settings.generate, entry.generate))
    for name, iteration in settings.iterations.items():
        prefix = f"iterations.{name}"
        places.append((f"{prefix}.tune", Tune, settings.tune, iteration.tune))
        places.append((f"{prefix}.generate", Generate, settings.generate, iteration.generate))
    for place, model, defaults, override in places:
        try:
            model.model_validate({**defaults.model_dump(), **override})
        except ValidationError as error:
            problems += _describe(error, place)
    return problems


def _noise_problems(settings: Settings) -> list[str]:
    """Tau that follows from the noise needs it, and the gaps, in both orders everywhere."""
    referee = settings.review.judge == "referee"
    if referee and settings.split.tau_noise and settings.review.second_order_margin is not None:
        return [
            "split.tau_noise: with it every order is asked; set review.second_order_margin: null"
        ]
    return list(_likelihood_problems(settings))


def _likelihood_problems(settings: Settings) -> Iterator[str]:
    """Yield what does not go with the likelihood as judge, or goes with nothing else."""
    if settings.review.judge == "likelihood":
        if settings.split.stop_in_noise:
            yield "split.stop_in_noise: a likelihood has no referee's noise; set it to false"
        if settings.split.tau_noise:
            yield "split.tau_noise: a likelihood has no referee's noise; set it to 0"
        if settings.split.min_hard and settings.review.same_answer == "ask":
            yield (
                "split.min_hard: with review.judge: likelihood the share of hard rows is "
                "split.hard_share itself, so it would stop always or never; set it to 0, or "
                "review.same_answer: skip, which leaves out what the student says already"
            )
        if settings.calibrate.iterations and settings.calibrate.second is not None:
            yield (
                "calibrate.second: with review.judge: likelihood there are no responses to judge; "
                "set it to null"
            )
        return
    for name, iteration in settings.iterations.items():
        if iteration.tune.get("replay_choice", settings.tune.replay_choice) == "forgotten":
            yield (
                f"iterations.{name}.tune.replay_choice: what is forgotten is known with "
                "review.judge: likelihood alone; set tune.replay_choice: uniform"
            )
            return


def _verdict_problems(settings: Settings) -> Iterator[str]:
    """Yield what reads the verdicts of an iteration that has none (`Settings.no_reader`)."""
    for name, iteration in settings.iterations.items():
        places = settings.lineage(name)[:2]
        if settings.tune_at(name).replay_choice == "forgotten" and _unjudged(settings, *places):
            yield (
                f"iterations.{name}.tune.replay_choice: {_unjudged(settings, *places)}; set "
                "tune.replay_choice: forgotten, for all iterations"
            )
        before = _unjudged(settings, iteration.previous)
        if settings.generate_at(name).choice == "progress" and before:
            yield f"iterations.{name}.generate.choice: progress compares, but {before}; set uniform"
    reason = _unjudged(settings, *settings.calibrate.iterations)
    if reason:
        yield f"calibrate.iterations: {reason}; leave it out"


def _unjudged(settings: Settings, *names: str) -> str:
    """Return which of the iterations is the first without verdicts, and why; "" where none is."""
    reasons = {name: settings.no_reader_at(name) for name in names if name in settings.iterations}
    unjudged = (f"iteration {name} is not judged: {why}" for name, why in reasons.items() if why)
    return next(unjudged, "")


def _student_problems(settings: Settings) -> list[str]:
    named = {"exams": settings.exams.students, "certify": settings.certify.students}
    problems = [
        f"{section}.students: there is no iteration {name!r}"
        for section, names in named.items()
        for name in names
        if name != "0" and name not in settings.iterations
    ]
    if settings.certify.students and settings.exam.certify is None:
        problems.append(
            "certify.students: a certificate needs rows of its own; set exam.certify: 0.5, or name "
            "a file there"
        )
    is_open = settings.certify.students and settings.exam.scorer.kind == "referee"
    if is_open and set(settings.certify.ask) != {"teacher", "referee"}:
        problems.append(
            "certify.ask: the exam's scorer is the referee, so a certificate asks teacher and "
            "referee about the rows set apart; set it to "
            "[teacher, referee], or certify.students: []"
        )
    return problems


def _form_problems(settings: Settings) -> Iterator[str]:
    """Yield what does not go with answers that keep to a schema."""
    if settings.answering.form == "text":
        return
    if settings.exam.scorer.kind not in ("json", "json_schema"):
        yield "answering.form: schema goes with exam.scorer of kind json or json_schema; set text"
    served = settings.student.endpoint
    if served is not None and "response_format" in served.request:
        yield (
            "student.endpoint.request.response_format is set by answering.form: schema; remove it"
        )


def _baseline_problems(settings: Settings) -> Iterator[str]:
    for name, baseline in settings.baselines.items():
        if not BASELINE_NAME.match(name) or name == "base" or name.startswith("rows-"):
            yield (
                f"baselines.{name}: a name is a letter, then a-z, digits, _ or -; neither `base` "
                "nor `rows-...`"
            )
        if baseline.like not in settings.iterations:
            yield f"baselines.{name}.like: there is no iteration {baseline.like!r}"
        if baseline.previous != "0" and baseline.previous not in settings.baselines:
            yield f'baselines.{name}.previous: "0" or another baseline, found {baseline.previous!r}'
        elif _loops(name, settings.baselines):
            yield f"baselines.{name}.previous: leads back to {name}, not to the base"
        elif _likes(settings, name) != settings.lineage(baseline.like):
            yield (
                f"baselines.{name}: a line for each iteration up to {baseline.like}, each with the "
                "one before as `previous`: else steps and spend are not equal"
            )


def _likes(settings: Settings, name: str) -> list[str]:
    """Return what a baseline and those before it are made like, last first."""
    return [settings.baselines[step].like for step in settings.lineage(name)]


def _prompt_problems(settings: Settings) -> list[str]:
    """Return what is wrong with the turns that students have in place of the teacher's."""
    problems = []
    for name in ("0", *settings.iterations):
        prompt, task = settings.tune_at(name).prompt, settings.task
        if isinstance(prompt, str):
            continue
        place = "tune.prompt" if prompt == settings.tune.prompt else f"tune.prompt of {name}"
        if not task.fields:
            problems.append(f"{place}: turns need the fields of a declared `task`; write none")
            continue
        try:
            TaskSettings(fields=task.fields, messages=prompt, good=None)
        except ValidationError as error:
            problems += _describe(error, place)
    return list(dict.fromkeys(problems))


def _chain_problems(iterations: dict[str, IterationSettings]) -> list[str]:
    problems = []
    if "0" in iterations:
        problems.append('iterations.0: "0" is the base; start with "1"')
    for name, iteration in iterations.items():
        if iteration.previous != "0" and iteration.previous not in iterations:
            problems.append(
                f"iterations.{name}.previous: there is no iteration {iteration.previous!r}"
            )
        elif _loops(name, iterations):
            problems.append(f"iterations.{name}.previous: leads back to {name}, not to the base")
    return problems


def _loops(name: str, iterations: Mapping[str, IterationSettings | Baseline]) -> bool:
    seen, current = set(), name
    while current in iterations and current not in seen:
        seen.add(current)
        current = iterations[current].previous
    return current == name


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\Z", re.IGNORECASE)
_SWITCHES = {"y", "yes", "on", "n", "no", "off"}  # YAML 1.1's; DVC reads them as text


def _looks_like_number(value: object) -> bool:
    return isinstance(value, str) and _NUMBER.match(value) is not None


_HINTS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    # by pydantic's type of problem: which values get the hint
    "bool_type": (lambda value: str(value).lower() in _SWITCHES, "; write true or false"),
    "float_type": (_looks_like_number, "; remove the quotes"),
    "int_type": (_looks_like_number, "; remove the quotes"),
    "string_type": (lambda value: value is not None, "; put it in quotes if it is a text"),
}


def _hinted(problem: Mapping[str, Any]) -> str:
    """Return what to do about a value of another type than expected."""
    fits, hint = _HINTS.get(problem["type"], (bool, ""))
    return hint if fits(problem["input"]) else ""


_MESSAGES = {
    "extra_forbidden": "no such parameter",
    "missing": "missing; every parameter must be in params.yaml",
}


def _new_name(name: str) -> str | None:
    """Return today's dotted name of a parameter that was renamed, else None."""
    for old, new in RENAMED.items():
        if f".{name}".endswith(f".{old}"):
            return f"{name.rpartition('.')[0]}.{new}"
    return None


def _describe(error: ValidationError, place: str) -> list[str]:
    """Return one line per problem: dotted name, what is expected, what was found."""
    lines = []
    problems = [
        (".".join([*([place] if place else []), *map(str, problem["loc"])]), problem)
        for problem in error.errors(include_url=False)
    ]
    renamed = {name: new for name, _ in problems if (new := _new_name(name))}
    for name, problem in problems:
        if problem["type"] == "missing" and name in renamed.values():
            continue  # the line of the old name says it
        message = _MESSAGES.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
        shown = problem["type"] not in _MESSAGES and not isinstance(problem["input"], dict)
        if name in renamed:
            message = f"renamed to {renamed[name]}; change the name in params.yaml"
        elif shown and name.rpartition(".")[2] not in _SECRET:
            message += f", found {problem['input']!r:.60}{_hinted(problem)}"
        lines.append(f"{name}: {message}" if name else message)
    return lines

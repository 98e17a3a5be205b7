"""params.yaml as typed, validated values; every default stands once, in params.yaml itself.

One model per section. Unknown keys are refused, and all problems are told in one message. Reads
no file (see `lion.config.project`) and decides nothing.
"""

import re
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from lion.errors import SettingsError

EMBEDDED = "embedded"
ITERATION_NAME = re.compile(r"^[0-9][0-9a-z_-]*\Z")

# where a key or a password may stand by mistake: what was found there is not repeated
_UNTOLD = ("base_url", "api_key_env")


def _endpoint_url(value: str) -> str:
    """Refuse what is neither `embedded` nor an http(s) address; strip the closing slash."""
    if value == EMBEDDED:
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected `{EMBEDDED}` or an http(s) address")
    if parts.username or parts.password or parts.query:
        raise ValueError("keys and passwords belong in the environment, not in the address")
    return value.rstrip("/")


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
EndpointUrl = Annotated[str, AfterValidator(_endpoint_url)]


class Section(BaseModel):
    """A section of params.yaml: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class BootstrapSettings(Section):
    """A base pool grown from a few tasks; `generate` overrides the filters of generation."""

    seeds: Annotated[list[str], Field(min_length=1)]
    size: Positive
    classification: Share
    per_call: Positive
    from_seeds: Positive
    from_made: Count
    round: Positive
    generate: dict[str, Any]


class Seed(Section):
    """Where the base pool comes from; `watch` is a path that the stage depends on as well."""

    source: Literal["embedded"] | list[str]
    watch: Annotated[str, Field(min_length=1)]
    size: Positive
    skew: Annotated[float, Field(ge=0)]
    answers: Literal["ask", "keep"]
    holdout: Count
    on_bad_row: Literal["error", "drop"]
    on_contaminated: Literal["error", "drop"]


class Scorer(Section):
    """How an answer is marked against `expected`; `option` is the scorer's own argument.

    exact: option unused. regex: the pattern whose first group is compared with `expected`.
    number: the tolerance. json_schema: the path of a schema file. function: `module:name`.
    """

    kind: Literal["exact", "regex", "number", "json_schema", "referee", "function"]
    option: str | None

    @model_validator(mode="after")
    def _option_fits(self) -> Self:
        if self.kind in ("regex", "json_schema", "function") and not self.option:
            raise ValueError(f"scorer `{self.kind}` needs `option`")
        return self


class Exam(Section):
    """The held-out examination that no pool and no generator ever sees."""

    file: str | None
    size: Positive
    scorer: Scorer


class Decontaminate(Section):
    """What counts as a leaked exam question: the whole of it, or a run of `ngram` words.

    `against` are files of further exams that no pool may give away.
    """

    whole: bool
    ngram: Positive | None
    against: list[str]


def _script(name: str) -> str:
    """Refuse what is no script of Unicode's, by its long name."""
    import regex

    try:
        regex.compile(rf"\p{{Script={name}}}")
    except regex.error as error:
        raise ValueError("a script of Unicode is expected, as Latin or Han") from error
    return name


class Quality(Section):
    """What makes an instruction unusable, in the base pool and in generation."""

    encoding: bool
    scripts: Annotated[list[Annotated[str, AfterValidator(_script)]], Field(min_length=1)] | None
    absent_input: bool
    max_tokens: Positive | None


class Endpoint(Section):
    """An OpenAI-compatible endpoint in one role; `request` is passed on as it is."""

    path: ClassVar[str] = "/chat/completions"

    base_url: EndpointUrl
    model: Annotated[str, Field(min_length=1)]
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None
    send_seed: bool
    request: dict[str, Any]

    @model_validator(mode="after")
    def _request_is_free_of_ours(self) -> Self:
        for key in ("messages", "input", "model", "seed", "stream", "n"):
            if key in self.request:
                raise ValueError(f"request.{key} is set by Lion itself; remove it")
        return self


class EmbeddingEndpoint(Endpoint):
    """An OpenAI-compatible endpoint of embeddings, whose protocol knows no seed."""

    path: ClassVar[str] = "/embeddings"

    send_seed: Literal[False] = False

    @model_validator(mode="after")
    def _is_not_embedded(self) -> Self:
        if self.base_url == EMBEDDED:
            raise ValueError("base_url: the embedded teacher makes no embeddings; name a server")
        return self


class NearDuplicates(Section):
    """A second gate of novelty: the cosine of embeddings is at most `limit`.

    `model` is the folder of a sentence encoder; or `endpoint` is a server of embeddings.
    """

    model: Annotated[str, Field(min_length=1)] | None
    endpoint: EmbeddingEndpoint | None
    limit: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.model is None) == (self.endpoint is None):
            raise ValueError("set exactly one of `model` and `endpoint`, the other to null")
        return self


class Served(Section):
    """A server that answers for the student; Lion names the model, so that it is the right one."""

    base_url: EndpointUrl
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None
    send_seed: bool
    request: dict[str, Any]

    @model_validator(mode="after")
    def _is_an_endpoint(self) -> Self:
        if self.base_url == EMBEDDED:
            raise ValueError("base_url: the embedded teacher is no student; name a server")
        self.endpoint("student", {})
        return self

    def endpoint(self, model: str, request: dict[str, Any]) -> Endpoint:
        """Return the endpoint of `model`; `request` are parameters beside the user's own."""
        asked = {**request, **self.request}
        return Endpoint(**{**self.model_dump(), "model": model, "request": asked})


class Referee(Endpoint):
    """The endpoint that judges, and how its verdicts are asked for.

    schema: as JSON that the server itself keeps to (`response_format`); text: as two lines.
    """

    form: Literal["text", "schema"]

    @model_validator(mode="after")
    def _schema_is_ours(self) -> Self:
        if self.form == "schema" and "response_format" in self.request:
            raise ValueError("request.response_format is set by `form: schema`; remove it")
        return self


class Student(Section):
    """The base student and how its prompts are written."""

    model: Annotated[str, Field(min_length=1)]
    revision: str | None
    trust_remote_code: bool
    prompt_format: Literal["auto", "paper"]
    dtype: Literal["float32", "bfloat16", "float16"]
    threads: Positive | None
    endpoint: Served | None


class Teach(Section):
    """Asking the teacher for the answers of a Train Pool."""

    truncated: Literal["drop", "keep"]
    max_dropped: Share


class Respond(Section):
    """The student sits the Cache Pool; `limit` rows of it, or all of it where null."""

    limit: Positive | None


class Answering(Section):
    """How the student writes, in the Cache Pool's examination and in the exam."""

    temperature: Annotated[float, Field(ge=0)]
    max_tokens: Positive
    batch_size: Positive
    batch_tokens: Positive | None
    engine: Literal["auto", "transformers", "vllm"]
    processes: Positive | None


class ReviewSettings(Section):
    """Who judges: the referee, or the exam's scorer where it can verify; and what is left out.

    A gap within `margin` of tau is uncertain: there the second order is asked (null: everywhere),
    and the sample of `limit` responses favours it. A scorer is free: it judges everything. Each
    order is judged `samples` times and averaged (multiple evidence; Wang et al., ACL 2024).
    """

    judge: Literal["referee", "scorer"]
    samples: Positive
    limit: Positive | None
    favour: Annotated[float, Field(ge=1)]
    margin: Annotated[float, Field(ge=0)] | None
    same_answer: Literal["ask", "skip"]
    audit: Share
    max_dropped: Share


HalfJudged = Literal["undecided", "one_order"]


class Split(Section):
    """gap >= tau is hard; the loop stops where fewer than `min_hard` of the verdicts are hard.

    `half_judged`: what becomes of an instruction whose reviews have scores in one order alone. Tau
    is at least `tau_noise` standard deviations of the gap's noise. `stop_in_noise`: the loop stops
    where hard share or gain are no more than that noise would make.
    """

    tau: float
    tau_noise: Annotated[float, Field(ge=0)]
    half_judged: HalfJudged
    min_hard: Share
    stop_in_noise: bool


class Calibrate(Section):
    """The referee against truth (`anchors`) and against another one (`second`).

    In each of `iterations`. `anchors`: a file of right and wrong answers, or `exam`: made from its
    rows that can be checked.
    """

    iterations: list[str]
    anchors: str | None
    anchor_rows: Positive
    second: Referee | None
    second_rows: Positive

    @model_validator(mode="after")
    def _has_what_to_compare(self) -> Self:
        if self.iterations and self.anchors is None and self.second is None:
            raise ValueError("`iterations` compare the referee with `anchors` or `second`: set one")
        return self


class Generate(Section):
    """New instructions: of which parents, how many, how novel, and when the well is dry.

    `safety`: the referee is asked of each that is kept whether it is safe.
    """

    feedback: Literal["adversarial", "uniform", "uniform-mixed", "balanced"]

    hard: Count
    easy: Count
    novelty: Annotated[float, Field(gt=0, le=1)]
    tokens: Literal["unicode", "reference"]
    near_duplicates: NearDuplicates | None
    safety: bool
    ascii_start: bool
    min_words: Count
    choice: Literal["uniform", "gap", "progress"]
    per_parent: Positive | None
    per_seed: Positive | None
    round: Positive
    min_acceptance: Share
    max_dropped: Share

    @model_validator(mode="after")
    def _choice_has_verdicts(self) -> Self:
        if self.feedback != "adversarial" and self.choice != "uniform":
            raise ValueError(
                f"choice `{self.choice}` reads verdicts, which `feedback: {self.feedback}` does "
                "without; set choice: uniform"
            )
        return self


class Tune(Section):
    """Fine-tuning: `epochs` over the drawn rows, or exactly `steps` optimiser steps."""

    method: Literal["full", "lora", "qlora"]
    optimizer: Literal["adamw", "muon"]
    learning_rate: Annotated[float, Field(gt=0)]
    matrix_learning_rate: Annotated[float, Field(gt=0)] | None
    schedule: Literal["cosine", "linear", "constant"]
    warmup: Share
    weight_decay: Annotated[float, Field(ge=0)]
    clip: Annotated[float, Field(ge=0)]
    epochs: Annotated[float, Field(gt=0)] | None
    steps: Positive | None
    batch_size: Positive
    max_length: Positive
    too_long: Literal["drop", "truncate", "error"]
    max_dropped: Share
    replay: Annotated[float, Field(ge=0)]
    lora_rank: Positive
    gradient_checkpointing: bool

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("set exactly one of `epochs` and `steps`, the other to null")
        return self

    @model_validator(mode="after")
    def _muon_has_its_rate(self) -> Self:
        if (self.optimizer == "muon") != (self.matrix_learning_rate is not None):
            raise ValueError("`matrix_learning_rate` goes with `optimizer: muon`, else null")
        return self


class Launcher(Section):
    """Processes that tune together, by `accelerate launch`; one of them needs no launcher.

    `config` is a file of accelerate's own (FSDP, DeepSpeed, ...), `start` are words put before the
    command, such as srun's, that start it on every machine.
    """

    processes: Positive
    machines: Positive
    main_address: Annotated[str, Field(pattern=r"^[^:\s]+:\d+$")] | None
    config: str | None
    start: list[str]

    @model_validator(mode="after")
    def _machines_have_a_meeting_point(self) -> Self:
        if self.machines > 1 and self.main_address is None:
            raise ValueError("several machines need `main_address`: host:port of one of them")
        if self.processes % self.machines:
            raise ValueError("`processes` counts those of all machines: a multiple of `machines`")
        return self

    @property
    def needed(self) -> bool:
        """Whether there is anything to launch."""
        return self.processes > 1 or self.config is not None


class Hardware(Section):
    """How tuning is run, which decides no output but its last bits: no stage declares it."""

    micro_batch: Positive | None
    packing: Literal["auto", "always", "never"]
    save_every: Positive | None
    keep: Literal["all", "best", "last"]
    launcher: Launcher


class Evaluate(Section):
    """The exam after each iteration; `quality` of its rows also go to the referee."""

    quality: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Positive
    max_dropped: Share


class Exams(Section):
    """BBH and AGIEval: which students sit them, where the official files lie, how they are marked.

    first_letter: the first option letter in the answer, as the paper; stated: one that is clearly
    meant; likelihood: the likeliest letter, without an answer.
    """

    students: list[str]
    folders: list[str]
    scoring: Literal["first_letter", "stated", "likelihood"]
    max_tokens: Positive

    @model_validator(mode="after")
    def _has_what_to_sit(self) -> Self:
        if self.students and not self.folders:
            raise ValueError("`students` sit the exams of `folders`: name one, or set students: []")
        return self


Mode = Literal["live", "batch"]


class Modes(Section):
    """How each role is asked: at once, or through the provider's Batch API."""

    teacher: Mode
    referee: Mode
    generator: Mode


class Api(Section):
    """How endpoints are asked. Never decides an output, so no stage declares it."""

    concurrency: Positive
    timeout: Annotated[float, Field(gt=0)]
    tries: Positive
    max_wait: Annotated[float, Field(gt=0)]
    patience: Annotated[float, Field(gt=0)]
    requests_per_minute: Annotated[float, Field(gt=0)] | None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None
    mode: Modes
    batch_least: Positive
    batch_tail: Share


class Budget(Section):
    """The most that the project's ledger may ever have spent; null is no cap."""

    usd: Annotated[float, Field(ge=0)] | None
    tokens: Count | None
    calls: Count | None


class IterationSettings(Section):
    """One iteration of the loop: its predecessor and what it overrides."""

    previous: str
    generate: dict[str, Any]
    tune: dict[str, Any]


class Base(Section):
    """What the base imitation overrides."""

    tune: dict[str, Any]


class Settings(Section):
    """The whole of params.yaml."""

    random_seed: Count
    inputs: Annotated[str, Field(min_length=1)]
    bootstrap: dict[str, BootstrapSettings]
    seed: Seed
    exam: Exam
    quality: Quality
    decontaminate: Decontaminate
    teacher: Endpoint
    referee: Referee
    generator: Endpoint
    student: Student
    teach: Teach
    answering: Answering
    respond: Respond
    review: ReviewSettings
    split: Split
    calibrate: Calibrate
    generate: Generate
    tune: Tune
    evaluate: Evaluate
    exams: Exams
    api: Api
    hardware: Hardware
    budget: Budget
    base: Base
    iterations: Annotated[dict[str, IterationSettings], Field(min_length=1)]

    @field_validator("bootstrap", mode="before")
    @classmethod
    def _one_base_pool(cls, value: object) -> object:
        if isinstance(value, dict) and not set(value) <= {"0"}:
            raise ValueError('its one name is "0", the base, in quotes')
        return value

    def bootstrap_filters(self, iteration: str) -> Generate:
        """Return the section `generate` as the bootstrap of `iteration` overrides it."""
        return Generate(**{**self.generate.model_dump(), **self.bootstrap[iteration].generate})

    @model_validator(mode="after")
    def _tokens_can_be_counted(self) -> Self:
        if self.quality.max_tokens is not None and self.student.model == EMBEDDED:
            raise ValueError(
                "quality.max_tokens: the embedded student's tokenizer is made from the pool "
                "itself; set it to null"
            )
        return self

    def generate_at(self, iteration: str) -> Generate:
        """Return the section `generate` as `iteration` overrides it."""
        return Generate(**{**self.generate.model_dump(), **self.iterations[iteration].generate})

    def depth(self, iteration: str) -> int:
        """Return how many iterations lie between `iteration` and the base, itself included.

        Draws are keyed by it, so that a branch differs from its sibling only in what it overrides.
        """
        depth, at = 0, iteration
        while at in self.iterations:
            depth, at = depth + 1, self.iterations[at].previous
        return depth

    def tune_at(self, iteration: str) -> Tune:
        """Return the section `tune` as `iteration` (or "0", the base) overrides it."""
        override = self.base.tune if iteration == "0" else self.iterations[iteration].tune
        return Tune(**{**self.tune.model_dump(), **override})


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
    problems += [
        f"exams.students: there is no iteration {name!r}"
        for name in settings.exams.students
        if name != "0" and name not in settings.iterations
    ]
    if problems:
        raise _refusal(problems)
    return settings


def _refusal(problems: list[str]) -> SettingsError:
    lines = "\n".join(f"  {problem}" for problem in problems)
    return SettingsError(
        f"params.yaml is not usable:\n{lines}\nMend these lines and run `lion check`."
    )


def _with_text_keys(document: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return the problems of iterations' names, and the document with names that are text.

    An unquoted name is a number in YAML, and DVC then makes no stage of it. The rest of the
    document is still looked at, so that all problems are told at once.
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
        at = f"bootstrap.{name}.generate"
        places.append((at, Generate, settings.generate, entry.generate))
    for name, iteration in settings.iterations.items():
        at = f"iterations.{name}"
        places.append((f"{at}.tune", Tune, settings.tune, iteration.tune))
        places.append((f"{at}.generate", Generate, settings.generate, iteration.generate))
    for place, model, defaults, override in places:
        try:
            model.model_validate({**defaults.model_dump(), **override})
        except ValidationError as error:
            problems += _describe(error, place)
    return problems


def _noise_problems(settings: Settings) -> list[str]:
    """Tau that follows from the noise needs it, and the gaps, in both orders everywhere."""
    if settings.split.tau_noise and settings.review.margin is not None:
        return ["split.tau_noise: with it every order is asked; set review.margin: null"]
    return []


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


def _loops(name: str, iterations: dict[str, IterationSettings]) -> bool:
    seen, at = set(), name
    while at in iterations and at not in seen:
        seen.add(at)
        at = iterations[at].previous
    return at == name


def _hint(found: object) -> str:
    """Say what YAML 1.1 does to numbers such as 2e-5."""
    if isinstance(found, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", found, re.IGNORECASE):
        return "; YAML reads that as text: put a point before the e (2.0e-5)"
    return ""


def _describe(error: ValidationError, place: str) -> list[str]:
    """One line per problem: dotted name, what is expected, what was found."""
    lines = []
    for problem in error.errors(include_url=False):
        parts = [place] if place else []
        parts += [str(part) for part in problem["loc"]]
        name = ".".join(parts)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "no such parameter"
        elif problem["type"] == "missing":
            message = "missing; every parameter stands in params.yaml"
        elif not isinstance(problem["input"], dict) and parts[-1] not in _UNTOLD:
            message += f", found {problem['input']!r:.60}"
            message += _hint(problem["input"])
        lines.append(f"{name}: {message}")
    return lines

"""The sections of params.yaml, as typed settings: pools, judging, the student and its training."""

from string import Template
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lion.config.endpoint_settings import (
    EMBEDDED,
    Count,
    EmbeddingEndpoint,
    Positive,
    Referee,
    Section,
    Served,
    Share,
)

TICKETS = "tickets"
"""The value of `seed.source` and `exam.file` for the simulator's narrow task."""
TICKET_FIELDS = ("subject", "body")


class Turn(Section):
    """A turn of a declared task; `content` has `$field` where a field stands, `$$` for a dollar."""

    role: Literal["system", "user", "assistant"]
    content: str


class TaskSettings(Section):
    """One narrow task: the fixed part of every conversation, and the fields that rows bring.

    `good` says what a good answer is, for generator and referee. Without fields each row is a
    conversation of its own.
    """

    fields: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]]
    messages: list[Turn]
    good: str | None

    @model_validator(mode="after")
    def _fields_stand_in_messages(self) -> Self:
        if not self.fields:
            return self
        if not self.messages or self.messages[-1].role != "user":
            raise ValueError("messages: the last turn must be the user's")
        used: set[str] = set()
        for number, turn in enumerate(self.messages, start=1):
            template = Template(turn.content)
            if not template.is_valid():
                raise ValueError(
                    f"messages: turn {number} has a `$` that begins no field; write `$$` for a "
                    "literal dollar"
                )
            used |= set(template.get_identifiers())
        if used != set(self.fields):
            wrong = ", ".join(f"${name}" for name in sorted(used ^ set(self.fields)))
            raise ValueError(f"fields and the placeholders of messages differ by {wrong}")
        return self


class BootstrapSettings(Section):
    """A base pool grown from a few tasks; `generate` overrides the filters of generation."""

    seeds: Annotated[list[str], Field(min_length=1)]
    size: Positive
    classification: Share
    per_call: Positive
    from_seeds: Positive
    from_made: Count
    requests_per_round: Positive
    generate: dict[str, Any]


class Seed(Section):
    """Where the base pool comes from; `depends_on` is a path that the stage depends on as well."""

    source: Literal["embedded", "tickets"] | list[str]
    depends_on: Annotated[str, Field(min_length=1)]
    size: Positive
    skew: Annotated[float, Field(ge=0)]
    answers: Literal["ask", "keep"]
    holdout: Count
    on_bad_row: Literal["error", "drop"]
    on_contaminated: Literal["error", "drop"]

    @property
    def simulated(self) -> bool:
        """Whether the simulator draws the pool: its task families, or its support tickets."""
        return isinstance(self.source, str)


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


class Generate(Section):
    """New instructions: of which parents, how many, how novel, and which acceptance is too low.

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
    max_descendants: Positive | None
    requests_per_round: Positive
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


class Teach(Section):
    """Asking the teacher for the answers of a Train Pool.

    `filter`: which answers are trained on: all, those in the form that exam.scorer reads, or those
    that are also right where the row has an expected answer. One that is rejected is asked for
    again, in all at most `samples` times, and then dropped.
    """

    truncated: Literal["drop", "keep"]
    filter: Literal["none", "valid", "correct"]
    samples: Positive
    max_dropped: Share


HalfJudged = Literal["undecided", "one_order"]


class NumberRule(Section):
    """A field of JSON that is a number, right within the tolerance `number`."""

    number: Annotated[float, Field(ge=0)]


FieldRule = Literal["label", "exact", "set", "text"] | NumberRule
"""How a field is compared. label: exactly, one of few values, with a confusion matrix. set: a list
without regard to order. text: without regard to case, white space and closing punctuation."""


class Scorer(Section):
    """How an answer is marked against `expected`; `option` is the scorer's own argument.

    exact: option unused. regex: the pattern whose first group is compared with `expected`.
    number: the tolerance. math: unused. json_schema: the path of a schema file. json: the same or
    null, and `fields`, the rule of each. function: `module:name`.
    """

    kind: Literal["exact", "regex", "number", "math", "json_schema", "json", "referee", "function"]
    option: str | None
    fields: dict[str, FieldRule] = Field(default_factory=dict)

    def __hash__(self) -> int:
        """Return the same number for equal scorers: markers are cached by scorer."""
        return hash((self.kind, self.option, tuple(self.fields)))

    @model_validator(mode="after")
    def _option_fits(self) -> Self:
        if self.kind in ("regex", "json_schema", "function") and not self.option:
            raise ValueError(f"scorer `{self.kind}` needs `option`")
        if (self.kind == "json") != bool(self.fields):
            raise ValueError(
                "`fields` goes with scorer `json` alone; write {kind: json, option: null, "
                "fields: {label: label, order: exact}}"
            )
        return self


class Exam(Section):
    """The held-out examination that no pool and no generator ever sees.

    `certify` sets rows apart for the certificate: a share of the exam, or a file of further rows.
    The run stops after its first calls, at most 50, where the teacher is right on a smaller share
    of exam rows than `teacher_at_least`; 0 asks nothing.
    """

    file: str | None
    size: Positive
    teacher_at_least: Share
    scorer: Scorer
    certify: Annotated[float, Field(gt=0, lt=1)] | Annotated[str, Field(min_length=1)] | None

    @property
    def simulated(self) -> bool:
        """Whether the simulator draws the exam: its task families, or its support tickets."""
        return self.file in (EMBEDDED, TICKETS)


class ReviewSettings(Section):
    """Who judges: the referee, the exam's scorer where it can verify, or the student's likelihood.

    A gap within `second_order_margin` of tau is uncertain: there the second order is asked (null:
    everywhere), and the sample of `limit` responses favours it. A scorer is free: it judges
    everything. Each order is judged `samples` times and averaged (multiple evidence; Wang et al.,
    ACL 2024). The likelihood ranks all of the Cache Pool; `ifd` takes off what an answer costs by
    itself, and the referee judges `audited_rows` all the same.
    """

    judge: Literal["referee", "scorer", "likelihood"]
    ifd: bool
    audited_rows: Count
    samples: Positive
    limit: Positive | None
    uncertain_weight: Annotated[float, Field(ge=1)]
    second_order_margin: Annotated[float, Field(ge=0)] | None
    same_answer: Literal["ask", "skip"]
    audit_rate: Share
    max_dropped: Share


class Split(Section):
    """gap >= tau is hard; the loop stops where fewer than `min_hard` of the verdicts are hard.

    Where the likelihood judges, `hard_share` of the rows are hard, the least likely answers, but
    `uniform_share` of these rows by lot.

    `half_judged`: what becomes of an instruction whose reviews have scores in one order alone. Tau
    is at least `tau_noise` standard deviations of the gap's noise. `stop_in_noise`: the loop stops
    where hard share or gain are no more than that noise would make.
    """

    tau: float
    tau_noise: Annotated[float, Field(ge=0)]
    hard_share: Annotated[float, Field(gt=0, le=1)]
    uniform_share: Share
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


class Evaluate(Section):
    """The exam after each iteration; `quality` of its rows also go to the referee.

    `referee` is evaluation's own, None the loop's: a student selected by one judge is best graded
    by another. It judges each order `samples` times (multiple evidence; Wang et al., ACL 2024).
    """

    quality: Count
    referee: Referee | None
    samples: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Positive
    max_dropped: Share


class Exams(Section):
    """BBH and AGIEval: which students take them, where the official files lie, how they are marked.

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
            raise ValueError(
                "`students` take the exams of `folders`: name one, or set students: []"
            )
        return self


class Certify(Section):
    """What a student may answer alone: the promise, and what its answers cost.

    `rows_for`: whether the rows set apart certify one student, with all of 1 - `confidence`, or
    every student of `students`, the i-th with 6 / (pi i)^2 of it. `ask`: who may get new requests.
    """

    students: list[str]
    agreement: Annotated[float, Field(gt=0, lt=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    rows_for: Literal["one_student", "every_student"]
    ask: list[Literal["teacher", "referee"]]
    self_rows: Positive
    audit: Share
    hosting_usd_per_1000: Annotated[float, Field(ge=0)]
    training_usd: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _rows_are_for_so_many(self) -> Self:
        if self.rows_for == "one_student" and len(self.students) > 1:
            raise ValueError(
                "rows_for `one_student` certifies one of `students`; name one, or set "
                "rows_for: every_student"
            )
        if len(set(self.students)) < len(self.students):
            raise ValueError("`students` names one twice")
        return self


class Student(Section):
    """The base student and how its prompts are written."""

    model: Annotated[str, Field(min_length=1)]
    revision: str | None
    trust_remote_code: bool
    prompt_format: Literal["auto", "paper", "paper-v1"]
    dtype: Literal["float32", "bfloat16", "float16"]
    threads: Positive | None
    endpoint: Served | None


class Answering(Section):
    """How the student writes, in the Cache Pool's examination and in the exam.

    `form`: freely, or JSON that the schema of `exam.scorer` allows, at each token.
    """

    form: Literal["text", "schema"]
    temperature: Annotated[float, Field(ge=0)]
    max_tokens: Positive
    batch_size: Positive
    batch_tokens: Positive | None
    engine: Literal["auto", "transformers", "vllm"]
    processes: Positive | None


class Respond(Section):
    """The student answers `limit` rows of the Cache Pool, or all of it where null."""

    limit: Positive | None


class Tune(Section):
    """Fine-tuning: `epochs` over the drawn rows, or exactly `steps` optimiser steps.

    `replay` old rows are drawn per new one: uniformly, or half of them in proportion to the rise of
    their nats per token above the least value so far (`forgotten`, where the likelihood judges).
    A `validation_share` of the base pool is never trained on: the student has the weights of the
    smallest loss on it, and training stops after `stop_after` validations, of 20, without a smaller
    one. `prompt`: the teacher's conversation, only what differs from row to row, or turns with the
    fields of the task.
    """

    prompt: Literal["same", "none"] | Annotated[list[Turn], Field(min_length=1)]

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
    replay_choice: Literal["uniform", "forgotten"]
    lora_rank: Positive
    gradient_checkpointing: bool
    validation_share: Annotated[float, Field(ge=0, lt=1)]
    stop_after: Positive | None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("set exactly one of `epochs` and `steps`, the other to null")
        return self

    @model_validator(mode="after")
    def _stops_by_validation(self) -> Self:
        if self.stop_after is not None and not self.validation_share:
            raise ValueError("`stop_after` counts validations; set `validation_share`, as to 0.05")
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
    keep_students: Literal["all", "best", "last"]
    launcher: Launcher

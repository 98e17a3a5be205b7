"""Sections of params.yaml about judging: reviews, the split by difficulty, exams, certificates."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lion.config.endpoint_settings import (
    EMBEDDED,
    Count,
    Positive,
    Referee,
    Section,
    Share,
)
from lion.config.pool_sections import TICKETS

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

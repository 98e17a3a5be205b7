"""Sections of params.yaml about judging: review, split, calibrate, and the exams."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lion.config.endpoint_settings import Count, Positive, Referee, Section, Share

HalfJudged = Literal["undecided", "one_order"]


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

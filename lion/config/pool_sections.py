"""Sections of params.yaml about pools: task, given rows, filters, generation, answers to learn."""

from string import Template
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lion.config.endpoint_settings import (
    Count,
    EmbeddingEndpoint,
    Positive,
    Section,
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

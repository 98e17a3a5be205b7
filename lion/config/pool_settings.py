"""Sections of params.yaml about the pools: the base pool, its filters, and generation."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lion.config.endpoint_settings import Count, EmbeddingEndpoint, Positive, Section, Share


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


class Teach(Section):
    """Asking the teacher for the answers of a Train Pool."""

    truncated: Literal["drop", "keep"]
    max_dropped: Share

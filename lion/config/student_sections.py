"""Sections of params.yaml about the student: its model, answers, training, and hardware."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lion.config.endpoint_settings import (
    Positive,
    Section,
    Served,
    Share,
)
from lion.config.pool_sections import Turn


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

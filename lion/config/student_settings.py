"""Sections of params.yaml about the student: its checkpoint, inference, training and hardware."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lion.config.endpoint_settings import Positive, Section, Served, Share


class Student(Section):
    """The base student and how its prompts are written."""

    model: Annotated[str, Field(min_length=1)]
    revision: str | None
    trust_remote_code: bool
    prompt_format: Literal["auto", "paper"]
    dtype: Literal["float32", "bfloat16", "float16"]
    threads: Positive | None
    endpoint: Served | None


class Answering(Section):
    """How the student writes, in the Cache Pool's examination and in the exam."""

    temperature: Annotated[float, Field(ge=0)]
    max_tokens: Positive
    batch_size: Positive
    batch_tokens: Positive | None
    engine: Literal["auto", "transformers", "vllm"]
    processes: Positive | None


class Respond(Section):
    """The student sits the Cache Pool; `limit` rows of it, or all of it where null."""

    limit: Positive | None


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

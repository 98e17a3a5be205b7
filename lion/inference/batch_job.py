"""A batch job: what a student computes of many instructions, in batches that are kept on disk.

A job writes answers, or scores those that exist. Its batches follow from rows and params, so that a
killed stage and other processes find the same ones. `batch_inference` runs jobs.
"""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self

from lion.config.settings import Answering, Student
from lion.errors import ModelError
from lion.inference import answer_likelihood, backend
from lion.inference.answer_likelihood import ScoredAnswer
from lion.inference.backend import Prompt
from lion.inference.response_shards import R, ResponseShards, answers_key
from lion.inference.vllm_backend import Vllm
from lion.records.rows import Answer, Instruction, Likelihood, Message
from lion.student import checkpoint as students
from lion.student.chat_format import ChatFormatter
from lion.student.prompt import StudentPrompt, student_rows
from lion.student.student_formatter import student_formatter

Progress = Callable[[int, int], None]
Measure = Literal["answers", "likelihoods", "likelihoods_and_unprompted"]
_ENCODING_BATCH = 1000  # rows


@dataclass(frozen=True, slots=True)
class AnsweringTask:
    """Everything that decides the rows of a job, except the instructions.

    Answers that are `scored` bring their tokens' log probabilities. `schema` is the JSON schema
    that answers keep to (`answer_schema`), None where they are free.
    """

    student: Path
    settings: Student
    answering: Answering
    random_seed: int
    model_name: str
    measure: Measure = "answers"
    scored: bool = False
    schema: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the task as values of JSON."""
        return {
            "student": str(self.student),
            "settings": self.settings.model_dump(),
            "answering": self.answering.model_dump(),
            "random_seed": self.random_seed,
            "model_name": self.model_name,
            "measure": self.measure,
            "scored": self.scored,
            "schema": self.schema,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """Return the task of a document that `to_json` returned."""
        return cls(
            Path(row["student"]),
            Student.model_validate(row["settings"]),
            Answering.model_validate(row["answering"]),
            row["random_seed"],
            row["model_name"],
            row["measure"],
            row["scored"],
            row["schema"],
        )


@dataclass(frozen=True, slots=True)
class BatchJob(ABC, Generic[R]):
    """A task with its batches, in the order of the plan, and the files of their rows.

    `refused` are the rows that no batch holds.
    """

    task: AnsweringTask
    plan: tuple[Sequence[Prompt], ...]
    refused: Mapping[str, R]
    shards: ResponseShards[R]
    encoder: ChatFormatter
    KIND: ClassVar[type[Answer] | type[Likelihood]]
    WRITES: ClassVar[bool]

    @classmethod
    def planned(cls, instructions: Sequence[Instruction], task: AnsweringTask, keep: Path) -> Self:
        """Encode the instructions, each id once, and split them into batches."""
        encoder = student_formatter(task.student, task.settings)
        limit = students.student_context_length(task.student, task.settings)
        engine = backend.chosen_engine(task.answering)
        distinct = list({row.id: row for row in instructions}.values())
        distinct = list(student_rows(distinct, StudentPrompt.read(task.student)))
        prompts, refused = cls._prompts(encoder, distinct, task, limit)
        plan = tuple(backend.batches(prompts, task.answering, engine, limit, writes=cls.WRITES))
        decisive = task.to_json() | {"engine": engine, "device": students.device_kind()}
        del decisive["student"], decisive["answering"]["processes"]
        name = answers_key(plan, task.student, decisive)
        shards: ResponseShards[Any] = ResponseShards(keep / name, cls.KIND)
        return cls(task, plan, refused, shards, encoder)

    @classmethod
    @abstractmethod
    def _prompts(
        cls,
        encoder: ChatFormatter,
        rows: Sequence[Instruction],
        task: AnsweringTask,
        context: int | None,
    ) -> tuple[Sequence[Prompt], Mapping[str, R]]:
        """Return the encoded rows, and those refused; `context` is in tokens."""

    @abstractmethod
    def _engine(self) -> Callable[[Sequence[Any]], list[R]]:
        """Return the loaded student. Raises ModelError."""

    def missing(self) -> list[int]:
        """Return the positions in `plan` of the batches that have no rows on disk yet."""
        return [
            number
            for number, batch in enumerate(self.plan)
            if self.shards.load(number, batch) is None
        ]

    def run(self, rank: int, processes: int, progress: Progress | None = None) -> None:
        """Compute this process's share of the missing batches. Raises ModelError."""
        missing = self.missing()[rank::processes]
        if not missing:
            return
        engine = self._engine()
        total = sum(len(batch) for batch in self.plan)
        done = total - sum(len(self.plan[number]) for number in missing)
        for number in missing:
            self.shards.save(number, engine(self.plan[number]))
            done += len(self.plan[number])
            if progress is not None:
                progress(done, total)

    def rows(self) -> dict[str, R]:
        """Return all rows by id. Raises ModelError where some are missing."""
        by_id = dict(self.refused)
        for number, batch in enumerate(self.plan):
            rows = self.shards.load(number, batch)
            if rows is None:
                raise ModelError(
                    f"{self.shards.folder}: batch {number} is missing or damaged. Is the disk "
                    "full? Run again: what is done is kept."
                )
            by_id |= {row.id: row for row in rows}
        return by_id


@dataclass(frozen=True, slots=True)
class AnswerJob(BatchJob[Answer]):
    """Writes an answer to each instruction."""

    KIND = Answer
    WRITES = True

    @classmethod
    def _prompts(
        cls,
        encoder: ChatFormatter,
        rows: Sequence[Instruction],
        task: AnsweringTask,  # noqa: ARG003  # the same for all jobs
        context: int | None,  # noqa: ARG003
    ) -> tuple[Sequence[Prompt], Mapping[str, Answer]]:
        pairs = [(row.id, row.messages) for row in rows]
        return [prompt for part in _parts(pairs) for prompt in _encoded(encoder, part)], {}

    def _engine(self) -> Callable[[Sequence[Any]], list[Answer]]:
        task = self.task
        engine: backend.Engine
        if backend.chosen_engine(task.answering) == "vllm":
            engine = Vllm(
                task.student,
                task.settings,
                task.answering,
                task.random_seed,
                self.encoder,
                scored=task.scored,
                schema=task.schema,
            )
        else:
            model = students.load_model(task.student, task.settings)
            engine = _transformers().Decoder(
                model,
                self.encoder,
                task.answering,
                task.random_seed,
                scored=task.scored,
                schema=task.schema,
            )

        def answers(batch: Sequence[Any]) -> list[Answer]:
            return [
                Answer(prompt.id, text, reason, task.model_name, tokens)
                for prompt, (text, reason, tokens) in zip(batch, engine(batch), strict=True)
            ]

        return answers


@dataclass(frozen=True, slots=True)
class LikelihoodJob(BatchJob[Likelihood]):
    """Scores the answer that each instruction has."""

    KIND = Likelihood
    WRITES = False

    @classmethod
    def _prompts(
        cls,
        encoder: ChatFormatter,
        rows: Sequence[Instruction],
        task: AnsweringTask,
        context: int | None,
    ) -> tuple[Sequence[Prompt], Mapping[str, Likelihood]]:
        unprompted = task.measure == "likelihoods_and_unprompted"
        if backend.chosen_engine(task.answering) == "vllm" and context is not None:
            context -= 1  # vLLM always writes a token
        answers: list[ScoredAnswer] = []
        refused: dict[str, Likelihood] = {}
        for part in _parts(rows):
            for answer in answer_likelihood.scored_answers(part, encoder, unprompted=unprompted):
                reason = answer_likelihood.refusal(answer, context)
                if reason is None:
                    answers.append(answer)
                else:
                    refused[answer.id] = Likelihood(answer.id, None, answer.scored, reason=reason)
        return answers, refused

    def _engine(self) -> Callable[[Sequence[Any]], list[Likelihood]]:
        task = self.task
        if backend.chosen_engine(task.answering) == "vllm":
            return Vllm(
                task.student, task.settings, task.answering, task.random_seed, self.encoder
            ).likelihoods
        hf, model = _transformers(), students.load_model(task.student, task.settings)
        scorer: Callable[[Sequence[Any]], list[Likelihood]]
        scorer = hf.AnswerScorer(model, self.encoder.end_of_turn, hf.device())
        return scorer


JOBS: Mapping[Measure, type[BatchJob[Any]]] = {
    "answers": AnswerJob,
    "likelihoods": LikelihoodJob,
    "likelihoods_and_unprompted": LikelihoodJob,
}
"""The job that computes each measure."""


def _transformers() -> Any:
    """Return the backend of transformers. Imports torch, which vLLM loads itself."""
    from lion.inference import hf_backend

    return hf_backend


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield the rows in parts that are encoded together."""
    return (rows[first : first + _ENCODING_BATCH] for first in range(0, len(rows), _ENCODING_BATCH))


def _encoded(encoder: ChatFormatter, rows: Sequence[tuple[str, Sequence[Message]]]) -> list[Prompt]:
    encoded = encoder.prompts([messages for _, messages in rows])
    return [Prompt(id, array("i", tokens)) for (id, _), tokens in zip(rows, encoded, strict=True)]

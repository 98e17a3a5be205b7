"""Batch inference with the student's checkpoint: instructions in, answers out, in the same order.

Batches follow from rows and params. Finished batches are kept (`response_shards`), so a killed
stage resumes; several processes share the batches through accelerate.
"""

import os
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lion.config.settings import Answering, Student
from lion.errors import ModelError
from lion.inference import backend
from lion.inference.backend import Engine, Prompt
from lion.inference.response_shards import ResponseShards, answers_key
from lion.inference.vllm_backend import Vllm
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, Message
from lion.student import checkpoint as students
from lion.student import fingerprint
from lion.student.chat_format import ChatFormatter

Progress = Callable[[int, int], None]
_TASK = "task.json"
_ROWS = "rows.jsonl"
_ENCODING_BATCH = 1000  # prompts
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AnsweringTask:
    """Everything that decides the answers, except the rows; `scored` answers bring their tokens."""

    student: Path
    settings: Student
    answering: Answering
    random_seed: int
    model_name: str
    scored: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the task as values of JSON."""
        return {
            "student": str(self.student),
            "settings": self.settings.model_dump(),
            "answering": self.answering.model_dump(),
            "random_seed": self.random_seed,
            "model_name": self.model_name,
            "scored": self.scored,
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
            row["scored"],
        )


def answer(
    instructions: Sequence[Instruction],
    task: AnsweringTask,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> list[Answer]:
    """Return the student's answer to each instruction, in their order.

    Temperature 0 is greedy. `finish_reason` is `stop` where the student ended its turn, `length`
    where `max_tokens` or the model's context did. Finished batches are kept in a folder in `keep`,
    for a run after a kill. `progress` is called with (answered, total). Raises ModelError, and
    DataError where the chat template refuses a conversation.
    """
    if not instructions:
        return []
    with ExitStack() as stack:
        if keep is None:
            keep = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        job = BatchJob.planned(instructions, task, keep)
        fingerprint.remove_other_tasks(job.shards.folder)
        processes = min(_processes(task.answering), len(job.missing()))
        if processes > 1:
            _launch(job, instructions, processes, progress)
        else:
            job.run(0, 1, progress)
        done = job.answers()
    return [done[row.id] for row in instructions]


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A task with its batches, in the order of the plan, and the files of their answers."""

    task: AnsweringTask
    plan: tuple[Sequence[Prompt], ...]
    shards: ResponseShards
    encoder: ChatFormatter

    @classmethod
    def planned(cls, instructions: Sequence[Instruction], task: AnsweringTask, keep: Path) -> Self:
        """Encode the prompts, each id once, and split them into batches."""
        tokenizer = students.load_tokenizer(task.student, task.settings)
        encoder = ChatFormatter(tokenizer, task.settings.prompt_format)
        distinct = list({row.id: row.messages for row in instructions}.items())
        prompts = [
            prompt
            for first in range(0, len(distinct), _ENCODING_BATCH)
            for prompt in _encoded(encoder, distinct[first : first + _ENCODING_BATCH])
        ]
        engine = backend.chosen_engine(task.answering)
        limit = students.student_context_length(task.student, task.settings)
        plan = tuple(backend.batches(prompts, task.answering, engine, limit))
        decisive = task.to_json() | {"engine": engine, "device": students.device_kind()}
        del decisive["student"], decisive["answering"]["processes"]
        name = answers_key(plan, task.student, decisive)
        return cls(task, plan, ResponseShards(keep / name), encoder)

    def missing(self) -> list[int]:
        """Return the numbers of the batches without answers."""
        return [
            number
            for number, batch in enumerate(self.plan)
            if self.shards.load(number, batch) is None
        ]

    def run(self, rank: int, processes: int, progress: Progress | None = None) -> None:
        """Answer this process's share of the missing batches. Raises ModelError."""
        missing = self.missing()[rank::processes]
        if not missing:
            return
        engine = self._engine()
        total = sum(len(batch) for batch in self.plan)
        done = total - sum(len(self.plan[number]) for number in missing)
        for number in missing:
            self._answer(number, engine)
            done += len(self.plan[number])
            if progress is not None:
                progress(done, total)

    def answers(self) -> dict[str, Answer]:
        """Return all answers by id. Raises ModelError where some are missing."""
        by_id: dict[str, Answer] = {}
        for number, batch in enumerate(self.plan):
            answers = self.shards.load(number, batch)
            if answers is None:
                raise ModelError(
                    f"{self.shards.folder}: batch {number} is missing or damaged. Is the disk "
                    "full? Run again: what is done is kept."
                )
            by_id |= {answer.id: answer for answer in answers}
        return by_id

    def _answer(self, number: int, engine: Engine) -> None:
        batch = self.plan[number]
        answers = [
            Answer(prompt.id, text, reason, self.task.model_name, tokens)
            for prompt, (text, reason, tokens) in zip(batch, engine(batch), strict=True)
        ]
        self.shards.save(number, answers)

    def _engine(self) -> Engine:
        task = self.task
        if backend.chosen_engine(task.answering) == "vllm":
            return Vllm(
                task.student,
                task.settings,
                task.answering,
                task.random_seed,
                self.encoder,
                scored=task.scored,
            )
        from lion.inference.hf_backend import Decoder

        model = students.load_model(task.student, task.settings)
        return Decoder(model, self.encoder, task.answering, task.random_seed, scored=task.scored)


def _encoded(encoder: ChatFormatter, rows: Sequence[tuple[str, Sequence[Message]]]) -> list[Prompt]:
    encoded = encoder.prompts([messages for _, messages in rows])
    return [Prompt(id, array("i", tokens)) for (id, _), tokens in zip(rows, encoded, strict=True)]


def _processes(answering: Answering) -> int:
    """Return the number of processes: `answering.processes`, else one per GPU, at least one.

    vLLM distributes its GPUs itself.
    """
    if backend.chosen_engine(answering) == "vllm":
        return 1
    if answering.processes is not None:
        return answering.processes
    import torch

    return max(1, torch.accelerator.device_count())


def _launch(
    job: BatchJob,
    instructions: Sequence[Instruction],
    processes: int,
    progress: Progress | None,
) -> None:
    """Share the batches between processes of `inference_worker`, and report their progress.

    Raises ModelError where one of them fails.
    """
    folder = job.shards.folder
    jsonl.write(folder / _ROWS, instructions)
    jsonl.write_document(folder / _TASK, {"parent": os.getpid(), **job.task.to_json()})
    # `multi_gpu` is accelerate's name for one process per device, also on CPUs.
    options = ["--multi_gpu", f"--num_processes={processes}", "--num_machines=1"]
    options += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    command = [
        "-m",
        "accelerate.commands.launch",
        *options,
        "--module",
        "lion.inference.inference_worker",
    ]
    sizes = [len(batch) for batch in job.plan]
    with subprocess.Popen([sys.executable, *command, str(folder)]) as process:  # noqa: S603  # no user input
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
            if progress is not None:
                done = sum(size for number, size in enumerate(sizes) if job.shards.has(number))
                progress(done, sum(sizes))
    if process.returncode:
        raise ModelError(
            f"the answering processes ended with exit code {process.returncode}; what they said "
            "stands above. The batches that are done are kept: run again for the others."
        )


def read_job(folder: Path) -> tuple[BatchJob, int]:
    """Return the job that the launching process wrote to `folder`, and that process's id."""
    document = jsonl.read_document(folder / _TASK)
    rows = jsonl.read(folder / _ROWS, Instruction)
    job = BatchJob.planned(rows, AnsweringTask.from_json(document), folder.parent)
    if job.shards.folder != folder:
        raise ModelError(f"{folder}: the student or the code has changed meanwhile. Run again.")
    return job, int(document["parent"])

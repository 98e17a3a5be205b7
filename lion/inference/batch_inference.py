"""The student's answers: instructions in, answers out, in the same order.

Batches follow from rows and params; what is done is kept (`response_shards`), so that a killed
stage goes on where it was; several processes share the batches through accelerate. Judges nothing.
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
from lion.student import resume
from lion.student.chat_format import ChatFormatter

Progress = Callable[[int, int], None]
_TASK = "task.json"
_ROWS = "rows.jsonl"
_ENCODED_AT_ONCE = 1000
_LOOK_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class AnsweringTask:
    """What decides the answers, beside the rows."""

    student: Path
    settings: Student
    answering: Answering
    random_seed: int
    model_name: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "student": str(self.student),
            "settings": self.settings.model_dump(),
            "answering": self.answering.model_dump(),
            "random_seed": self.random_seed,
            "model_name": self.model_name,
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """Read what `to_json` made."""
        return cls(
            Path(row["student"]),
            Student.model_validate(row["settings"]),
            Answering.model_validate(row["answering"]),
            row["random_seed"],
            row["model_name"],
        )


def answer(
    instructions: Sequence[Instruction],
    task: AnsweringTask,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> list[Answer]:
    """Return the student's answer to each instruction, in their order.

    Temperature 0 is greedy. `finish_reason` is `stop` where the student ended its turn, `length`
    where `max_tokens` (or the model's context) did. Batches that are done lie in a folder of
    `keep`, for whoever comes after a kill. `progress` is told (answered, all). Raises ModelError,
    and DataError where the chat template refuses a conversation.
    """
    if not instructions:
        return []
    with ExitStack() as stack:
        if keep is None:
            keep = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sitting = Sitting.planned(instructions, task, keep)
        resume.forget_others(sitting.kept.folder)
        processes = min(_processes(task.answering), len(sitting.missing()))
        if processes > 1:
            _launch(sitting, instructions, processes, progress)
        else:
            sitting.work(0, 1, progress)
        done = sitting.answers()
    return [done[row.id] for row in instructions]


@dataclass(frozen=True, slots=True)
class Sitting:
    """A task with its batches, in the order of the plan, and where their answers are kept."""

    task: AnsweringTask
    plan: tuple[Sequence[Prompt], ...]
    kept: ResponseShards
    encoder: ChatFormatter
    tokenizer: Any

    @classmethod
    def planned(cls, instructions: Sequence[Instruction], task: AnsweringTask, keep: Path) -> Self:
        """Encode the prompts, each id once, and cut them into batches."""
        tokenizer = students.load_tokenizer(task.student, task.settings)
        encoder = ChatFormatter(tokenizer, task.settings.prompt_format)
        distinct = list({row.id: row.messages for row in instructions}.items())
        prompts = [
            prompt
            for at in range(0, len(distinct), _ENCODED_AT_ONCE)
            for prompt in _encoded(encoder, distinct[at : at + _ENCODED_AT_ONCE])
        ]
        engine = backend.chosen_engine(task.answering)
        limit = students.student_context_length(task.student, task.settings)
        plan = tuple(backend.batches(prompts, task.answering, engine, limit))
        decisive = task.to_json() | {"engine": engine, "device": students.device_kind()}
        del decisive["student"], decisive["answering"]["processes"]
        name = answers_key(plan, task.student, decisive)
        return cls(task, plan, ResponseShards(keep / name), encoder, tokenizer)

    def missing(self) -> list[int]:
        """Return the numbers of the batches that are not answered yet."""
        return [at for at, batch in enumerate(self.plan) if self.kept.load(at, batch) is None]

    def work(self, place: int, of: int, progress: Progress | None = None) -> None:
        """Answer every `of`th missing batch from the `place`th on. Raises ModelError."""
        missing = self.missing()[place::of]
        if not missing:
            return
        engine = self._engine()
        total = sum(len(batch) for batch in self.plan)
        done = total - sum(len(self.plan[at]) for at in missing)
        for at in missing:
            self._answer(at, engine)
            done += len(self.plan[at])
            if progress is not None:
                progress(done, total)

    def answers(self) -> dict[str, Answer]:
        """Return all answers by id. Raises ModelError where some are missing."""
        found: dict[str, Answer] = {}
        for at, batch in enumerate(self.plan):
            answers = self.kept.load(at, batch)
            if answers is None:
                raise ModelError(
                    f"{self.kept.folder}: batch {at} is missing or damaged. Is the disk full? Run "
                    "again: what is done is kept."
                )
            found |= {answer.id: answer for answer in answers}
        return found

    def _answer(self, at: int, engine: Engine) -> None:
        batch = self.plan[at]
        answers = [
            Answer(prompt.id, text, reason, self.task.model_name)
            for prompt, (text, reason) in zip(batch, engine(batch), strict=True)
        ]
        self.kept.save(at, answers)

    def _engine(self) -> Engine:
        task = self.task
        if backend.chosen_engine(task.answering) == "vllm":
            return Vllm(task.student, task.settings, task.answering, task.random_seed, self.encoder)
        from lion.inference.hf_backend import Decoder

        model = students.load_model(task.student, task.settings)
        return Decoder(model, self.tokenizer, self.encoder, task.answering, task.random_seed)


def _encoded(encoder: ChatFormatter, rows: Sequence[tuple[str, Sequence[Message]]]) -> list[Prompt]:
    found = encoder.prompts([messages for _, messages in rows])
    return [Prompt(id, array("i", tokens)) for (id, _), tokens in zip(rows, found, strict=True)]


def _processes(answering: Answering) -> int:
    """Return how many processes answer: as asked for, else one per GPU and one without.

    vLLM shares its GPUs out itself.
    """
    if backend.chosen_engine(answering) == "vllm":
        return 1
    if answering.processes is not None:
        return answering.processes
    import torch

    return max(1, torch.accelerator.device_count())


def _launch(
    sitting: Sitting,
    instructions: Sequence[Instruction],
    processes: int,
    progress: Progress | None,
) -> None:
    """Let `processes` of `answerer` share the batches, and tell how far they are.

    Raises ModelError where one of them fails.
    """
    folder = sitting.kept.folder
    jsonl.write(folder / _ROWS, instructions)
    jsonl.write_document(folder / _TASK, {"parent": os.getpid(), **sitting.task.to_json()})
    # `multi_gpu` is accelerate's word for one process per device; without GPUs they are CPU's.
    options = ["--multi_gpu", f"--num_processes={processes}", "--num_machines=1"]
    options += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    words = [
        "-m",
        "accelerate.commands.launch",
        *options,
        "--module",
        "lion.inference.inference_worker",
    ]
    sizes = [len(batch) for batch in sitting.plan]
    with subprocess.Popen([sys.executable, *words, str(folder)]) as process:  # noqa: S603  # our own words
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY)
            if progress is not None:
                done = sum(size for at, size in enumerate(sizes) if sitting.kept.has(at))
                progress(done, sum(sizes))
    if process.returncode:
        raise ModelError(
            f"the answering processes ended with exit code {process.returncode}; what they said "
            "stands above. The batches that are done are kept: run again for the others."
        )


def take_up(folder: Path) -> tuple[Sitting, int]:
    """Return what the process that launched this one asks for in `folder`, and its process id."""
    document = jsonl.read_document(folder / _TASK)
    rows = jsonl.read(folder / _ROWS, Instruction)
    sitting = Sitting.planned(rows, AnsweringTask.from_json(document), folder.parent)
    if sitting.kept.folder != folder:
        raise ModelError(f"{folder}: the student or the code has changed meanwhile. Run again.")
    return sitting, int(document["parent"])

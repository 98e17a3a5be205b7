"""Batch inference with the student's checkpoint: instructions in, rows out, in the same order.

Answers, or the likelihoods of answers that exist (`batch_job`). Finished batches are kept
(`response_shards`), so a killed stage resumes; several processes share the batches through
accelerate.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from lion.config.settings import Answering
from lion.errors import ModelError
from lion.inference import answer_likelihood, backend
from lion.inference.batch_job import JOBS, AnsweringTask, BatchJob, Progress
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, Likelihood
from lion.student import fingerprint

_TASK = "task.json"
_ROWS = "rows.jsonl"
_POLL_SECONDS = 1.0


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
    done = _computed(instructions, task, keep, progress)
    return [done[row.id] for row in instructions]


def likelihoods(
    instructions: Sequence[Instruction],
    task: AnsweringTask,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> list[Likelihood]:
    """Return the likelihood of the answer that each instruction has, in their order.

    One forward pass. An answer that is empty, or too long for the context, or whose likelihood is
    no number, has a reason instead. `keep` and `progress` are as in `answer`. Raises ModelError,
    and DataError for an instruction without an answer.
    """
    done = _computed(instructions, task, keep, progress)
    unprompted = task.measure == "likelihoods_and_unprompted"
    return answer_likelihood.combined(instructions, done, unprompted=unprompted)


def _computed(
    instructions: Sequence[Instruction],
    task: AnsweringTask,
    keep: Path | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """Return the job's rows by id."""
    if not instructions:
        return {}
    with ExitStack() as stack:
        if keep is None:
            keep = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        job = JOBS[task.measure].planned(instructions, task, keep)
        fingerprint.remove_other_tasks(job.shards.folder)
        processes = min(_processes(task.answering), len(job.missing()))
        if processes > 1:
            _launch(job, instructions, processes, progress)
        else:
            job.run(0, 1, progress)
        return job.rows()


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
    job: BatchJob[Any],
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


def read_job(folder: Path) -> tuple[BatchJob[Any], int]:
    """Return the job that the launching process wrote to `folder`, and that process's id."""
    document = jsonl.read_document(folder / _TASK)
    rows = jsonl.read(folder / _ROWS, Instruction)
    task = AnsweringTask.from_json(document)
    job = JOBS[task.measure].planned(rows, task, folder.parent)
    if job.shards.folder != folder:
        raise ModelError(f"{folder}: the student or the code has changed meanwhile. Run again.")
    return job, int(document["parent"])

"""Multiple-choice scoring by likelihood: the probability of each option's letter after the prompt.

No answer is generated, so none can be unreadable. The tokens of a letter take the place of an
answer's, in the prompt format in which the student was trained.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lion.config.settings import Student
from lion.inference.batch_job import Progress
from lion.readers.official_exams import Item
from lion.student import checkpoint as students
from lion.student.student_formatter import formatter_of

Tokens = tuple[int, ...]


def likeliest(
    items: Sequence[Item],
    *,
    student: Path,
    settings: Student,
    batch_size: int,
    progress: Progress | None = None,
) -> list[str | None]:
    """Return the likeliest letter of each item; None if its prompt does not fit the context.

    Ties go to the first letter. Raises ModelError, and DataError if the chat template fails.
    """
    model, tokenizer = students.load_student(student, settings)
    encoder = formatter_of(students.resolve(student), tokenizer, settings)
    prompts = encoder.prompts([item.instruction().messages for item in items])
    alphabet = max((item.letters for item in items), key=len, default="")
    spelled: dict[str, Tokens] = {
        letter: tuple(tokenizer(letter, add_special_tokens=False).input_ids) for letter in alphabet
    }
    context = students.context_length(model.config)
    longest = max(map(len, spelled.values()), default=0)
    order = sorted(range(len(items)), key=lambda index: (-len(prompts[index]), index))
    fitting = [
        index for index in order if context is None or len(prompts[index]) + longest <= context
    ]
    chosen: list[str | None] = [None] * len(items)
    for start in range(0, len(fitting), batch_size):
        batch = fitting[start : start + batch_size]
        options = [[spelled[letter] for letter in items[index].letters] for index in batch]
        scores = _score(
            model, [tuple(prompts[index]) for index in batch], options, encoder.end_of_turn
        )
        for index, logs in zip(batch, scores, strict=True):
            chosen[index] = items[index].letters[logs.index(max(logs))]
        if progress is not None:
            progress(start + len(batch), len(items))
    return chosen


@torch.inference_mode()
def _score(
    model: Any, prompts: Sequence[Tokens], options: Sequence[Sequence[Tokens]], filler: int
) -> list[list[float]]:
    """Return the log probabilities of each prompt's options, in nats.

    Options that differ only in their last token share a row of the batch, so all letters of one
    token need one row.
    """
    rows = sorted(
        {(index, option[:-1]) for index, each in enumerate(options) for option in each},
    )
    texts = [prompts[index] + prefix for index, prefix in rows]
    width, keep = max(map(len, texts)), max(len(prefix) for _, prefix in rows) + 1
    ids = torch.tensor([[filler] * (width - len(text)) + list(text) for text in texts])
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
    device = model.device
    logits = model(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0).to(device),
        logits_to_keep=keep,
    ).logits
    logs = logits.float().log_softmax(-1).cpu()
    place = {row: number for number, row in enumerate(rows)}
    return [
        [
            float(
                sum(
                    logs[place[index, option[:-1]], k - len(option), t]
                    for k, t in enumerate(option)
                )
            )
            for option in each
        ]
        for index, each in enumerate(options)
    ]

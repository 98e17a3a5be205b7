"""Which option the student finds likeliest: the probability of each letter behind the prompt.

The other way to sit a multiple-choice exam: no answer is written, so none can be unreadable. The
tokens of a letter stand where an answer's would, in the format in which the student was trained.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lion.config.settings import Student
from lion.inference.batch_inference import Progress
from lion.readers.official_exams import Item
from lion.student import checkpoint as students
from lion.student.chat_format import ChatFormatter

Tokens = tuple[int, ...]


def likeliest(
    items: Sequence[Item],
    *,
    student: Path,
    settings: Student,
    batch_size: int,
    progress: Progress | None = None,
) -> list[str | None]:
    """Return the likeliest letter of each item, None where the prompt does not fit the context.

    Of equal ones the first. Raises ModelError, and DataError where the chat template refuses.
    """
    model, tokenizer = students.load_student(student, settings)
    encoder = ChatFormatter(tokenizer, settings.prompt_format)
    prompts = encoder.prompts([item.instruction().messages for item in items])
    alphabet = max((item.letters for item in items), key=len, default="")
    spelled: dict[str, Tokens] = {
        letter: tuple(tokenizer(letter, add_special_tokens=False).input_ids) for letter in alphabet
    }
    context = students.context_length(model.config)
    longest = max(map(len, spelled.values()), default=0)
    order = sorted(range(len(items)), key=lambda at: (-len(prompts[at]), at))
    fitting = [at for at in order if context is None or len(prompts[at]) + longest <= context]
    found: list[str | None] = [None] * len(items)
    for start in range(0, len(fitting), batch_size):
        batch = fitting[start : start + batch_size]
        options = [[spelled[letter] for letter in items[at].letters] for at in batch]
        scores = _score(model, [tuple(prompts[at]) for at in batch], options, encoder.end_of_turn)
        for at, each in zip(batch, scores, strict=True):
            found[at] = items[at].letters[each.index(max(each))]
        if progress is not None:
            progress(start + len(batch), len(items))
    return found


@torch.inference_mode()
def _score(
    model: Any, prompts: Sequence[Tokens], options: Sequence[Sequence[Tokens]], filler: int
) -> list[list[float]]:
    """Return the log probability of each option behind its prompt.

    Options that differ in their last token alone share a row: letters of one token cost one.
    """
    rows = sorted(
        {(at, option[:-1]) for at, each in enumerate(options) for option in each},
    )
    texts = [prompts[at] + begun for at, begun in rows]
    width, keep = max(map(len, texts)), max(len(begun) for _, begun in rows) + 1
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
                sum(logs[place[at, option[:-1]], k - len(option), t] for k, t in enumerate(option))
            )
            for option in each
        ]
        for at, each in enumerate(options)
    ]

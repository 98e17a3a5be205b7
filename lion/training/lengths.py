"""Examples above the longest length that params allow: truncated, left out, or refused."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from lion.config.settings import Tune
from lion.errors import DataError
from lion.student.chat_format import Example


@dataclass(frozen=True, slots=True)
class Fitting:
    """The examples to train on, the ids of those truncated, and of those left out."""

    examples: list[Example]
    truncated: tuple[str, ...]
    too_long: tuple[str, ...]


def fit(examples: Sequence[Example], tune: Tune) -> Fitting:
    """Apply `tune.too_long` to the examples above `tune.max_length` tokens.

    `truncate` cuts the end of the answer; an example without room for one token of it is left
    out. Raises DataError where no example is left, or where `too_long` is `error` and one is.
    """
    longest = tune.max_length
    long = [example for example in examples if len(example.input_ids) > longest]
    if long and tune.too_long == "error":
        raise DataError(
            f"{len(long)} of {len(examples)} examples are longer than {longest} tokens, the first: "
            f"{long[0].id} with {len(long[0].input_ids)}. Raise `tune.max_length`, or set "
            "`tune.too_long`."
        )
    cut = {
        example.id
        for example in long
        if tune.too_long == "truncate" and example.prompt_length < longest
    }
    fitting = [
        dataclasses.replace(example, input_ids=example.input_ids[:longest])
        for example in examples
        if len(example.input_ids) <= longest or example.id in cut
    ]
    if not fitting:
        raise DataError(
            f"none of {len(examples)} examples is at most {longest} tokens long. "
            "Raise `tune.max_length`."
        )
    left_out = tuple(example.id for example in long if example.id not in cut)
    return Fitting(fitting, tuple(example.id for example in long if example.id in cut), left_out)

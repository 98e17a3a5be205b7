"""What many texts have in common: the pieces that are fixed, and the places that vary. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_PROMPT_WORDS, _PROMPT_CHARACTERS = 4, 20
"""The least that a shared piece has, unless it is a label; a shorter one may be chance."""
_LABEL = re.compile(r"\s*\W*\w[\w ]{0,30}:\W*\s|\s*\n\W*\w[\w ]{0,30}\n+")
"""A label of a field: `Subject: `, or a line of its own."""

Parts = list[str | None]
"""A template: the text of each fixed piece, None for each place that varies."""


def shared_parts(texts: Sequence[str], share: float) -> Parts:
    """Return the template that at least `share` (0 to 1) of the texts follow.

    The longest run of words that they share is fixed, then that of what stands before and behind
    it, and so on. `[None]` where they share nothing.
    """
    if len(set(texts)) == 1:
        return list(texts[:1])
    codes: dict[str, str] = {}
    coded = ["".join(_code(token, codes) for token in _TOKEN.findall(text)) for text in texts]
    tokens = {code: token for token, code in codes.items()}
    return _split(coded, max(2, round(share * len(texts))), tokens)


def _code(token: str, codes: dict[str, str]) -> str:
    """Return one character for a token, so that runs of tokens are slices of a string."""
    return codes.setdefault(token, chr(0x10000 + len(codes)))


def _split(texts: Sequence[str], least: int, tokens: dict[str, str]) -> Parts:
    if len(texts) - sum(map(bool, texts)) >= least:
        return []  # nothing stands here
    run = _fixed_run(texts, least, tokens)
    if run is None:
        return [None]
    cut = [text.partition(run) for text in texts if run in text]
    before, after = ([parts[side] for parts in cut] for side in (0, 2))
    piece = "".join(tokens[code] for code in run)
    return [*_split(before, least, tokens), piece, *_split(after, least, tokens)]


def _fixed_run(texts: Sequence[str], least: int, tokens: dict[str, str]) -> str | None:
    """Return the longest run of tokens in `least` texts that is a prompt or a label."""
    pieces = _shared_pieces(texts, least)
    for length in range(_longest(pieces, texts, least), 1, -1):
        found = _runs(pieces if length >= _SEED else _undivided(texts), length, least)
        runs = {run: "".join(tokens[code] for code in run) for run in found}
        fixed = [run for run, text in runs.items() if _is_fixed(text)]
        if fixed:
            return max(fixed, key=lambda run: (len(runs[run]), runs[run]))
    return None


_SEED = 12
"""Tokens of the runs that are counted first: a longer run holds only such as are shared."""


def _undivided(texts: Sequence[str]) -> Sequence[Sequence[str]]:
    return [[text] for text in texts]


def _shared_pieces(texts: Sequence[str], least: int) -> Sequence[Sequence[str]]:
    """Return of each text the pieces in which every run of `_SEED` tokens is in `least` texts.

    Every shared run of at least `_SEED` tokens is within such a piece. Texts have few, so that
    slices of any length need little memory. Runs are counted by their hashes: where two collide a
    piece is longer, and no run is lost.
    """
    counts: Counter[int] = Counter()
    seeds = [_seeds(text) for text in texts]
    for hashes in seeds:
        counts.update(set(hashes))
    return [
        list(_pieces(text, [counts[value] >= least for value in hashes]))
        for text, hashes in zip(texts, seeds, strict=True)
    ]


def _seeds(text: str) -> list[int]:
    return [hash(text[start : start + _SEED]) for start in range(len(text) - _SEED + 1)]


def _pieces(text: str, shared: Sequence[bool]) -> Iterator[str]:
    """Yield the parts of a text that begin at consecutive `shared` places."""
    start = 0
    for is_shared, places in groupby(shared):
        count = len(list(places))
        if is_shared:
            yield text[start : start + count + _SEED - 1]
        start += count


def _longest(pieces: Sequence[Sequence[str]], texts: Sequence[str], least: int) -> int:
    """Return the length of the longest run that stands in `least` texts.

    By bisection: a part of a shared run is shared, too.
    """
    low, high = 0, sorted(map(len, texts), reverse=True)[least - 1]
    while low < high:
        middle = (low + high + 1) // 2
        places = pieces if middle >= _SEED else _undivided(texts)
        if any(True for _ in _runs(places, middle, least)):
            low = middle
        else:
            high = middle - 1
    return low


def _runs(texts: Sequence[Sequence[str]], length: int, least: int) -> Iterable[str]:
    """Return the runs of `length` tokens within the pieces of at least `least` texts."""
    counts: Counter[str] = Counter()
    for pieces in texts:
        counts.update(
            {
                piece[start : start + length]
                for piece in pieces
                for start in range(len(piece) - length + 1)
            }
        )
    return (run for run, count in counts.items() if count >= least)


def _is_fixed(text: str) -> bool:
    """Return whether a shared run is no chance: a part of a prompt, or a label."""
    is_prompt = len(text.split()) >= _PROMPT_WORDS and len(text.strip()) >= _PROMPT_CHARACTERS
    return is_prompt or _LABEL.fullmatch(text) is not None

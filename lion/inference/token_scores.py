"""Token scores: the log probabilities of an answer's tokens, aligned with its characters.

Log probabilities are the model's own, at temperature 1, whatever the decoding.
"""

import math
from collections.abc import Sequence

from lion.records.rows import TokenScores
from lion.student.chat_format import ChatFormatter

_DIGITS = 4
"""Decimals that are kept: kernels differ from batch to batch in the later ones."""


def token_scores(
    encoder: ChatFormatter, tokens: Sequence[int], logprobs: Sequence[float], *, ended: bool
) -> TokenScores | None:
    """Return the scores of an answer's tokens; None without tokens, or if a score is not finite.

    `tokens` are the answer's, and `logprobs` theirs, in nats, followed by that of the token that
    ended the turn where it `ended`. Ends are in characters of the answer without outer white space.
    """
    if not logprobs or not all(map(math.isfinite, logprobs)):
        return None
    ends = encoder.token_ends(tokens)
    ends += [ends[-1] if ends else 0] if ended else []
    return rounded(TokenScores(tuple(logprobs), tuple(ends)))


def rounded(scores: TokenScores) -> TokenScores:
    """Return the scores with the decimals that rows keep."""
    return TokenScores(tuple(round(value, _DIGITS) for value in scores.logprobs), scores.ends)

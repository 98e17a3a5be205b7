"""The campaign's teacher, as a script of `fake_server.process`: honest, or lying to some calls.

It replies as the embedded teacher does (the model `composer-1` composes tasks, for bootstrap), a
little later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from composer import compose
from fake_server import Behaviour, Call, refuses, says
from fake_server.lies import LIES

from lion.simulator import server

LATENCY = 0.03  # seconds
COMPOSER = "composer-1"


def teacher(
    lie: str | None = None, share: float = 1.0, *, always: bool = False, latency: float = LATENCY
) -> Callable[[Call], Behaviour]:
    """Tell `lie` to the first call of a share of the bodies, or to every call of theirs."""
    lied: set[bytes] = set()

    def answer(call: Call) -> Behaviour:
        digest = hashlib.sha256(call.raw).digest()
        chosen = lie is not None and digest[0] < share * 256
        honest = replace(_honest(call), delay=latency)
        if lie is None or not chosen or (digest in lied and not always):
            return honest
        lied.add(digest)
        return replace(LIES[lie](honest.body), billed=False)

    return answer


def _honest(call: Call) -> Behaviour:
    """Reply as the embedded teacher, or as the composer: a function of the body alone."""
    if call.body["model"] == COMPOSER:
        grows = "Write the tasks" in call.question  # and is no probe
        return says(compose(call.body) if grows else "ready", usage=(9, 9), model=COMPOSER)
    try:
        choice = server.completion(server.read_request(call.raw))["choices"][0]
    except server.RequestError as refusal:
        return refuses(refusal.status, str(refusal))
    return says(choice["message"]["content"], finish_reason=choice["finish_reason"])

"""What an arm asks of the three roles, and what that costs at a stated price."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from lion.embedded import application
from lion.wire import Reply, Request, Usage, sample_seed

MODEL = "oracle-1"
DOLLARS_IN, DOLLARS_OUT = 0.15, 0.60
"""US dollars for a million words read and written: the same for all roles, output four times."""


@dataclass(slots=True)
class Till:
    """Asks the oracle as a function, and counts calls and words by role (a word is a token)."""

    random_seed: int
    calls: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)

    def ask(self, role: str, requests: Sequence[Request]) -> list[Reply]:
        """Return the replies, in order; the same question asked twice is paid once, as by Lion."""
        paid: dict[tuple[str, int], Reply] = {}
        found = []
        for request in requests:
            key = "\x00".join(turn["content"] for turn in request.messages), request.sample
            if key not in paid:
                paid[key] = self._bought(role, request)
            found.append(paid[key])
        return found

    def dollars(self) -> dict[str, float]:
        """Return what each role has cost so far."""
        return {
            role: (self.read[role] * DOLLARS_IN + self.written[role] * DOLLARS_OUT) / 1e6
            for role in sorted(self.calls)
        }

    def _bought(self, role: str, request: Request) -> Reply:
        seed = sample_seed(self.random_seed, request.sample)
        document = application.completion(
            application.Request(MODEL, list(request.messages), seed, max_tokens=1024)
        )
        choice, used = document["choices"][0], document["usage"]
        usage = Usage(used["prompt_tokens"], used["completion_tokens"])
        self.calls[role] += 1
        self.read[role] += usage.prompt
        self.written[role] += usage.completion
        return Reply(choice["message"]["content"], choice["finish_reason"], MODEL, usage)

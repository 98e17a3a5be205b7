"""The phase `calibrate`: the referee judges answers that are known, a second one what it judged.

Nothing of it decides what the loop does. Writes no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lion import pools
from lion.config.settings import Referee, Settings
from lion.discrimination import pairwise
from lion.discrimination.pairwise import Pair
from lion.failure_limit import check_dropped
from lion.llm.protocols import Clients
from lion.metrics.units import RoleUsage
from lion.prompting.templates import Prompts
from lion.records.rows import Answer, Dropped, Instruction, Review, Verdict
from lion.stage_table import Role


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Reviews of the anchors by the referee, and of judged rows by the second one.

    `dropped` are those without scores; `referee` and `second` count what each was asked.
    """

    anchors: list[Review]
    second: list[Review]
    dropped: list[Dropped]
    asked_referee: RoleUsage | None
    asked_second: RoleUsage | None


def calibrate(
    anchors: Sequence[Pair],
    compared: Sequence[Pair],
    settings: Settings,
    clients: Clients,
    templates: Prompts,
) -> Calibrated:
    """Return both referees' reviews, each pair in both orders.

    Raises TooManyDroppedError where more than `evaluate.max_dropped` of them have no scores.
    """
    second = settings.calibrate.second
    judged = _Judged(settings, clients, templates)
    by_first, asked_first = judged.reviews("referee", settings.referee, anchors)
    by_second, asked_second = judged.reviews("second", second, compared)
    reviews = [*by_first, *by_second]
    dropped = pairwise.dropped(reviews, "calibrate")
    check_dropped(dropped, settings.evaluate.max_dropped, len(reviews), "evaluate.max_dropped")
    return Calibrated(by_first, by_second, dropped, asked_first, asked_second)


@dataclass(frozen=True, slots=True)
class _Judged:
    settings: Settings
    clients: Clients
    templates: Prompts

    def reviews(
        self, role: Role, referee: Referee | None, pairs: Sequence[Pair]
    ) -> tuple[list[Review], RoleUsage | None]:
        """Return a referee's reviews and what it was asked; nothing where there is no pair."""
        if not pairs or referee is None:
            return [], None
        wanted, share = pairwise.in_both_orders(pairs), self.settings.evaluate.max_dropped
        with self.clients.open(role, referee) as client:
            reviews = pairwise.ask(client, wanted, self.templates, referee.form, share)
            return reviews, client.account.versioned()


def drawn(
    verdicts: Sequence[Verdict],
    cache: Sequence[Instruction],
    responses: Sequence[Answer],
    settings: Settings,
    *,
    depth: int,
) -> list[Pair]:
    """Return what the second referee judges, of what the first one decided in both orders."""
    if settings.calibrate.second is None:
        return []
    decided = [row.id for row in verdicts if row.gap is not None and row.basis == "both_orders"]
    rng = pools.rng_for(random_seed=settings.random_seed, purpose="second", depth=depth)
    chosen = pools.sample(decided, settings.calibrate.second_rows, rng)
    rows, answers = {row.id: row for row in cache}, {row.id: row for row in responses}
    return [pairwise.pair(rows[identity], answers[identity]) for identity in chosen]

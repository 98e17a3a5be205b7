"""Where so much is replayed that choices between old rows decide nothing: sentences, no refusal.

Progress is read off rows that were not replayed (`generate.choice: progress`), and what is
forgotten decides which old rows are (`tune.replay_choice: forgotten`): neither is left where
`tune.replay` takes them all.
"""

from collections.abc import Iterator

from lion.config.settings import Settings
from lion.pipeline.row_counts import count_base_rows


def replay_notices(settings: Settings) -> Iterator[str]:
    """Yield a sentence for the first iteration of each choice that decides nothing."""
    if settings.review.judge != "likelihood":
        return
    everything = list(_all_replayed(settings, count_base_rows(settings)))
    for name in everything:
        if settings.tune_at(name).replay_choice == "forgotten":
            yield (
                f"{_taken(settings, name)}, so `tune.replay_choice: forgotten` decides nothing. "
                "Lower `tune.replay`."
            )
            break
    for name in settings.iterations:
        before = settings.iterations[name].previous
        if settings.generate_at(name).choice == "progress" and before in everything:
            yield (
                f"{_taken(settings, before)}, so `generate.choice: progress` in iteration {name} "
                "has no row that it can measure on, and is uniform. Lower `tune.replay`."
            )
            break


def _taken(settings: Settings, name: str) -> str:
    replay = settings.tune_at(name).replay
    return f"iteration {name}: `tune.replay: {replay:g}` takes every old row"


def _all_replayed(settings: Settings, base_rows: int) -> Iterator[str]:
    """Yield the iterations that replay all of their Cache Pool, if each makes what it asks for."""
    rows: dict[str, int] = {}
    for name, iteration in settings.iterations.items():
        old = rows.get(iteration.previous, base_rows)
        generate = settings.generate_at(name)
        new = generate.hard + generate.easy
        rows[name] = old + new
        if new and settings.tune_at(name).replay * new >= old:
            yield name

"""Where so much is replayed that choices between old rows decide nothing: sentences, no refusal.

Progress is read off rows that were not replayed (`generate.choice: progress`), and what is
forgotten decides which old rows are (`tune.replay_choice: forgotten`): neither is left where
`tune.replay` takes them all.
"""

from collections.abc import Iterator
from math import ceil

from lion.config.settings import Settings
from lion.pipeline.row_counts import count_base_rows


def replay_notices(settings: Settings) -> Iterator[str]:
    """Yield a sentence for the first iteration of each choice that decides nothing."""
    forgotten = [
        name for name in settings.iterations if settings.tune_at(name).replay_choice == "forgotten"
    ]
    progress = [
        name for name in settings.iterations if settings.generate_at(name).choice == "progress"
    ]
    if settings.review.judge != "likelihood" or not (forgotten or progress):
        return
    everything = _all_replayed(settings, count_base_rows(settings))
    for name in forgotten:
        if name in everything:
            yield (
                f"{_taken(settings, name)}, so `tune.replay_choice: forgotten` decides nothing. "
                "Lower `tune.replay`."
            )
            break
    for name in progress:
        before = settings.iterations[name].previous
        # rows of the validation share are never replayed: progress is measured on them
        if before in everything and not settings.tune.validation_share:
            yield (
                f"{_taken(settings, before)}, so `generate.choice: progress` in iteration {name} "
                "has no row that it can measure on, and is uniform. Lower `tune.replay`."
            )
            break


def _taken(settings: Settings, name: str) -> str:
    replay = settings.tune_at(name).replay
    return f"iteration {name}: `tune.replay: {replay:g}` takes every old row"


def _all_replayed(settings: Settings, base_rows: int) -> set[str]:
    """Return the iterations that replay all their old rows, if each makes what it asks for."""
    new = {
        name: settings.generate_at(name).hard + settings.generate_at(name).easy
        for name in settings.iterations
    }
    tuned = base_rows - ceil(settings.tune.validation_share * base_rows)
    old = {
        name: tuned + sum(new[before] for before in settings.lineage(name)[1:])
        for name in settings.iterations
    }
    return {name for name in new if 0 < old[name] <= settings.tune_at(name).replay * new[name]}

"""A client as stages and commands use it: params' endpoint and budget, the project's ledger."""

from collections.abc import Iterator
from contextlib import contextmanager

from lion import console
from lion.config import project
from lion.config.settings import Endpoint, Settings
from lion.llm.client import Asker
from lion.llm.ledger import Ledger, cap
from lion.llm.prices import Prices
from lion.stage_table import Role


@contextmanager
def opened(settings: Settings, role: Role, endpoint: Endpoint, stage: str) -> Iterator[Asker]:
    """Yield an asker of `endpoint` for `stage` (such as `teach@1`), with a progress bar."""
    with (
        Ledger(project.ledger()) as ledger,
        console.progress(f"{stage}: {role}") as update,
        Asker(
            endpoint,
            settings.api,
            ledger,
            settings.random_seed,
            progress=update,
            stage=stage,
            prices=Prices.load(project.PRICES),
            cap=cap(settings.budget),
            mode=getattr(settings.api.mode, role, "live"),  # a served student has no Batch API
        ) as asker,
    ):
        yield asker

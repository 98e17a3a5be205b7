"""Output longer than a terminal, through the user's pager."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lion import console


@contextmanager
def paged() -> Iterator[None]:
    """Page what is longer than a terminal, as git does; a pipe gets it as it is."""
    if not console.stdout.is_terminal:
        yield
        return
    os.environ.setdefault("LESS", "FRX")
    with console.stdout.pager(styles=True):
        yield

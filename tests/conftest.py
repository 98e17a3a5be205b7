"""What several test modules share: one finished run of a tiny project, and its second clone."""

from concurrent.futures import ThreadPoolExecutor

import pipeline
import pytest
from fixtures import (  # noqa: F401 - pytest finds fixtures by name
    _scrubbed,
    chat_server,
    configure,
    document,
    settings,
    workplace,
)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Finished, Finished]":
    ...

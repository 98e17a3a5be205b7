"""What several test modules share: fixtures, found by their names."""

import environment  # noqa: F401 - first of all

# isort: split
from asking import opened  # noqa: F401 - pytest finds fixtures by name
from fixtures import (  # noqa: F401 - pytest finds fixtures by name
    _scrubbed,
    chat_server,
    configure,
    document,
    settings,
    workplace,
)
from running import (  # noqa: F401 - pytest finds fixtures and hooks by name
    _start_at_once,
    branching,
    changing,
    common,
    comparing,
    finished,
    finishing,
    grading,
    killing,
    prompting,
    pytest_collection_finish,
    pytest_collection_modifyitems,
    ranking,
    threads,
    tiny_project,
)

"""What several test modules share: fixtures, found by their names."""

from asking import opened  # noqa: F401 - pytest finds fixtures by name
from fixtures import (  # noqa: F401 - pytest finds fixtures by name
    _scrubbed,
    chat_server,
    configure,
    document,
    settings,
    workplace,
)
from running import (  # noqa: F401 - pytest finds fixtures by name
    _start_at_once,
    branching,
    changing,
    finished,
    finishing,
    killing,
    prompting,
    tiny_project,
    workers,
)

"""Every error that Lion raises on purpose.

A message says what happened, where, and what to do next; the command line prints it without a
traceback. Anything else that escapes is a fault of ours and keeps its traceback.

LionError
├── SettingsError       params.yaml or a profile is wrong
├── DataError           a row, a file or a prompt is wrong
├── RevisionError       what is named is no file, no iteration and no revision
├── ModelError          a student's folder or hub id cannot be used
├── AskError            a teacher, referee or generator cannot be asked
│   ├── EndpointError   the server refused in a way that no retry fixes
│   └── MissingRepliesError  a client that may not send lacks replies
├── BudgetError         a cap of params.yaml's `budget` is reached
├── BatchesPendingError batches work on what the run needs
├── InterruptedRunError somebody asked the run to stop
├── TooManyDroppedError more rows failed than the stage allows
└── BusyError           another process runs this stage, or holds what it needs
"""


class LionError(Exception):
    """Base of the tree above; `exit_code` is what the process ends with."""

    exit_code = 1


class SettingsError(LionError):
    """params.yaml or a profile is wrong; the message lists every problem found."""

    exit_code = 2


class DataError(LionError):
    """A row, a file or a prompt is wrong; the message names the file and the line."""


class RevisionError(LionError):
    """What is named is no file, no iteration and no revision."""

    exit_code = 2


class ModelError(LionError):
    """A student's folder or hub id cannot be used."""


class AskError(LionError):
    """A teacher, referee or generator cannot be asked."""


class EndpointError(AskError):
    """The server refused in a way that no retry fixes (no key, no such model, bad request)."""


class MissingRepliesError(AskError):
    """A client that may send nothing lacks `missing` replies: the ledger has not paid for them."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} replies are not in the ledger")
        self.missing = missing


class BudgetError(LionError):
    """A cap of params.yaml's `budget` is reached; what was paid for is kept."""

    exit_code = 3


class BatchesPendingError(LionError):
    """Batches at the provider work on what the run needs: nothing failed, come back later."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later


class InterruptedRunError(LionError):
    """Somebody asked the run to stop; what was in flight has been waited for and kept."""

    exit_code = 130


class TooManyDroppedError(LionError):
    """More rows failed than the stage's `max_dropped` allows."""


class BusyError(LionError):
    """Another process runs this stage, or holds what it needs."""

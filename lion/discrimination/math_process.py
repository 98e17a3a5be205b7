"""Asks math-verify, in a process of its own that a time limit ends. Starts it when first asked."""

import json
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lion.errors import LionError

_WORKER = Path(__file__).with_name("math_worker.py")


@dataclass(slots=True)
class MathProcess:
    """A child process that marks; a mark that takes longer than the limit is `undecided`."""

    mark_seconds: float = 20.0
    start_seconds: float = 120.0
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def mark(self, expected: str, answer: str) -> str:
        """Return the worker's mark, or `undecided`. Raises LionError where it cannot be started."""
        process = self._process or self._started()
        self._process = process
        try:
            _send(process, json.dumps([expected, answer]))
            mark = _line(process, self.mark_seconds)
        except OSError:  # it has ended, as of too much memory
            mark = None
        if mark is None:
            self.close()
        return mark or "undecided"

    def close(self) -> None:
        """End the process; the next mark starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _started(self) -> subprocess.Popen[str]:
        # -P: the worker's folder holds modules with names of the standard library
        process = subprocess.Popen(  # noqa: S603 - this Python, a file of this package
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        if _line(process, self.start_seconds) != "ready":
            process.kill()
            raise LionError(
                "the scorer `math` cannot start math-verify; run `python -c 'import math_verify'`"
            )
        return process


def _send(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[str], seconds: float) -> str | None:
    """Return the next line of the process; None where it writes none within the limit, or ends.

    The worker writes one line for each request and no other, so none waits in a buffer.
    """
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline().strip() or None if readable else None

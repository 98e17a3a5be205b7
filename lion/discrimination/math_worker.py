"""The child process of the scorer `math`: reads [expected, answer] as lines of JSON, writes marks.

Run by its path, apart from the project: sympy takes long over some expressions, and math-verify's
own limits are signals of the main thread. Imports nothing of the project.
"""

import contextlib
import json
import logging
import re
import resource
import sys
from typing import Any

MOST_MEMORY = 4 * 2**30  # bytes; an expression that wants more ends the process, not the machine

_DELIMITED_OR_PROSE = re.compile(r"\n|\$|\\boxed|\\\(|\\\[|(?<!\\)\b[A-Za-z]{2,}\s+[A-Za-z]{2,}")


def compared(expected: str, answer: str) -> str:
    """Return `right`, `wrong`, or `no_reference` or `no_answer` where one holds no expression."""
    from math_verify import verify

    right = _expressions(expected)
    if not right:
        return "no_reference"
    given = _expressions(answer)
    if not given:
        return "no_answer"
    return "right" if verify(right, given) else "wrong"


def _expressions(text: str) -> list[Any]:
    """Return what math-verify reads; a text of one line without delimiters is LaTeX as a whole."""
    from math_verify import parse

    bare = _DELIMITED_OR_PROSE.search(text.strip()) is None
    read = parse(f"${text.strip()}$") if bare and len(text) < 200 else []
    return list(read or parse(text))


def main() -> None:
    """Answer each line of standard input with one of standard output, `ready` first."""
    import math_verify  # noqa: F401  # slow, before the first limit begins

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, hard))
    logging.disable(logging.CRITICAL)
    lines = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # sympy's words are no marks
        lines.write("ready\n")
        lines.flush()
        for line in sys.stdin:
            lines.write(compared(*json.loads(line)) + "\n")
            lines.flush()


if __name__ == "__main__":
    main()

"""Which commit of this repository runs."""

import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def described() -> str:
    """Return the commit, with `-dirty` where the working tree differs."""
    return git("describe", "--always", "--dirty")


def git(*arguments: str) -> str:
    """Return what git says in this repository."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=True, text=True)
    return done.stdout.strip()

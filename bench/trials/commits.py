"""Which commit of this repository runs."""

import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def described() -> str:
    """Return the commit, with `-dirty` where files differ that are no result or page."""
    results = [":(exclude)bench/*.json", ":(exclude)bench/*.jsonl", ":(exclude)docs"]
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *results)
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def git(*arguments: str) -> str:
    """Return what git says in this repository."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=True, text=True)
    return done.stdout.strip()

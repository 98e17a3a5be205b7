"""The git commit of a revision: its id and its date."""

import subprocess
from dataclasses import dataclass

from lion.pipeline.revisions import WORKSPACE


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: the first digits of its id, its date (ISO), whether files differ from it."""

    digits: str
    date: str
    is_changed: bool


def commit_of(revision: str) -> Commit | None:
    """Return the commit of a revision; of the workspace the commit that is checked out.

    None without git, outside a repository, and for a name that git does not know.
    """
    is_workspace = revision == WORKSPACE
    name = "HEAD" if is_workspace else revision
    line = _git("log", "-1", "--format=%H %cs", "--end-of-options", name, "--")
    if not line:
        return None
    identity, _, date = line.partition(" ")
    changed = is_workspace and bool(_git("status", "--porcelain", "--untracked-files=no"))
    return Commit(identity[:8], date, changed)


def _git(*words: str) -> str:
    """Return what git prints; empty where there is no git, or it fails."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, check=False)  # noqa: S603, S607 - the user's git
    except FileNotFoundError:
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""

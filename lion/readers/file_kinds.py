"""Files that are no text, whatever their names say, and what to do with each. Pure."""

from collections.abc import Sequence

_KINDS: Sequence[tuple[bytes, str]] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer in the file's place; `git lfs pull` fetches it",
    ),
    (b"PAR1", "a Parquet file; name it .parquet"),
    (b"PK\x03\x04", "a spreadsheet or a zip archive; save it as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an Excel file; save it as CSV"),
    (b"\x1f\x8b", "packed by gzip; name it .gz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd; name it .zst"),
    (b"BZh", "packed by bzip2; unpack it"),
    (b"\xfd7zXZ", "packed by xz; unpack it"),
    (b"ARROW1", "an Arrow file; save it as Parquet or JSONL"),
    (b"SQLite format 3", "a SQLite database; export its rows as JSONL"),
)
"""The first bytes of a file, and what it is."""
_PAGE = "a web page, as a sign-in or an error brings it; download the file again"


def not_rows(content: bytes) -> str | None:
    """Return what a file is whose first bytes are no rows of text, None where they may be."""
    return next((what for first, what in _KINDS if content.startswith(first)), None)


def web_page(content: bytes) -> str | None:
    """Return what a web page in the place of a file is, None for anything else."""
    start = content[:64].lstrip().lower()
    return _PAGE if start.startswith((b"<!doctype html", b"<html")) else None

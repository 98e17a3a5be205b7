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
    (b"<!doctype html", "a web page, as a sign-in or an error brings it; download the file again"),
    (b"<html", "a web page, as a sign-in or an error brings it; download the file again"),
)
"""The first bytes of a file, in lower case where they are letters of a page, and what it is."""


def not_rows(content: bytes) -> str | None:
    """Return what a file is whose first bytes are no rows of text, None where they may be."""
    start = content[:64]
    page = start.lstrip().lower()
    for first, what in _KINDS:
        if start.startswith(first) or (first.startswith(b"<") and page.startswith(first)):
            return what
    return None

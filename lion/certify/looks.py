"""How often rows set apart were looked at: a count outside of DVC, in `.lion/looks.jsonl`.

A certificate is a function of its inputs. That somebody tried ten students on the same rows and
kept the best is not among them, and voids the promise; so it is counted and shown.
"""

from pathlib import Path

import orjson
from filelock import FileLock

from lion.config import project
from lion.metrics.certificates import CertificateMetrics


def looks_file() -> Path:
    """Return the path of the file of looks."""
    return project.home() / "looks.jsonl"


def count_look(metrics: CertificateMetrics) -> int:
    """Note that this student was certified on these rows; return how many students were so far."""
    path = looks_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    look = {"rows": metrics.rows_sha256, "student": _student(metrics)}
    with FileLock(f"{path}.lock"):
        if look not in _read(path):
            with path.open("ab") as file:
                file.write(orjson.dumps(look) + b"\n")
        return looks_at(metrics)


def looks_at(metrics: CertificateMetrics) -> int:
    """Return how many students were certified on the rows of a certificate, on this machine."""
    return sum(look.get("rows") == metrics.rows_sha256 for look in _read(looks_file()))


def looks_sentence(metrics: CertificateMetrics, looks: int) -> str | None:
    """Return what further looks do to the promise; None where delta pays for them."""
    paid = 1 if metrics.place is None else metrics.place
    if looks <= paid:
        return None
    return (
        f"{looks} students were certified on the same rows, which pay for {paid}: the confidence "
        "is lower than it says. Set fresh rows apart, or set certify.rows_for: every_student and "
        "name each student"
    )


def _student(metrics: CertificateMetrics) -> str:
    identity = metrics.identity
    return f"{identity.student_sha256[:16]} {identity.decoding_sha256[:16]}"


def _read(path: Path) -> list[dict[str, str]]:
    """Return the looks; a line that a killed process left unfinished is skipped."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return found

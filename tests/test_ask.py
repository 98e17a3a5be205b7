"""`lion ask`: the student's answer where the certificate lets it, else back, and why."""

import json
from pathlib import Path
from typing import Any

import certified
import pytest
import tiny
from click.testing import CliRunner, Result
from fixtures import Workplace
from msgspec import structs

from lion.certify.certificate import certify
from lion.certify.identity import student_identity
from lion.cli import main
from lion.config import project
from lion.metrics import files
from lion.metrics.certificates import CertificateMetrics, CertifiedLimit

PARAMS = {
    "certify.students": ["3"],
    "exam.certify": 0.7,
    "student.threads": None,
    "evaluate.resamples": 50,
}


class Certificate:
    """A project with a tiny student 3, whose certificate a test writes as it wants it."""

    def __init__(self, workplace: Workplace) -> None:
        self.workplace = workplace
        self.settings = workplace.params(PARAMS)
        self.folder = tiny.folder(workplace.path / "data/3/student")
        none: Any = None
        self.metrics = certify(
            *certified.exam(1500, lambda rng: rng.betavariate(1.9, 0.26)),
            self.settings,
            none,
            {},
            iteration="3",
            identity=student_identity(self.folder, self.settings),
        ).metrics

    def write(self, limit: float | None, reason: str | None = None) -> None:
        """Write the certificate with a limit of its own at the agreement of params."""
        promise = CertifiedLimit(agreement_share=0.97, uncertainty_limit=limit, reason=reason)
        limits = {**self.metrics.limits, "97": promise}
        path = project.metrics("3", CertificateMetrics.FILE)
        files.write_metrics(path, structs.replace(self.metrics, limits=limits))


@pytest.fixture
def certificate(workplace: Workplace) -> Certificate:
    return Certificate(workplace)


def ask(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["ask", *arguments], input=text)


def test_exit_codes_tell_answered_from_handed_back(certificate: Certificate) -> None:
    """The random student rambles up to its cap or ends by itself; both ends are looked at."""
    certificate.write(limit=1e9)
    done = {text: ask(text, "--json") for text in ("Say yes", "a", "What is 17 plus 25?", "42")}
    decisions = {text: json.loads(result.stdout) for text, result in done.items()}
    for text, result in done.items():
        assert result.exit_code == (0 if decisions[text]["answered"] else 1)
        assert (decisions[text]["answer"] is not None) == decisions[text]["answered"]
    certificate.write(limit=0.0)
    refused = ask("Say yes")
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith("handed back: ")


def test_a_file_is_answered_line_by_line(certificate: Certificate) -> None:
    certificate.write(limit=0.0)
    path = certificate.workplace.path / "requests.jsonl"
    path.write_text('{"instruction": "Say yes"}\n{"instruction": "Say no"}\n')
    result = ask("--file", str(path))
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["answered"] for line in lines] == [False, False]
    assert all(line["explanation"] for line in lines)
    assert len({line["id"] for line in lines}) == 2
    path.write_text('{"instruction": "Say yes"}\n{"nothing": 1}\n')
    broken = ask("--file", str(path))
    assert broken.exit_code == 2
    assert "nothing was asked" in broken.stderr


def test_without_a_threshold_the_reason_is_told(certificate: Certificate) -> None:
    certificate.write(None, "97 % needs more rows")
    result = ask("-", text="Say yes\n")
    assert result.exit_code == 1
    assert result.stderr == "handed back: no threshold: 97 % needs more rows\n"


def test_another_student_prompt_or_decoding_voids_the_certificate(
    certificate: Certificate,
) -> None:
    certificate.write(limit=1e9)
    certificate.workplace.params({**PARAMS, "answering.max_tokens": 7})
    changed = ask("Say yes")
    assert changed.exit_code == 2
    assert "the certificate is void, since its decoding changed" in changed.stderr
    assert "lion run certify@3" in changed.stderr
    certificate.workplace.params({**PARAMS, "student.prompt_format": "paper"})
    assert "since its prompts changed" in ask("Say yes").stderr
    certificate.workplace.params(PARAMS)
    weights = Path("data/3/student/config.json")
    weights.write_text(weights.read_text() + "\n")
    assert "since the student changed" in ask("Say yes").stderr


def test_what_cannot_be_asked_is_trouble(certificate: Certificate) -> None:
    assert "has no certificate" in ask("Say yes").stderr
    certificate.write(limit=1e9)
    for arguments, told in (
        (["Say yes", "--agreement", "96"], "promises nothing at 96 %"),
        ([], "name one REQUEST"),
        (["  "], "the request is empty"),
    ):
        result = ask(*arguments)
        assert result.exit_code == 2
        assert told in result.stderr
    certificate.workplace.params({})
    nobody = ask("Say yes")
    assert (nobody.exit_code, "no student is certified" in nobody.stderr) == (2, True)


def test_a_declared_task_is_asked_by_its_fields(certificate: Certificate) -> None:
    task = {
        "fields": ["subject", "body"],
        "messages": [{"role": "user", "content": "Subject: $subject\n\n$body"}],
        "good": None,
    }
    certificate.settings = certificate.workplace.params({**PARAMS, "task": task})
    identity = student_identity(certificate.folder, certificate.settings)
    certificate.metrics = structs.replace(certificate.metrics, identity=identity)
    certificate.write(limit=0.0)
    assert ask('{"subject": "Refund", "body": "Late."}').exit_code == 1
    wrong = ask("Refund, please")
    assert wrong.exit_code == 2
    assert "one JSON object with the keys subject, body" in wrong.stderr

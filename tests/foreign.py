"""Everything that parses foreign bytes, each as one function of bytes. Claims nothing itself.

The law of all: any bytes give what was read, or an error of lion/errors.py; never another one, and
never a score outside the scale. tests/test_fuzz.py holds it to mutations, bench/fuzz.py to a
fuzzer.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import ROOT

from lion.config import project
from lion.errors import LionError
from lion.evaluation import open_exam
from lion.llm import batch_client, ledger_maintenance
from lion.llm.ledger import Ledger
from lion.prompting import judge_parser, protocol
from lion.readers import files, official_exams
from lion.records import jsonl
from lion.records.rows import Instruction, Verdict

FORMATS = ROOT / "tests" / "formats"
_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".jsonl.zst")


@dataclass(frozen=True)
class Target:
    """A parser, and bytes that it reads well."""

    parse: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _file(content: bytes, name: str, read: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            read(path)
        except LionError as error:
            assert str(error)


def _pool(content: bytes) -> None:
    ending = _ENDINGS[content[0] % len(_ENDINGS)] if content else ".jsonl"
    _file(content[1:], f"pool{ending}", files.read_rows)


def _rows(content: bytes) -> None:
    _file(content, "pool.jsonl", lambda path: jsonl.read(path, Instruction))
    _file(content, "verdicts.jsonl", lambda path: jsonl.read(path, Verdict))


def _params(content: bytes) -> None:
    _file(content, "params.yaml", project.load_settings)


def _scores(content: bytes) -> None:
    text = content.decode("utf-8", "surrogateescape")
    found = (
        judge_parser.from_text(text),
        judge_parser.from_first_line(text),
        judge_parser.from_json(text),
    )
    for one in found:
        if isinstance(one, tuple):
            assert all(1 <= score <= 10 for score in one)


def _replies(content: bytes) -> None:
    protocol.parse(content)
    protocol.usage(content)


def _batch_lines(content: bytes) -> None:
    batch_client.read_line(content)


def _exams(content: bytes) -> None:
    _file(content, "boolean_expressions.json", lambda path: official_exams.read_items(path.parent))
    _file(content, "aqua-rat.jsonl", lambda path: official_exams.read_items(path.parent))
    _file(content, "question.jsonl", open_exam.read_questions)
    _file(content, "review.jsonl", open_exam.read_reviews)


def _ledger(content: bytes) -> None:
    def import_replies(path: Path) -> None:
        with Ledger(path.with_name("ledger.sqlite")) as ledger:
            ledger_maintenance.import_replies(ledger, path)

    _file(content, "export.jsonl", import_replies)
    _file(content, "export.parquet", import_replies)
    _file(content, "export.sqlite", import_replies)


_REPLY = (
    b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"an answer"}}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)
_ALPACA = b'{"instruction": "Add 1 and 2", "input": "", "output": "3"}\n'

TARGETS: Mapping[str, Target] = {
    "pools": Target(
        _pool,
        (
            b"\x00" + _ALPACA,
            b"\x01[" + _ALPACA.strip() + b"]",
            b'\x02instruction,output\n"Add 1 and 2",3\n',
            b'\x00{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]}\n',
        ),
    ),
    "rows": Target(_rows, tuple(path.read_bytes() for path in sorted(FORMATS.glob("*.jsonl")))),
    "params": Target(_params, ((ROOT / "params.yaml").read_bytes(),)),
    "scores": Target(
        _scores,
        (
            b"Score of Assistant 1: 8\nScore of Assistant 2: 7/10",
            b'{"evidence": "x", "score_1": 8, "score_2": 7}',
            b"8 7\nThe first is better.",
        ),
    ),
    "replies": Target(_replies, (_REPLY,)),
    "batch_lines": Target(
        _batch_lines,
        (b'{"custom_id":"00ff","response":{"status_code":200,"body":' + _REPLY + b"}}",),
    ),
    "exams": Target(
        _exams,
        (
            b'{"examples":[{"input":"not ( True ) is","target":"False"}]}',
            b'{"passage":null,"question":"1+1?","options":["(A)1","(B)2"],"label":"B"}\n',
            b'{"question_id":1,"text":"How?","category":"generic"}\n',
        ),
    ),
    "ledger": Target(
        _ledger,
        (b'{"endpoint":"http://x/v1","request":"{}","sample":0,"reply":"{}","key":"00"}\n',),
    ),
}

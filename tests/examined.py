"""A finished exam of two students as files, for the page and `lion show`. Claims nothing."""

import json
from pathlib import Path

import yaml
from click.testing import CliRunner, Result
from fixtures import Workplace, override
from narrow import NARROW
from pooled import instruction, project, verdict

from lion.cli import main
from lion.config.project import ledger
from lion.config.settings import Endpoint, Settings
from lion.config.validation import read_settings
from lion.conversations import TaskTemplate
from lion.evaluation.exam_fields import exam_fields
from lion.llm.calls import Call, Entry
from lion.llm.ledger import Ledger
from lion.metrics import files
from lion.metrics.exams import EvaluateMetrics, ExamMarks, ExamQuality
from lion.metrics.units import RoleUsage
from lion.prompting import judge, protocol, teacher, templates
from lion.prompting.protocol import Request
from lion.records import jsonl
from lion.records.rows import ORDERS, Answer, Instruction

HARM = "<img src=x onerror=\"window.harm='exam'\"> </script>"
LABELS = ("refund", "defect", "refund", "cancel", "defect", "refund")


def answer(label: str, urgency: str = "low") -> str:
    return json.dumps({"label": label, "urgency": urgency, "order": None})


def exam_instructions() -> list[Instruction]:
    task = TaskTemplate.declared(read_settings(NARROW).task)
    assert task is not None
    return [
        Instruction.new(
            task.render({"subject": f"Ticket {number}", "body": f"Body {number} {HARM}"}),
            origin="exam",
            iteration="0",
            category="odd" if number % 2 else "even",
            expected=answer(label),
        )
        for number, label in enumerate(LABELS)
    ]


ROWS = exam_instructions()
ITERATIONS = {
    "1b": {"previous": "0", "generate": {}, "tune": {}},
    "2": {"previous": "1b", "generate": {}, "tune": {}},
}
"""In JavaScript an object has the key 2 before 1b."""

STUDENTS = {
    "1b": [answer("refund"), *["no JSON"] * 5],
    # right, label wrong, right, urgency wrong, no JSON, attack
    "2": [
        answer("refund"),
        answer("refund"),
        answer("refund"),
        answer("cancel", "high"),
        "no JSON",
        answer(HARM),
    ],
}


def keep_reply(request: Request, endpoint: Endpoint, settings: Settings, text: str) -> None:
    body = protocol.canonical(protocol.body(request, endpoint, settings.random_seed))
    message = {"role": "assistant", "content": text}
    reply = {"choices": [{"message": message, "finish_reason": "stop"}], "model": "oracle-1"}
    with Ledger(ledger()) as opened:
        key = protocol.key(endpoint, body, 0)
        opened.write([Entry(key, body, 0, json.dumps(reply).encode(), Call("embedded"))])


def write_run(workplace: Workplace) -> Settings:
    """Write pools, exam, two students' answers, and a ledger with the teacher's and a review."""
    for key in ("0", "1b", "2"):
        pool = [instruction(f"row {number}", key) for number in range(3)]
        project(workplace.path, key, pool, [verdict(row.id, 1.0) for row in pool])
    document = override(NARROW, {"iterations": ITERATIONS})
    Path("params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    settings = read_settings(document)
    jsonl.write(Path("data/exam.jsonl"), ROWS)
    for key, texts in STUDENTS.items():
        given = [Answer(row.id, text, "stop", "s") for row, text in zip(ROWS, texts, strict=True)]
        jsonl.write(Path(f"data/{key}/exam_responses.jsonl"), given)
        files.write_metrics(Path(f"metrics/{key}/evaluate.json"), evaluated(settings, texts))
    prompts = templates.load(Path("prompts/teacher"), "teacher")
    for row in ROWS:
        request = teacher.answer_request(row, prompts)
        keep_reply(request, settings.teacher, settings, str(row.expected))
    keep_review(settings, ROWS[1], STUDENTS["2"][1])
    return settings


def keep_review(settings: Settings, row: Instruction, student: str) -> None:
    prompts = templates.load(Path("prompts/referee"), "referee", settings.task.good)
    question = "\n\n".join(
        f"{turn['role'].capitalize()}: {turn['content']}" for turn in row.messages
    )
    for order in ORDERS:
        request = judge.review_request(question, str(row.expected), student, order, prompts, "text")
        first, second = (9, 3) if order == "teacher_first" else (3, 9)
        scores = f"Score of Assistant 1: {first}\nScore of Assistant 2: {second}"
        keep_reply(request, settings.referee, settings, f"The label is wrong.\n{scores}")


def evaluated(settings: Settings, texts: list[str]) -> EvaluateMetrics:
    usage = RoleUsage(
        requests=0, failed=0, prompt_tokens=0, completion_tokens=0, replies_without_usage=0
    )
    answers = {row.id: text for row, text in zip(ROWS, texts, strict=True)}
    marks = ExamMarks(
        accuracy_share=0.5,
        teacher_accuracy_share=1.0,
        accuracy_share_difference=-0.5,
        category_accuracy_share={},
    )
    return EvaluateMetrics.of(
        marks,
        ExamQuality(quality_percent=None),
        referee=usage,
        teacher=usage,
        dropped={},
        fields=exam_fields(ROWS, {}, answers, settings.exam.scorer, 0.95),
    )


def lion(*arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result

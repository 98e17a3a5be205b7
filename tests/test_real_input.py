"""The whole loop on real instructions, a server on loopback and a Hugging Face student.

The files of ../shared/data/instructions are read as they are; the five are real, what the server
says is not. Skipped where shared/ is absent: users of the project do not have it.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from fake_server import Behaviour, Call, ChatServer, refuses, says
from pipeline import BASE_STAGES, ROOT, Project, Run, loop
from rouge_score.rouge_scorer import RougeScorer
from test_secrets import PLANTED, leaks, shown_keys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lion.metrics.exams import EvaluateMetrics
from lion.metrics.pools import GenerateMetrics
from lion.readers import files
from lion.student import checkpoint

FILES = ROOT.parent / "shared" / "data" / "instructions"
EXAM = FILES / "user_oriented_252.jsonl"
POOL = (
    "seed_tasks_175.jsonl",
    "gpteacher_roleplay.json",
    "gpteacher_toolformer.json",
    "gsm8k_train.json",
)
KEYS = ("1", "2")
TAU = 1.0
LIMIT = 0.7
COMPARED = 60  # old rows that every new one is compared with by the reference's ROUGE-L

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAM.is_file(), reason="../shared/data is absent"),
]


# --- the server ------------------------------------------------------------------------------

_PART = re.compile(r"^\[(?P<label>[^\]]+) (?P<fence>[0-9a-f]{8})\]\n", re.MULTILINE)


def _parts(prompt: str) -> dict[str, str]:
    """Return what stands between a prompt's marks, by label."""
    marks = list(_PART.finditer(f"{prompt}\n"))
    return {one["label"]: prompt[one.end() : two.start()].strip() for one, two in pairwise(marks)}


def _lot(*what: str) -> random.Random:
    return random.Random(hashlib.sha256("\0".join(what).encode()).digest())


@dataclass(frozen=True)
class Oracle:
    """Plays the three roles on any text; what it says follows from the request alone."""

    exam: list[str]
    answers: frozenset[str]  # of the base pool's files

    def __call__(self, call: Call) -> Behaviour:
        if call.number % 500 == 0:
            return refuses(500, f"{call.headers['Authorization']} must wait")
        parts = _parts(call.question)
        if "Given instruction" in parts:
            return self._generate(parts["Given instruction"], call)
        if "Request" in parts:
            return self._judge(parts)
        return says(_answer(call.question))

    def _judge(self, parts: dict[str, str]) -> Behaviour:
        """Give the teacher 8, the student 2 to 9."""
        lines = ["Both were read."]
        for number in (1, 2):
            text = parts[f"Answer of Assistant {number}"]
            taught = text in self.answers or text == _answer(parts["Request"])
            score = 8 if taught else _lot(parts["Request"], text).randint(2, 9)
            lines.append(f"Score of Assistant {number}: {score}")
        return says("\n".join(lines))

    def _generate(self, given: str, call: Call) -> Behaviour:
        """Write the parent's words in another order; fail in each known way now and then."""
        lot = _lot(call.raw.decode())
        words = re.findall(r"[A-Za-z]+", given)[:24]
        lot.shuffle(words)
        made = f"Explain {' '.join(words)} {lot.randrange(10**6)} for {lot.randrange(10**6)} days"
        match lot.randrange(10):
            case 0:
                return says(given)
            case 1:
                return says(made, finish_reason="length")
            case 2:
                return says("Explain it.")
            case 3:
                return says(f"{given} Now.")
            case 4:
                return says(f"Please help me: {lot.choice(self.exam)}")
        return says(made)


def _answer(question: str) -> str:
    return f"An answer to {hashlib.sha256(question.encode()).hexdigest()[:12]}."


# --- the student -----------------------------------------------------------------------------


def _write_student(folder: Path, texts: list[str]) -> None:
    """Write a random Llama of about a million parameters, with a tokenizer trained on `texts`."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=4096,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=384,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    checkpoint.save(LlamaForCausalLM(config), tokenizer, folder)


# --- the run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loop:
    """The finished project, and what the server was asked."""

    project: Project
    run: Run
    questions: list[str]

    def cache(self, key: str) -> list[dict[str, Any]]:
        return self.project.rows(f"{key}/cache_pool.jsonl")

    def new(self, key: str) -> list[dict[str, Any]]:
        return self.project.rows(f"{key}/train_pool.jsonl")


def _params(url: str, folder: Path) -> dict[str, Any]:
    asked = {"base_url": url, "model": "told-1", "api_key_env": "PLANTED_KEY", "send_seed": True}
    return {
        **{role: {**asked, "request": {}} for role in ("teacher", "generator")},
        "referee": {**asked, "request": {}, "form": "text"},
        "inputs": str(FILES),
        "seed.source": [str(FILES / name) for name in POOL],
        "seed.answers": "keep",
        "seed.on_contaminated": "drop",
        "exam": {"file": str(EXAM), "size": 1, "scorer": {"kind": "referee", "option": None}},
        "decontaminate": {"whole": True, "ngram": 13, "against": []},
        "student.model": str(folder),
        "respond.limit": 100,
        "answering.max_tokens": 8,
        "answering.batch_size": 16,
        "split.tau": TAU,
        "generate.hard": 24,
        "generate.easy": 12,
        "generate.novelty": LIMIT,
        "generate.tokens": "reference",
        "generate.ascii_start": True,
        "generate.requests_per_round": 32,
        "generate.min_acceptance": 0.0,  # a last round of two may well keep none
        "tune": tiny.tune_settings(steps=8, batch_size=8, max_length=256, replay=1.0).model_dump(),
        "base.tune": {},
        "evaluate.quality": 20,
        "evaluate.resamples": 50,
    }


@pytest.fixture(scope="module")
def finished_loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    folder = tmp_path_factory.mktemp("real")
    rows = [row for name in POOL for row in files.read_rows(FILES / name).rows]
    texts = [row.messages[-1]["content"] for row in rows]
    _write_student(folder / "student", texts[::10])
    project = Project.of_working_tree(folder / "project", "ci")
    with ChatServer.running() as server:
        exam = [row.messages[-1]["content"] for row in files.read_rows(EXAM).rows]
        answers = frozenset((row.expected or "").strip() for row in rows)
        server.answer = Oracle(exam, answers)
        project.edit(_params(server.url, folder / "student"))
        project.append_iteration("2", "1")
        project.commit()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PLANTED_KEY", PLANTED["PLANTED_KEY"])
            run = project.repro()
    yield Loop(project, run, server.questions)


# --- what came of it -------------------------------------------------------------------------


def test_the_pipeline_finishes(finished_loop: Loop) -> None:
    assert finished_loop.run.code == 0, finished_loop.run.output
    stages = [*BASE_STAGES, *loop("1"), *loop("2"), "report"]
    assert sorted(finished_loop.run.stages) == sorted(stages)


def test_no_file_and_no_message_holds_the_key(finished_loop: Loop) -> None:
    """Outputs, ledger, logs, dvc.lock, the report and DVC's cache are searched."""
    assert finished_loop.project.failures() > 0
    assert leaks(finished_loop.project.root) == []
    assert shown_keys(finished_loop.run.output.encode()) == []


def test_every_row_of_the_files_is_in_the_base_pool_or_dropped(finished_loop: Loop) -> None:
    read = sum(len(files.read_rows(FILES / name).rows) for name in POOL)
    dropped = finished_loop.project.rows("0/dropped.seed.jsonl")[:-1]
    assert len(finished_loop.new("0")) + len(dropped) == read > 18_000
    assert {row["reason"] for row in dropped} <= {"duplicate", "contaminated"}


@pytest.mark.parametrize("key", KEYS)
def test_the_cache_pool_grows_by_exactly_the_taught_rows(finished_loop: Loop, key: str) -> None:
    """Cache Pool k is Cache Pool k-1, byte for byte, then the new rows with their answers."""
    before, after = finished_loop.cache(str(int(key) - 1)), finished_loop.cache(key)
    assert after[: len(before)] == before
    taught = after[len(before) :]
    assert [row["id"] for row in taught] == [row["id"] for row in finished_loop.new(key)]
    assert [row["answer"]["text"] for row in taught] == [
        _answer(row["messages"][-1]["content"]) for row in taught
    ]


@pytest.mark.parametrize("key", KEYS)
def test_the_train_pool_is_replaced(finished_loop: Loop, key: str) -> None:
    """It holds the new rows of its iteration alone, hard and easy as many as were wanted."""
    new = finished_loop.new(key)
    old = {row["id"] for row in finished_loop.cache(str(int(key) - 1))}
    assert old.isdisjoint(row["id"] for row in new)
    origins = [row["origin"] for row in new]
    assert (origins.count("hard"), origins.count("easy")) == (24, 12)
    assert {row["iteration"] for row in new} == {key}


def test_every_row_leads_back_to_a_seed(finished_loop: Loop) -> None:
    by_id = {row["id"]: row for row in finished_loop.cache("2")}
    assert len(by_id) == len(finished_loop.cache("2"))
    for row in by_id.values():
        at = row
        while at["parent"] is not None:
            assert int(by_id[at["parent"]]["iteration"]) < int(at["iteration"])
            at = by_id[at["parent"]]
        assert (at["origin"], at["iteration"]) == ("seed", "0")


@pytest.mark.parametrize("key", KEYS)
def test_parents_are_as_hard_as_their_children_say(finished_loop: Loop, key: str) -> None:
    """A hard row's parent has gap >= tau, an easy row's has less: means over both orders."""
    reviews = finished_loop.project.rows(f"{key}/reviews.jsonl")
    gaps: dict[str, list[float]] = {}
    for review in reviews:
        assert review["teacher_score"] == 8
        gaps.setdefault(review["id"], []).append(review["teacher_score"] - review["student_score"])
    assert len(gaps) == 100
    assert {len(both) for both in gaps.values()} == {2}
    for row in finished_loop.new(key):
        assert (sum(gaps[row["parent"]]) / 2 >= TAU) == (row["origin"] == "hard")


@pytest.mark.parametrize("key", KEYS)
def test_every_candidate_is_kept_or_dropped_with_a_reason(finished_loop: Loop, key: str) -> None:
    metrics = finished_loop.project.metrics(key, GenerateMetrics)
    dropped = finished_loop.project.rows(f"{key}/dropped.generate.jsonl")[:-1]
    asked = metrics.hard.asked + metrics.easy.asked
    assert asked == len(finished_loop.new(key)) + len(dropped)
    assert {"truncated", "too_short", "contaminated", "not_novel"} <= {
        row["reason"] for row in dropped
    }
    for funnel in metrics.funnels.values():
        assert funnel.asked == funnel.kept + sum(funnel.dropped.values())


def test_each_candidate_is_one_request(finished_loop: Loop) -> None:
    asked = sum(
        funnel.asked
        for key in KEYS
        for funnel in finished_loop.project.metrics(key, GenerateMetrics).funnels.values()
    )
    prompts = [one for one in finished_loop.questions if "[Given instruction " in one]
    assert len(prompts) == asked


@pytest.mark.parametrize("key", KEYS)
def test_new_rows_are_novel_by_the_reference(finished_loop: Loop, key: str) -> None:
    """ROUGE-L F is at most 0.7 against new rows before them and a sample of the Cache Pool."""
    scorer = RougeScorer(["rougeL"])
    old = [_text(row) for row in finished_loop.cache(str(int(key) - 1))]
    known = random.Random(0).sample(old, COMPARED)
    for row in finished_loop.new(key):
        text = _text(row)
        assert max(scorer.score(one, text)["rougeL"].fmeasure for one in known) <= LIMIT
        known.append(text)


def test_no_exam_question_enters_a_pool_or_a_generators_prompt(finished_loop: Loop) -> None:
    """Though the server offers exam questions as candidates, time and again."""
    exam = finished_loop.project.rows("exam.jsonl")
    assert len(exam) > 200
    ids = {row["id"] for row in exam}
    assert ids.isdisjoint(row["id"] for row in finished_loop.cache("2"))
    texts = [_text(row) for row in exam if len(_text(row).split()) > 3]
    seen = [_text(row) for row in finished_loop.cache("2")]
    seen += [one for one in finished_loop.questions if "[Given instruction " in one]
    assert [text for text in texts if any(text in one for one in seen)] == []


def test_without_a_checkable_answer_there_is_quality_and_no_accuracy(finished_loop: Loop) -> None:
    for key in ("0", *KEYS):
        metrics = finished_loop.project.metrics(key, EvaluateMetrics)
        assert metrics.accuracy_share is None
        assert metrics.quality_percent is not None
        assert 25 <= metrics.quality_percent <= 112.5  # 2 to 9 against 8


def _text(row: dict[str, Any]) -> str:
    return str(row["messages"][-1]["content"])

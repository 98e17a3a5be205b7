"""Students that would fail after the teacher was paid are found by `lion check`, which asks nobody.

Each case is a folder as public issues of transformers, TRL, axolotl and LLaMA-Factory describe it.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pipeline
import pytest
import tiny
from fake_server import ChatServer
from fixtures import Workplace
from safetensors.torch import load_file, save_file
from test_check import ROWS, own_pool, remote, write_rows
from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

from lion.cli.check import checked_settings
from lion.config import project
from lion.errors import ModelError, SettingsError
from lion.pipeline.checks.offline import offline_problems, without_keys
from lion.records import jsonl
from lion.student import checkpoint, hub
from lion.student.chat_format import ChatFormatter
from lion.student.fingerprint import fingerprint

SETTINGS = tiny.student_settings()
SMALL = {"student.model": "student", "tune.max_length": 128}


def edited(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(
        json.dumps({key: value for key, value in document.items() if value is not None})
    )


def saved(folder: Path, **changes: Any) -> None:
    """Save the folder's tokenizer again, with attributes changed."""
    words = checkpoint.load_tokenizer(folder, SETTINGS)
    for name, value in changes.items():
        setattr(words, name, value)
    words.save_pretrained(folder)


def with_tokens(folder: Path, *tokens: str, special: bool = False) -> None:
    words = checkpoint.load_tokenizer(folder, SETTINGS)
    words.add_tokens([f"<new{number}>" for number in range(10)], special_tokens=special)
    words.add_tokens(list(tokens), special_tokens=special)
    words.save_pretrained(folder)


def without_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if "layers.1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def sharded(folder: Path) -> None:
    model, _ = checkpoint.load_student(folder, SETTINGS)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")


def without_a_shard(folder: Path) -> None:
    sharded(folder)
    next(folder.glob("model-00002*")).unlink()


def as_encoder(folder: Path) -> None:
    sizes = {key: value for key, value in tiny._SIZES.items() if not key.endswith("_token_id")}
    BertForMaskedLM(BertConfig(**sizes, eos_token_id=1)).save_pretrained(folder)


def as_encoder_decoder(folder: Path) -> None:
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(vocab_size=340, **sizes)).save_pretrained(folder)


def renamed(folder: Path, suffix: str) -> None:
    (folder / "model.safetensors").rename(folder / f"model{suffix}")


def text_in(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def slow_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    edited(folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizer")


def own_code(folder: Path) -> None:
    maps = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Mine"}
    edited(folder / "config.json", model_type="mine", auto_map=maps)
    text_in(folder, "mine.py", "raise SystemExit('ran')")


def without_end(folder: Path) -> None:
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        edited(folder / name, eos_token=None, eos_token_id=None)


def without_base(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    text_in(folder, "adapter_config.json", json.dumps({"peft_type": "LORA"}))


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
PLANTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "embeddings fewer than vocab_size": (
        lambda folder: edited(folder / "config.json", vocab_size=400),
        "embeds 340 tokens, its config.json says vocab_size: 400",
    ),
    "embeddings more than vocab_size": (
        lambda folder: edited(folder / "config.json", vocab_size=300),
        "embeds 340 tokens, its config.json says vocab_size: 300",
    ),
    "plain tokens beyond the embeddings": (
        lambda folder: with_tokens(folder, "<tool>"),
        "the model 340 embeddings: '<tool>' is id 340. Call `model.resize_token_embeddings",
    ),
    "an end token beyond the embeddings": (
        lambda folder: (
            with_tokens(folder, "<end>", special=True),
            saved(folder, eos_token="<end>", chat_template=None),
        )[0],
        "'<end>' is id 340",
    ),
    "a template's token beyond the embeddings": (
        lambda folder: (
            with_tokens(folder, "<sys>", special=True),
            saved(folder, chat_template="<sys>" + tiny.CHATML),
        )[0],
        "'<sys>' is id 340",
    ),
    "named templates, none the default": (
        lambda folder: (
            (folder / "chat_template.jinja").unlink(),
            saved(folder, chat_template={"rag": "x", "tool_use": "y"}),
        )[0],
        "none is called `default`",
    ),
    "a template that is no Jinja": (
        lambda folder: saved(folder, chat_template="{% for m in messages %}{{ m }"),
        "no valid Jinja: line 1",
    ),
    "a template without the text": (
        lambda folder: saved(folder, chat_template="{{ messages[0].text }}"),
        "inputs/tasks.jsonl, line 1: the student's chat template refuses this row: it leaves out",
    ),
    "no end of sequence": (without_end, "names no end-of-sequence token"),
    "an encoder": (as_encoder, "was saved as a BertForMaskedLM, which is no causal language model"),
    "an encoder-decoder": (
        as_encoder_decoder,
        "was saved as a T5ForConditionalGeneration, which is no causal language model",
    ),
    "layers without weights": (
        without_weights,
        "holds weights of 1 layers, its config.json says 2",
    ),
    "a shard missing": (without_a_shard, "files of weights are missing, the first model-00002"),
    "an index alone": (
        lambda folder: renamed(folder, "-00001-of-00001.safetensors"),
        "neither model.safetensors nor model.safetensors.index.json",
    ),
    "pickled weights": (lambda folder: renamed(folder, ".bin"), "Pickled weights are refused"),
    "a GGUF": (lambda folder: renamed(folder, ".Q4_K_M.gguf"), "quantized for llama.cpp"),
    "Flax's weights": (lambda folder: renamed(folder, ".msgpack"), "Only the weights of PyTorch"),
    "a pointer of git-lfs": (
        lambda folder: text_in(folder, "model.safetensors", LFS),
        "model.safetensors: a pointer of git-lfs, not the file. Run `git lfs install`",
    ),
    "a tokenizer's pointer": (
        lambda folder: text_in(folder, "tokenizer.json", LFS),
        "tokenizer.json: a pointer of git-lfs",
    ),
    "half a download": (cut, "damaged, or not downloaded to its end"),
    "a page of errors for weights": (
        lambda folder: text_in(folder, "model.safetensors", "<!doctype html>not found"),
        "damaged, or not downloaded",
    ),
    "a tokenizer of another version": (
        lambda folder: edited(
            folder / "tokenizer.json",
            model={**json.loads((folder / "tokenizer.json").read_text())["model"], "type": "New"},
        ),
        "tokenizer.json is of another version of the library tokenizers, or damaged",
    ),
    "half a tokenizer": (lambda folder: text_in(folder, "tokenizer.json", "{"), "cannot be loaded"),
    "a tokenizer of SentencePiece alone": (
        slow_tokenizer,
        "no tokenizer.json, and the library for its other files is not installed. Run `pip install",
    ),
    "its own code": (own_code, "wants to run its own code. Read it, then set"),
    "an architecture of tomorrow": (
        lambda folder: edited(folder / "config.json", model_type="future9"),
        "an architecture that this transformers does not know",
    ),
    "a config of wrong types": (
        lambda folder: edited(folder / "config.json", hidden_size="wide"),
        "cannot be loaded: Validation error for field 'hidden_size'",
    ),
    "an adapter without a base": (without_base, "no `base_model_name_or_path`. Write its base"),
}
PARAMS: dict[str, tuple[dict[str, Any], str]] = {
    "a seed that an iteration takes beyond": (
        {"random_seed": 2**32 - 3},
        f"random_seed: {2**32 - 3} is too large for numpy. Set it below {2**32 - 3}.",
    ),
    "fewer positions than tokens": (
        {"tune.max_length": 256},
        "tune.max_length: 256 tokens, the student's context has 128. Lower it.",
    ),
    "prompts that leave no room": (
        {"tune.max_length": 16},
        "the prompts of 30 of 30 rows leave no room for an answer in 16 tokens, the first "
        "inputs/tasks.jsonl, line 1 with",
    ),
    "a base with a longer limit": (
        {"base.tune": {"max_length": 1024}},
        "tune.max_length: 1,024 tokens, the student's context has 128",
    ),
}


def paid_pool(workplace: Workplace, server: ChatServer, rows: list[Any], **changes: Any) -> None:
    """Write params that ask `server` about `rows` for a student that lies in ./student."""
    source = write_rows(workplace.path / "inputs/tasks.jsonl", rows)
    workplace.params({**own_pool(source), **remote(server.url), **SMALL, **changes})


def told(server: ChatServer) -> str:
    """Return what `lion check` refuses; it asks nobody."""
    with pytest.raises(SettingsError) as caught:
        checked_settings(offline=False)
    assert server.calls == []
    return str(caught.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("whole") / "student")


@pytest.fixture
def student(whole: Path, workplace: Workplace) -> Path:
    """Return a copy of a whole student in the workplace."""
    return shutil.copytree(whole, workplace.path / "student")


@pytest.mark.parametrize(("plant", "line"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_defect_is_found_with_the_teacher_asked_nothing(
    plant: Callable[[Path], None],
    line: str,
    student: Path,
    workplace: Workplace,
    chat_server: ChatServer,
) -> None:
    plant(student)
    paid_pool(workplace, chat_server, ROWS)
    assert line in told(chat_server)


@pytest.mark.parametrize(("changes", "line"), PARAMS.values(), ids=PARAMS.keys())
@pytest.mark.usefixtures("student")
def test_params_that_do_not_fit_the_student_are_found(
    changes: dict[str, Any], line: str, workplace: Workplace, chat_server: ChatServer
) -> None:
    paid_pool(workplace, chat_server, ROWS, **changes)
    assert line in told(chat_server)


HARMLESS: dict[str, Callable[[Path], None]] = {
    "as it is": lambda _: None,
    "a padding token beyond the embeddings": lambda folder: (
        with_tokens(folder, "[PAD]", special=True),
        saved(folder, pad_token="[PAD]"),
    ),
    "special tokens beyond the embeddings": lambda folder: with_tokens(
        folder, "<image>", special=True
    ),
    "a named default template": lambda folder: saved(
        folder, chat_template={"default": tiny.CHATML, "rag": "x"}
    ),
    "no dtype": lambda folder: edited(folder / "config.json", dtype=None, torch_dtype=None),
    "weights in parts": sharded,
    "sampling that is not greedy": lambda folder: edited(
        folder / "generation_config.json", do_sample=False, temperature=0.6, top_p=0.9
    ),
    "no padding token": lambda folder: saved(folder, pad_token=None),
    "no start token": lambda folder: saved(folder, bos_token=None),
    "no template": lambda folder: saved(folder, chat_template=None),
}


@pytest.mark.parametrize("plant", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_harms_nobody_is_no_problem(
    plant: Callable[[Path], Any], student: Path, workplace: Workplace, chat_server: ChatServer
) -> None:
    plant(student)
    paid_pool(workplace, chat_server, ROWS)
    assert offline_problems(project.load_settings()) == []


TURNS = [
    {"instruction": "Rewrite the ticket as one polite sentence.", "input": "printer broken!!!"},
    {
        "conversations": [
            {"from": "gpt", "value": "Welcome to the shop, what may I do for you?"},
            {"from": "human", "value": "I want to return a kettle."},
            {"from": "gpt", "value": "Of course."},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "First part of my question about kettles."},
            {"role": "user", "content": "And the second part."},
        ]
    },
    {"instruction": "Name three uses of a brick in a garden."},
]


def test_all_rows_that_the_template_refuses_are_told(
    student: Path, workplace: Workplace, chat_server: ChatServer
) -> None:
    saved(student, chat_template=tiny.GEMMA)
    paid_pool(workplace, chat_server, TURNS + ROWS)
    lines = told(chat_server)
    for line in (2, 3):
        assert f"inputs/tasks.jsonl, line {line}: the student's chat template refuses" in lines
    assert "line 1:" not in lines and "line 4:" not in lines
    assert "student.prompt_format: 2 rows cannot be rendered" in lines
    saved(student, chat_template=tiny.CHATML)
    assert offline_problems(project.load_settings()) == []


def test_a_format_other_than_the_one_it_was_tuned_in_is_told(
    student: Path, workplace: Workplace, chat_server: ChatServer
) -> None:
    record = {"prompt_format": "paper-v1"}
    jsonl.write_document(student / checkpoint.PROMPT_FORMAT, record)
    paid_pool(workplace, chat_server, ROWS, **{"student.prompt_format": "paper"})
    line = "student.prompt_format: paper, but student was tuned in paper-v1 and keeps it"
    assert line in told(chat_server)
    for fitting in ("auto", "paper-v1"):
        paid_pool(workplace, chat_server, ROWS, **{"student.prompt_format": fitting})
        problems = offline_problems(project.load_settings())
        assert not [line for line in problems if "prompt_format" in line or "saved" in line]


def test_another_format_than_the_template_it_was_tuned_with_is_told(
    student: Path, workplace: Workplace, chat_server: ChatServer
) -> None:
    saved(student, chat_template=tiny.CHATML)
    jsonl.write_document(student / checkpoint.PROMPT_FORMAT, {"prompt_format": "template"})
    paid_pool(workplace, chat_server, ROWS, **{"student.prompt_format": "paper"})
    line = (
        "student.prompt_format: paper, but student was tuned with its chat template and keeps it. "
        f"Set auto, or remove {checkpoint.PROMPT_FORMAT} from its folder."
    )
    assert line in told(chat_server)
    paid_pool(workplace, chat_server, ROWS, **{"student.prompt_format": "auto"})
    assert offline_problems(project.load_settings()) == []


def test_of_many_refused_rows_ten_are_listed(
    student: Path, workplace: Workplace, chat_server: ChatServer
) -> None:
    saved(student, chat_template=tiny.GEMMA)
    pair = [{"role": "user", "content": "a"}]
    rows = [
        {"messages": [*pair, {"role": "user", "content": f"part {number}"}]} for number in range(25)
    ]
    paid_pool(workplace, chat_server, [*rows, *ROWS])
    lines = told(chat_server)
    assert lines.count("refuses this row") == 10
    assert "and 15 more rows that the student's chat template refuses" in lines


def test_a_question_of_the_exam_without_room_is_told(
    student: Path, workplace: Workplace, chat_server: ChatServer
) -> None:
    assert student.is_dir()
    exam = [{"instruction": "why " * 200, "expected": "so"}]
    name = write_rows(workplace.path / "inputs/exam.jsonl", exam)
    paid_pool(workplace, chat_server, ROWS, **{"exam.file": name})
    assert "inputs/exam.jsonl, line 1: its prompt of" in told(chat_server)


def test_a_bare_repro_looks_at_files_and_seeds_alone(
    student: Path, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages begin at once: no tokenizer is loaded for each of them."""
    monkeypatch.setattr(checkpoint, "tokenizer_of", None)
    source = write_rows(workplace.path / "inputs/tasks.jsonl", ROWS)
    settings = workplace.params(own_pool(source, **SMALL, random_seed=2**32 - 1))
    assert [line.partition(":")[0] for line in without_keys(settings, ask_hub=False)] == [
        "random_seed"
    ]
    (student / "model.safetensors").write_text(LFS)
    assert any("git-lfs" in line for line in without_keys(settings, ask_hub=False))


def test_the_simulators_student_loads_nothing(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "load_config", None)
    assert offline_problems(workplace.params({})) == []


# --- folders and fingerprints -----------------------------------------------------------------


def test_named_templates_are_part_of_a_students_fingerprint(student: Path) -> None:
    """Before: files of a folder inside were not looked at, and another template changed nothing."""
    saved(student, chat_template={"default": tiny.CHATML, "rag": "x"})
    before = fingerprint(checkpoint.resolve(student))
    (student / "additional_chat_templates/rag.jinja").write_text("y")
    changed = fingerprint(checkpoint.resolve(student))
    assert changed != before
    (student / ".cache").mkdir()
    (student / ".cache/download").write_text("a moment")
    assert fingerprint(checkpoint.resolve(student)) == changed


def test_named_templates_survive_a_save(student: Path, tmp_path: Path) -> None:
    """Before: IsADirectoryError, after the training."""
    templates = {"default": tiny.CHATML, "rag": "x{{ messages[0].content }}"}
    saved(student, chat_template=templates)
    model, words = checkpoint.load_student(student, SETTINGS)
    checkpoint.save(model, words, tmp_path / "saved")
    assert checkpoint.load_tokenizer(tmp_path / "saved", SETTINGS).chat_template == templates


def test_weights_that_are_missing_are_refused_when_loading(student: Path) -> None:
    """Before: transformers drew them at random, and the student was trained with them."""
    without_weights(student)
    with pytest.raises(ModelError, match=r"9 weights are not in its safetensors, the first model"):
        checkpoint.load_student(student, SETTINGS)


@pytest.mark.slow
def test_a_run_keeps_named_templates_and_their_frozen_day(tmp_path: Path) -> None:
    """By a real `dvc repro`: the save after the tuning was the first to fail."""
    mine = pipeline.tiny(tmp_path / "project")
    folder = tiny.folder(tmp_path / "student")
    templates = {"default": "{{ strftime_now('%d %b %Y') }}" + tiny.CHATML, "rag": "x"}
    saved(folder, chat_template=templates)
    mine.edit({"student.model": str(folder), "tune.max_length": 128, "seed.size": 40})
    checked = mine.run("lion.cli", "check", "--offline")
    assert checked.code == 0, checked.output
    run = mine.repro("base-tune")
    assert run.code == 0, run.output
    student = mine.root / "data/0/student"
    words = checkpoint.load_tokenizer(student, SETTINGS)
    assert words.chat_template == templates
    [prompt] = ChatFormatter(words, "auto").prompts([[{"role": "user", "content": "x"}]])
    assert words.decode(prompt).startswith("26 Jul 2024<|im_start|>user")


# --- the environment of the hub ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE is /nowhere/ca.pem, which does not"),
        ("SSL_CERT_DIR", "/nowhere", "SSL_CERT_DIR is /nowhere"),
        ("HTTPS_PROXY", "proxy.example.com:port", "HTTPS_PROXY is no address of a proxy"),
        ("https_proxy", "http://proxy:abc", "https_proxy is no address of a proxy"),
        ("ALL_PROXY", "ftp://proxy:21", "ALL_PROXY is no address of a proxy. Set scheme://host"),
        ("HTTP_PROXY", "http://", "HTTP_PROXY is no address"),
        ("http_proxy", "http://[::1:80", "http_proxy is no address"),
        ("HF_TOKEN", "hf_\u201cx\u201d", "HF_TOKEN holds a character that no token has"),
        ("HTTPS_PROXY", "http://user:word@proxy:3128", None),
        ("HTTPS_PROXY", "proxy.example.com:3128", None),  # httpx adds the scheme
        ("ALL_PROXY", "socks5h://127.0.0.1:1080", None),
        ("SSL_CERT_FILE", "", None),
    ],
)
def test_a_variable_that_breaks_connections_is_named(
    name: str, value: str, said: str | None
) -> None:
    found = hub.broken_variable({name: value})
    assert (found is None) if said is None else (found is not None and said in found)
    assert "word" not in (found or ""), "a proxy's password is not shown"


@pytest.mark.parametrize("error", [RuntimeError, KeyError, TypeError, AttributeError, Exception])
def test_whatever_loading_raises_is_a_model_error(error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be loaded: .*an odd folder"):  # noqa: SIM117
        with hub.translated(str(tmp_path)):
            raise error("an odd folder")

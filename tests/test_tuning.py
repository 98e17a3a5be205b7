"""Training: what is supervised, what is kept, and that equal runs write equal bytes."""

import hashlib
import itertools
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch.nn import functional

from lion.config.settings import Hardware
from lion.errors import DataError, ModelError
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter, Example
from lion.training.collator import Packed, Padded, draw_order
from lion.training.finetune import finetune
from lion.training.lengths import fit
from lion.training.report import TuneReport
from lion.training.trainer import MuonAdamW, muon_adamw, orthogonal

SETTINGS = tiny.student_settings()
HARDWARE = tiny.hardware()
QUESTIONS = ["c a f b", "a b", "f f a c b", "e d", "b a f c", "d a"]


def examples(folder: Path) -> list[Example]:
    encoder = ChatFormatter(checkpoint.load_tokenizer(folder, SETTINGS), "auto")
    return encoder.examples(
        [
            (str(number), tiny.instruction(f"Reverse: {text}").messages, text[::-1])
            for number, text in enumerate(QUESTIONS)
        ]
    )


def run(
    folder: Path,
    out: Path,
    hardware: Hardware = HARDWARE,
    states_in: Path | None = None,
    **changes: Any,
) -> TuneReport:
    return finetune(
        examples(folder),
        student=folder,
        out=out,
        settings=SETTINGS,
        tune=tiny.tune_settings(**changes),
        hardware=hardware,
        random_seed=7,
        states_in=states_in,
    )


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def loss_by_hand(model: Any, rows: list[Example]) -> float:
    """Mean of -log p over the tokens after the prompts, one example at a time, no padding."""
    losses = []
    for row in rows:
        ids = torch.tensor([row.input_ids])
        with torch.no_grad():
            log_p = functional.log_softmax(model(ids).logits[0].double(), dim=-1)
        losses += [-log_p[at - 1, ids[0, at]] for at in range(row.prompt_length, ids.shape[1])]
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize(
    ("architecture", "accumulation"), [("llama", 3), *((name, 1) for name in tiny.ARCHITECTURES)]
)
def test_the_loss_is_the_mean_over_supervised_tokens_alone(
    tmp_path: Path, architecture: str, accumulation: int
) -> None:
    folder = tiny.folder(tmp_path / "base", architecture)
    rows = examples(folder)
    report = run(
        folder,
        tmp_path / "out",
        steps=1,
        batch_size=len(rows),
        hardware=tiny.hardware(micro_batch=len(rows) // accumulation),
    )
    by_hand = loss_by_hand(tiny.model(architecture), rows)
    assert math.isclose(report.curve[0].loss, by_hand, rel_tol=1e-3)
    assert report.tokens == sum(len(row.input_ids) - row.prompt_length for row in rows)


@pytest.mark.parametrize("architecture", ["llama", "neox"])
def test_training_learns_its_examples(tmp_path: Path, architecture: str) -> None:
    folder = tiny.folder(tmp_path / "base", architecture)
    run(folder, tmp_path / "out", steps=40, learning_rate=0.01)
    before = loss_by_hand(checkpoint.load_student(folder, SETTINGS)[0], examples(folder))
    after = loss_by_hand(checkpoint.load_student(tmp_path / "out", SETTINGS)[0], examples(folder))
    assert after < before / 3


@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "muon", "matrix_learning_rate": 0.01}, {"method": "lora"}],
    ids=["adamw", "muon", "lora"],
)
def test_equal_runs_write_equal_bytes(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tiny.folder(tmp_path / "base")
    first = run(folder, tmp_path / "1", **changes)
    torch.rand(3)  # whoever drew before must not matter
    second = run(folder, tmp_path / "2", **changes)
    assert first == second
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    assert digests(tmp_path / "1") != digests(folder)


def test_nothing_but_the_student_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder(tmp_path / "base")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    run(folder, Path("out"))
    assert [path.name for path in Path.cwd().iterdir()] == ["out"]
    names = {path.name for path in folder.iterdir()}
    assert {path.name for path in Path("out").iterdir()} == names | {checkpoint.PROMPT_FORMAT}


def test_examples_above_the_length_are_left_out_and_named(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "base")
    lengths = {row.id: len(row.input_ids) for row in examples(folder)}
    limit = sorted(lengths.values())[-2]
    report = run(folder, tmp_path / "out", max_length=limit)
    assert report.too_long == tuple(id for id, length in lengths.items() if length > limit)
    assert report.examples == len(QUESTIONS) - len(report.too_long)
    assert report.too_long
    with pytest.raises(DataError, match="none of 6 examples is at most 3 tokens long"):
        run(folder, tmp_path / "none", max_length=3)


def test_the_curve_warms_up_and_decays(tmp_path: Path) -> None:
    told: list[tuple[int, int, float, int]] = []
    folder = tiny.folder(tmp_path / "base")
    report = finetune(
        examples(folder),
        student=folder,
        out=tmp_path / "out",
        settings=SETTINGS,
        tune=tiny.tune_settings(steps=10, warmup=0.2),
        hardware=HARDWARE,
        random_seed=0,
        progress=lambda *point: told.append(point),
    )
    rates = [point.learning_rate for point in report.curve]
    assert [point.step for point in report.curve] == list(range(1, 11))
    assert max(rates) == 0.003
    assert rates[0] < max(rates) > rates[-1]
    assert [point.tokens for point in report.curve] == sorted(p.tokens for p in report.curve)
    assert told == [(p.step, 10, p.loss, p.tokens) for p in report.curve]


def test_epochs_become_steps(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "base")
    report = run(folder, tmp_path / "out", steps=None, epochs=2.5, batch_size=4)
    assert report.steps == math.ceil(2.5 * len(QUESTIONS) / 4)


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "base")
    with pytest.raises(ModelError, match=r"loss is (nan|inf).*Lower `tune.learning_rate`"):
        run(folder, tmp_path / "out", steps=20, learning_rate=1e30, clip=0.0, warmup=0.0)
    assert not (tmp_path / "out").exists()


def test_lora_continues_as_one_adapter(tmp_path: Path) -> None:
    base = tiny.folder(tmp_path / "base")
    first, second = tmp_path / "1", tmp_path / "2"
    lora = {"method": "lora", "steps": 30, "learning_rate": 0.01}
    run(base, first, **lora)
    run(first, second, **lora)
    for folder in (first, second):
        names = {path.name for path in folder.iterdir()}
        assert names == {"adapter_config.json", "adapter_model.safetensors", "prompt_format.json"}
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(base)
    losses = [
        loss_by_hand(checkpoint.load_student(folder, SETTINGS)[0], examples(base))
        for folder in (base, first, second)
    ]
    assert losses[0] > losses[1] > losses[2]


def test_full_training_of_an_adapted_student_keeps_what_it_learned(tmp_path: Path) -> None:
    base = tiny.folder(tmp_path / "base")
    run(base, tmp_path / "1", method="lora", steps=20, learning_rate=0.03)
    run(tmp_path / "1", tmp_path / "2", steps=1, learning_rate=1e-9)
    adapted, _ = checkpoint.load_student(tmp_path / "1", SETTINGS)
    full, _ = checkpoint.load_student(tmp_path / "2", SETTINGS)
    rows = examples(base)
    assert math.isclose(loss_by_hand(adapted, rows), loss_by_hand(full, rows), rel_tol=1e-4)


def test_lora_without_peft_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder(tmp_path / "base")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"pip install -e '\.\[lora\]'"):
        run(folder, tmp_path / "out", method="lora")


def test_half_precision_students_train_in_float32_and_stay_half(tmp_path: Path) -> None:
    settings = tiny.student_settings(dtype="bfloat16")
    folder = tmp_path / "base"
    checkpoint.save(tiny.model().to(torch.bfloat16), tiny.tokenizer(), folder)
    finetune(
        examples(folder),
        student=folder,
        out=tmp_path / "out",
        settings=settings,
        tune=tiny.tune_settings(),
        hardware=HARDWARE,
        random_seed=0,
    )
    model, _ = checkpoint.load_student(tmp_path / "out", settings)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


def test_gradient_checkpointing_changes_nothing_but_memory(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "base")
    plain = run(folder, tmp_path / "1")
    saving = run(folder, tmp_path / "2", gradient_checkpointing=True)
    for one, other in zip(plain.curve, saving.curve, strict=True):
        assert math.isclose(one.loss, other.loss, rel_tol=1e-4)


def test_batches_are_of_like_length_and_every_example_has_its_turn() -> None:
    lengths = [10 + (37 * number) % 50 for number in range(1000)]
    order = draw_order(lengths, batch_size=10, batches=250, random_seed=3)
    assert len(order) == 2500
    counts = [order.count(index) for index in range(1000)]
    assert set(counts) == {2, 3}
    batches = [order[start : start + 10] for start in range(0, 2500, 10)]
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert sum(spread) / len(spread) < 4
    means = [sum(lengths[i] for i in batch) for batch in batches]
    rises = sum(a < b for a, b in itertools.pairwise(means))
    assert 90 < rises < 160, "lengths come in no order"
    assert order == draw_order(lengths, batch_size=10, batches=250, random_seed=3)
    assert order != draw_order(lengths, batch_size=10, batches=250, random_seed=4)


def test_muon_moves_matrices_as_torch_does() -> None:
    """Torch iterates in bfloat16, so its updates agree to its precision."""
    torch.manual_seed(0)
    shapes = [(16, 16), (40, 16), (16, 40), (16, 16)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(matrix.detach().clone()) for matrix in ours]
    mine = MuonAdamW([{"params": ours, "muon": True}], lr=0.1, weight_decay=0.01)
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.01)
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        mine.step()
        reference.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=0.02), (one - other).abs().max()


def test_orthogonal_brings_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((2, 20, 50), (2, 50, 20)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_adamw_keeps_embeddings_head_and_vectors() -> None:
    model = tiny.model("llama")
    optimizer = muon_adamw(model, matrix_learning_rate=0.1, learning_rate=0.01, weight_decay=0.5)
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = {
        (group["muon"], group["lr"], group["weight_decay"]): {
            names[id(weight)] for weight in group["params"]
        }
        for group in optimizer.param_groups
    }
    matrices = groups[(True, 0.1, 0.5)]
    assert len(matrices) == 2 * 7
    assert all("_proj" in name for name in matrices)
    assert groups[(False, 0.01, 0.5)] == {"model.embed_tokens.weight", "lm_head.weight"}
    assert all("norm" in name for name in groups[(False, 0.01, 0.0)])
    assert sum(len(group) for group in groups.values()) == len(names)


def test_muons_rest_moves_as_adamw_does() -> None:
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(7))
    theirs = torch.nn.Parameter(ours.detach().clone())
    matrix = torch.nn.Parameter(torch.randn(4, 4))
    mine = MuonAdamW(
        [{"params": [matrix], "muon": True}, {"params": [ours]}], lr=0.1, weight_decay=0.1
    )
    reference = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        ours.grad = torch.randn_like(ours)
        theirs.grad = ours.grad.clone()
        matrix.grad = torch.randn_like(matrix)
        mine.step()
        reference.step()
    assert torch.equal(ours, theirs)


def test_only_the_answer_and_its_end_are_labelled() -> None:
    rows = [Example("a", (5, 6, 7, 8), 2), Example("b", (5, 9), 1)]
    batch = Padded(0, masked=True, whole=True)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [5, 9, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, 7, 8], [-100, 9, -100, -100]]


def packed_loss(model: Any, rows: list[Example]) -> list[float]:
    """Return the loss of every supervised token of the packed rows, in their order."""
    batch = Packed()(rows)
    logits = model(**batch).logits
    losses = functional.cross_entropy(logits, batch["shift_labels"], reduction="none")
    return [float(loss) for loss in losses]


PACKABLE = [name for name in tiny.ARCHITECTURES if name != "gpt2"]


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", PACKABLE)
def test_nothing_leaks_between_packed_examples(
    tmp_path: Path, architecture: str, kernel: str
) -> None:
    """An example's losses are those it has alone, whatever stands before it in the pack."""
    rows = examples(tiny.folder(tmp_path / "base", architecture))
    model = tiny.model(architecture)
    model.set_attn_implementation(kernel)
    with torch.no_grad():
        together = packed_loss(model, rows)
        alone = [loss for row in rows for loss in packed_loss(model, [row])]
        stranger = replace(rows[0], input_ids=(9,) * len(rows[0].input_ids))
        others = packed_loss(model, [stranger, *rows[1:]])
    assert len(together) == sum(len(row.input_ids) - row.prompt_length for row in rows)
    assert torch.allclose(torch.tensor(together), torch.tensor(alone), atol=1e-4)
    behind = len(rows[0].input_ids) - rows[0].prompt_length
    assert torch.equal(torch.tensor(together[behind:]), torch.tensor(others[behind:]))


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_packing_changes_nothing_but_the_padding(tmp_path: Path, architecture: str) -> None:
    folder = tiny.folder(tmp_path / "base", architecture)
    padded = run(folder, tmp_path / "1")
    packed = run(folder, tmp_path / "2", tiny.hardware(packing="always"))
    assert packed.tokens == padded.tokens
    for one, other in zip(padded.curve, packed.curve, strict=True):
        assert math.isclose(one.loss, other.loss, rel_tol=1e-4)


def test_a_layer_that_carries_a_state_on_is_never_packed() -> None:
    from lion.training import finetune as tuning

    model = tiny.model()
    assert tuning._packs(model, tiny.hardware(packing="always"))
    model._is_stateful = True
    assert not tuning._packs(model, tiny.hardware(packing="always"))


def test_long_examples_are_cut_or_refused_as_params_say(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "base")
    lengths = {row.id: len(row.input_ids) for row in examples(folder)}
    limit = sorted(lengths.values())[-2]
    long = tuple(id for id, length in lengths.items() if length > limit)
    report = run(folder, tmp_path / "out", max_length=limit, too_long="truncate")
    assert (report.truncated, report.too_long, report.examples) == (long, (), len(QUESTIONS))
    with pytest.raises(DataError, match=f"examples are longer than {limit} tokens"):
        run(folder, tmp_path / "none", max_length=limit, too_long="error")


def test_a_cut_example_keeps_its_prompt_and_the_start_of_its_answer() -> None:
    rows = [Example("a", (1, 2, 3, 4, 5), 2), Example("b", (1, 2, 3, 4, 5), 4)]
    cut = fit(rows, tiny.tune_settings(max_length=4, too_long="truncate"))
    assert [(row.id, row.input_ids) for row in cut.examples] == [("a", (1, 2, 3, 4))]
    assert (cut.truncated, cut.too_long) == (("a",), ("b",))


def test_qlora_without_what_it_needs_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder(tmp_path / "base")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelError, match="qlora needs the library bitsandbytes"):
        run(folder, tmp_path / "out", method="qlora")


def test_qlora_learns_and_goes_on_as_one_adapter(tmp_path: Path) -> None:
    """The out is the adapter alone, and it answers on the weights of full width."""
    pytest.importorskip("bitsandbytes")
    base = tiny.folder(tmp_path / "base")
    qlora = {"method": "qlora", "steps": 20, "learning_rate": 0.01}
    run(base, tmp_path / "1", **qlora)
    run(tmp_path / "1", tmp_path / "2", **qlora)
    names = {path.name for path in (tmp_path / "2").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "prompt_format.json"}
    models = [
        checkpoint.load_student(folder, SETTINGS)[0]
        for folder in (base, tmp_path / "1", tmp_path / "2")
    ]
    losses = [loss_by_hand(model, examples(base)) for model in models]
    assert losses[0] > losses[1] > losses[2]
    assert {weight.dtype for weight in models[2].parameters()} == {torch.float32}

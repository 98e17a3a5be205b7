"""Measures fine-tuning side by side: real tokens a second, and the most memory that it took.

A second is one of the clock, and beside it one of a processor: the latter compares ways on a
machine that does other work as well.

    python bench/tuning.py [--trl PYTHON] [--rows 384] [--threads 2] [--ways ours,authors,...]

Needs no extra; the ways of TRL need trl in PYTHON.

One random Llama of 27 M parameters, batch 16, float32, AdamW, one epoch over the same rows. A real
token is one that is no padding. PYTHON is the interpreter of an environment with TRL; without it
TRL's ways are left out. The rows are drawn from real instructions (--data), or made up where that
folder is not there. Each way runs in a process of its own, one after the other. The last line is
one JSON object. Ways:

ours             lion.training.finetune
authors          the paper's: transformers.Trainer, each random batch padded to its longest
authors-grouped  the same with the Trainer's length grouping
trl              TRL's SFTTrainer, as it comes
trl-grouped      with length grouping
trl-flat         padding-free
trl-packed       packed to --length tokens, as many packs a batch as hold the same tokens
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "instructions"
BATCH, SEED, WARM = 16, 0, 2  # sequences a step; steps before the clock starts
OURS, OTHERS = ("ours",), ("authors", "authors-grouped")
TRL = ("trl", "trl-grouped", "trl-flat", "trl-packed")
_WORDS = ("a", "the", "of", "and", "to", "in", "is", "that", "for", "write", "explain", "name")

Row = dict[str, Any]
Moment = tuple[float, float]  # seconds of the clock, and of this process's processors


# --- the task: rows, tokenizer, student --------------------------------------------------------


def texts(folder: Path, count: int) -> list[tuple[str, str]]:
    """Return (prompt, answer) of `count` rows of real instructions, or of made-up ones."""
    draw = random.Random(SEED)
    found = [pair for path in sorted(folder.glob("*.json")) for pair in _alpaca(path)]
    if not found:
        print(f"{folder} is not there: made-up text, of like lengths", file=sys.stderr)
        found = [(_words(draw, 40, 0.6), _words(draw, 60, 0.9)) for _ in range(5000)]
    draw.shuffle(found)
    return found[: min(count, 5000)]


def _alpaca(path: Path) -> Iterator[tuple[str, str]]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        yield f"{row['instruction']}\n{row.get('input', '')}".strip(), row["output"]


def _words(draw: random.Random, median: float, spread: float) -> str:
    return " ".join(draw.choices(_WORDS, k=max(1, round(median * draw.lognormvariate(0, spread)))))


def make(folder: Path, data: Path, rows: int, length: int) -> tuple[int, float]:
    """Write the student and the encoded rows; return how many and their mean tokens."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from lion.student.chat_format import ChatFormatter

    pairs = texts(data, 5000)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=8192, special_tokens=special, show_progress=False)
    backend.train_from_iterator((f"{one}\n{other}" for one, other in pairs), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    torch.manual_seed(SEED)
    sizes = {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8}
    config = LlamaConfig(vocab_size=8192, intermediate_size=1376, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder / "student")
    tokenizer.save_pretrained(folder / "student")
    encoder = ChatFormatter(tokenizer, "paper")
    encoded = encoder.examples(
        [
            (str(number), [{"role": "user", "content": prompt}], answer)
            for number, (prompt, answer) in enumerate(pairs)
        ]
    )
    fitting = [one for one in encoded if len(one.input_ids) <= length][:rows]
    fitting = fitting[: len(fitting) // BATCH * BATCH]
    document = [[one.id, one.input_ids, one.prompt_length] for one in fitting]
    (folder / "rows.json").write_text(json.dumps(document))
    return len(fitting), sum(len(one.input_ids) for one in fitting) / len(fitting)


def read(folder: Path) -> list[tuple[str, list[int], int]]:
    """Return (id, tokens, prompt's length) of the rows."""
    rows: list[tuple[str, list[int], int]] = json.loads((folder / "rows.json").read_text())
    return rows


def now() -> Moment:
    """Return the moment."""
    return time.perf_counter(), time.process_time()


# --- the ways ----------------------------------------------------------------------------------


def ours(folder: Path, _: int) -> tuple[list[Moment], list[int]]:
    """Tune with Lion; return when each step ended, and its real tokens."""
    import torch

    from lion.config.settings import Student
    from lion.student.chat_format import Example
    from lion.training.collator import draw_order
    from lion.training.finetune import finetune

    threads = torch.get_num_threads()
    sys.path.insert(0, str(ROOT / "tests"))
    import tiny  # which leaves torch one thread

    torch.set_num_threads(threads)
    rows = [Example(id, tuple(ids), prompt) for id, ids, prompt in read(folder)]
    steps = len(rows) // BATCH
    ended: list[Moment] = []
    finetune(
        rows,
        student=folder / "student",
        out=folder / "tuned",
        settings=Student(**{**tiny.student_settings().model_dump(), "threads": threads}),
        tune=tiny.tune_settings(
            steps=steps, batch_size=BATCH, max_length=4096, learning_rate=2e-5, warmup=0.03
        ),
        hardware=tiny.hardware(),
        random_seed=SEED,
        progress=lambda *_: ended.append(now()),
    )
    lengths = [len(row.input_ids) for row in rows]
    order = draw_order(lengths, batch_size=BATCH, batches=steps, random_seed=SEED)
    starts = range(0, len(order), BATCH)
    return ended, [sum(lengths[i] for i in order[at : at + BATCH]) for at in starts]


def authors(folder: Path, _: int, sampling: str = "random") -> tuple[list[Moment], list[int]]:
    """Tune as the authors do: the Trainer, random batches padded to their longest."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    def collate(rows: Sequence[Row]) -> Row:
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        labels = [torch.tensor(row["labels"]) for row in rows]
        padded = pad_sequence(ids, batch_first=True, padding_value=1)
        mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        targets = pad_sequence(labels, batch_first=True, padding_value=-100)
        return {"input_ids": padded, "attention_mask": mask, "labels": targets}

    counted = _Counting(collate)
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "student"),
        args=TrainingArguments(train_sampling_strategy=sampling, **_common(folder)),
        train_dataset=_labelled(folder),
        data_collator=counted,
    )
    return _timed(trainer), counted.tokens


def sft(folder: Path, length: int | None, **options: Any) -> tuple[list[Moment], list[int]]:
    """Tune with TRL."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = _labelled(folder)
    trainer = SFTTrainer(
        model=str(folder / "student"),
        args=SFTConfig(max_length=length, **{**_common(folder), **options}),
        train_dataset=Dataset.from_list([{**row, "labels": row["labels"]} for row in rows]),
    )
    trainer.data_collator = counted = _Counting(trainer.data_collator)
    return _timed(trainer), counted.tokens


def packed(folder: Path, length: int) -> tuple[list[Moment], list[int]]:
    """Tune with TRL's packing, a batch holding about as many tokens as the others' do."""
    rows = read(folder)
    mean = sum(len(ids) for _, ids, _ in rows) / len(rows)
    batch = max(1, round(BATCH * mean / length))
    return sft(folder, length, packing=True, per_device_train_batch_size=batch)


def _common(folder: Path) -> Row:
    import torch

    return {
        "output_dir": str(folder / "trainer"),
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 1,
        "learning_rate": 2e-5,
        "lr_scheduler_type": "cosine",
        "use_cpu": not torch.accelerator.is_available(),
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "remove_unused_columns": False,
        "seed": SEED,
    }


def _labelled(folder: Path) -> list[Row]:
    return [
        {"input_ids": ids, "labels": [-100] * prompt + ids[prompt:], "length": len(ids)}
        for _, ids, prompt in read(folder)
    ]


class _Counting:
    """A collator that counts the real tokens of each batch."""

    def __init__(self, collate: Callable[[Any], Row]) -> None:
        self._collate = collate
        self.tokens: list[int] = []

    def __call__(self, rows: Any) -> Row:
        self.tokens.append(sum(len(row["input_ids"]) for row in rows))
        return self._collate(rows)


def _timed(trainer: Any) -> list[Moment]:
    """Train; return when each step ended."""
    from transformers import PrinterCallback, TrainerCallback

    ended: list[Moment] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ended.append(now())

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Clock())
    trainer.train()
    return ended


WAYS: dict[str, Callable[[Path, int], tuple[list[Moment], list[int]]]] = {
    "ours": ours,
    "authors": authors,
    "authors-grouped": lambda folder, _: authors(folder, _, "group_by_length"),
    "trl": sft,
    "trl-grouped": lambda folder, n: sft(folder, n, train_sampling_strategy="group_by_length"),
    "trl-flat": lambda folder, _: sft(folder, None, padding_free=True),
    "trl-packed": packed,
}


# --- measuring ---------------------------------------------------------------------------------


def measure(way: str, folder: Path, length: int, threads: int) -> None:
    """Run one way in this process and print its figures as JSON."""
    import torch

    torch.set_num_threads(threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ended, tokens = WAYS[way](folder, length)
    clock, processors = (end - start for end, start in zip(ended[-1], ended[WARM - 1], strict=True))
    trained = sum(tokens[WARM : len(ended)])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if torch.cuda.is_available():
        before, peak = 0, torch.cuda.max_memory_allocated() // 1024
    document = {
        "tokens_per_second": trained / clock,
        "tokens_per_processor_second": trained / processors,
        "peak_gigabytes": peak / 1e6,
        "above_imports": (peak - before) / 1e6,
        "steps": len(ended),
    }
    print(json.dumps(document))


def ceiling(threads: int) -> float:
    """Return the machine's matrix products in float32, GFLOP/s: the best of ten."""
    import torch

    torch.set_num_threads(threads)
    size, best = 2048, float("inf")
    one, other = torch.randn(size, size), torch.randn(size, size)
    for _ in range(10):
        began = time.perf_counter()
        torch.mm(one, other)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best / 1e9


def parameters(folder: Path) -> int:
    """Return the student's parameters that multiply: all but the input embedding."""
    from safetensors import safe_open

    with safe_open(folder / "student" / "model.safetensors", "pt") as weights:
        shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    return sum(
        one * other
        for name, (one, *rest) in shapes.items()
        for other in rest
        if "embed" not in name
    )


def main() -> None:
    """Measure every way that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ways", default="", help="some of those above; all that can run")
    parser.add_argument("--trl", help="the Python of an environment with TRL")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rows", type=int, default=384)
    parser.add_argument("--length", type=int, default=512, help="tokens; longer rows are left out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.folder, options.length, options.threads)
        return
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as name:
        compare(options, Path(name))


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Run the ways one after the other and print what they did."""
    count, mean = make(folder, options.data, options.rows, options.length)
    limit = ceiling(options.threads)
    flops = 6 * parameters(folder)
    print(f"{count} rows of {mean:.0f} tokens on average, batch {BATCH}, {options.threads} threads")
    print(f"matrix products: {limit:.0f} GFLOP/s, {limit * 1e9 / flops:.0f} tokens/s at 6 N each")
    heads = ("real tokens/s", "of ceiling", "/cpu-s", "peak GB", "own GB")
    print(f"{'way':16} " + " ".join(f"{head:>13}" for head in heads))
    asked = options.ways.split(",") if options.ways else [*OURS, *OTHERS, *TRL]
    found: dict[str, float] = {}
    for way in asked:
        if way in TRL and not options.trl:
            print(f"{way:16} left out: no --trl")
            continue
        figures = in_process(way, options, folder)
        found[way] = speed = figures["tokens_per_second"]
        cells = (
            f"{speed:.0f}",
            f"{speed * flops / limit / 1e9:.0%}",
            f"{figures['tokens_per_processor_second']:.0f}",
            f"{figures['peak_gigabytes']:.2f}",
            f"{figures['above_imports']:.2f}",
        )
        print(f"{way:16} " + " ".join(f"{cell:>13}" for cell in cells), flush=True)
    conclude(found)


def in_process(way: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Run one way in a process of its own and return its figures."""
    python = options.trl if way in TRL else sys.executable
    words = [python, __file__, "--measure", way, "--folder", str(folder)]
    words += ["--length", str(options.length), "--threads", str(options.threads)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way}:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def conclude(found: dict[str, float]) -> None:
    """Compare ours with the best of the others."""
    rest = {way: speed for way, speed in found.items() if way != "ours"}
    if "ours" not in found or not rest:
        return
    best = max(rest, key=lambda way: rest[way])
    ratio = found["ours"] / rest[best]
    print(f"tuning: {'held' if ratio >= 1 else 'MISSED'} (the best of the others: {best})")
    figures = {"ours": round(found["ours"]), "others": round(rest[best]), "ratio": round(ratio, 3)}
    print(json.dumps({"name": "tuning", **figures, "unit": "real tokens/s"}))


if __name__ == "__main__":
    main()

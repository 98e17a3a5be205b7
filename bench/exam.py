"""Times BBH in Lion beside lm-eval: same items, same model, same prompts, and the same figures.

    python bench/exam.py --items 20 [--folder ../shared/data/bbh] [--python LM_EVALS_PYTHON]
        [--scoring first_letter|likelihood] [--threads 2]

Needs no extra; the other side needs the extra `lm-eval` in its Python.

A Llama of 25 million random weights sits the first --items of every task in the folder (0: all).
Both sides run as processes of their own; loading is part of the time. The last line is one JSON
object; the ratio is lm-eval's seconds over ours.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from lion.readers import official_exams

FOLDER = Path("../shared/data/bbh")
MAX_TOKENS, BATCH = 8, 32


def make_student(folder: Path, texts: list[str]) -> int:
    """Write a random Llama with a tokenizer of these texts; return the number of its weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=8000, special_tokens=["</s>"], show_progress=False)
    backend.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", pad_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(backend.get_vocab()),
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def subset(source: Path, target: Path, items: int) -> None:
    """Copy the first `items` of each task."""
    target.mkdir()
    for path in sorted(source.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        document["examples"] = document["examples"][: items or None]
        (target / path.name).write_text(json.dumps(document), encoding="utf-8")


def timed(command: list[str], folder: Path, threads: int) -> tuple[str, float]:
    """Run a command; return its output and its seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    environment |= {"HF_DATASETS_CACHE": str(folder / "cache"), "TOKENIZERS_PARALLELISM": "false"}
    began, used = time.perf_counter(), _cpu()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    seconds = time.perf_counter() - began
    print(f"{command[2]}: {seconds:.1f} s, {_cpu() - used:.1f} s of CPU")
    return done.stdout, seconds


def _cpu() -> float:
    """Return the seconds of CPU of all processes that have ended: those of neighbours are none."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours(folder: Path, scoring: str, threads: int) -> tuple[dict[str, float], float]:
    """Return each task's accuracy in percent, and the seconds."""
    command = [sys.executable, "-m", "lion.cli", "exam", "reasoning", "bbh", "--student", "student"]
    command += ["--scoring", scoring, "--max-tokens", str(MAX_TOKENS), "--json"]
    out, seconds = timed([*command, "--batch-size", str(BATCH)], folder, threads)
    tasks = json.loads(out)["bbh"]["tasks"]
    return {task: one["accuracy_percent"] for task, one in tasks.items()}, seconds


def theirs(folder: Path, scoring: str, threads: int, python: str) -> tuple[dict[str, float], float]:
    """Return the same of lm-eval, on tasks that `lion exam lm-eval` wrote."""
    write = [sys.executable, "-m", "lion.cli", "exam", "lm-eval", "bbh", "--out", "tasks"]
    timed([*write, "--max-tokens", str(MAX_TOKENS), "--paper"], folder, threads)
    group = "lion_bbh_likelihood" if scoring == "likelihood" else "lion_bbh"
    command = [python, "-m", "lm_eval", "--model", "hf", "--device", "cpu", "--tasks", group]
    command += ["--model_args", "pretrained=student,dtype=float32", "--include_path", "tasks"]
    command += ["--batch_size", str(BATCH), "--output_path", "out"]
    _, seconds = timed(command, folder, threads)
    (path,) = (folder / "out").rglob("results*.json")
    results: dict[str, Any] = json.loads(path.read_text())["results"]
    key = "acc,none" if scoring == "likelihood" else "exact_match,first_letter"
    ending = "_likelihood" if scoring == "likelihood" else ""
    tasks = {name: one for name, one in results.items() if name != group}
    return {
        name.removeprefix("lion_bbh_").removesuffix(ending): 100 * one[key]
        for name, one in tasks.items()
    }, seconds


def main() -> None:
    """Run both on the same items and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--python", default=sys.executable, help="the one that has lm-eval")
    parser.add_argument("--scoring", choices=["first_letter", "likelihood"], default="first_letter")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not options.folder.is_dir():
        sys.exit(f"{options.folder}: no such folder; name one with BBH's files (--folder)")
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as name:
        folder = Path(name)
        subset(options.folder, folder / "bbh", options.items)
        items = official_exams.read_items(folder / "bbh")
        weights = make_student(folder / "student", [item.prompt for item in items])
        params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
        params["student"] |= {"threads": options.threads, "prompt_format": "paper"}
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        shutil.copytree("prompts", folder / "prompts")
        mine, seconds = ours(folder, options.scoring, options.threads)
        other, other_seconds = theirs(folder, options.scoring, options.threads, options.python)
    print(f"{weights / 1e6:.1f} M weights, {len(items):,} items of {len(mine)} tasks")
    print(f"Lion {seconds:.1f} s, lm-eval {other_seconds:.1f} s")
    average = sum(mine.values()) / len(mine)
    print(f"macro average: Lion {average:.2f} %, lm-eval {sum(other.values()) / len(other):.2f} %")
    differ = {task: (one, other.get(task)) for task, one in mine.items()}
    differ = {task: (a, b) for task, (a, b) in differ.items() if b is None or abs(a - b) > 1e-9}
    for task, (a, b) in differ.items():
        print(f"{task}: Lion {a}, lm-eval {b}")
    held = not differ and seconds <= other_seconds
    print(
        f"exam: {'held' if held else 'MISSED'}; {len(mine) - len(differ)} tasks with equal figures"
    )
    figures = {"ours": round(seconds, 1), "others": round(other_seconds, 1)}
    ratio = round(other_seconds / seconds, 2)
    print(json.dumps({"name": "exam", **figures, "ratio": ratio, "unit": "s"}))


if __name__ == "__main__":
    main()

"""Measures answering: the authors' way, `generate` in fixed batches, and ours.

    python bench/answering.py                      # all claims, about 3 minutes on two cores
    python bench/answering.py rate --instructions 512 --processes 2
    python bench/answering.py tiny
    python bench/answering.py memory

rate        a random Llama of 27 M parameters, 64 new tokens, real instructions (`--data`, a folder
            of JSON files with `instruction` and `input`; without it texts are made up), greedy:
            instructions a second, the share of equal answers, FLOP/s beside the machine's ceiling
tiny        the embedded student, trained a little: ours beside `generate`
memory      peak memory of ours for 2,000 and for 20,000 rows

Each contender runs in a process of its own, from the student's folder to the answers' texts; its
loading counts. Greedy answers are compared with those of `generate` in batches of 16. The last line
of a claim is one JSON object; a claim that is missed prints MISSED.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "instructions"
NEW_TOKENS, TINY_TOKENS = 64, 24
LEAST_OF_AUTHORS, LEAST_OF_BEST, LEAST_OF_GENERATE = 7.0, 1.2, 1.0
MOST_GROWTH = 1.25  # peak memory, for ten times the rows
FEW, MANY = 2_000, 20_000
VOCABULARY = 8192


# --- students and texts ------------------------------------------------------------------------


def real_texts(folder: Path, count: int) -> list[str]:
    """Return real instructions, drawn over all files; made-up ones where the folder is absent."""
    texts = []
    for path in sorted(folder.glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            more = row.get("input") or ""
            texts.append(row["instruction"] + (f"\n\n{more}" if more else ""))
    if not texts:
        print(f"{folder} holds no instructions: texts are made up", file=sys.stderr)
        draw = random.Random(0)
        texts = [
            " ".join(f"word{draw.randrange(900)}" for _ in range(draw.randrange(9, 150)))
            for _ in range(2000)
        ]
    random.Random(0).shuffle(texts)
    return texts[:count]


def build_llama(folder: Path, texts: Sequence[str]) -> None:
    """Write a random Llama of 27 M parameters with a BPE of 8,192 tokens in the paper's format."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from lion.student import checkpoint

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=512,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=8,
            intermediate_size=1376,
            max_position_embeddings=4096,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    checkpoint.save(model, tokenizer, folder)


def build_tiny(folder: Path, rows: int) -> list[str]:
    """Write the embedded student, trained on few steps, to `folder`; return texts to answer."""
    import yaml

    from lion.config.validation import read_settings
    from lion.records.rows import Instruction
    from lion.simulator import task_families, tiny_student
    from lion.student import chat_format, checkpoint
    from lion.training import finetune

    settings = read_settings(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    tasks = task_families.pool(rows, random_seed=0, skew=1.3)
    tiny_student.build(folder / "base", [task.instruction for task in tasks], 0)
    encoder = chat_format.ChatFormatter(
        checkpoint.load_tokenizer(folder / "base", settings.student), "auto"
    )
    examples = [
        (
            Instruction.new(_turn(task.instruction), origin="seed", iteration="0").id,
            _turn(task.instruction),
            task.answer,
        )
        for task in tasks[:4000]
    ]
    finetune.finetune(
        encoder.examples(examples),
        student=folder / "base",
        out=folder / "student",
        settings=settings.student,
        tune=settings.tune_at("0"),
        hardware=settings.hardware,
        random_seed=0,
    )
    return [task.instruction for task in tasks]


def _turn(text: str) -> Any:
    return [{"role": "user", "content": text}]


# --- the contenders: each from a folder and texts to answers -----------------------------------


def _loaded(options: dict[str, Any]) -> tuple[Any, Any, list[list[int]]]:
    from lion.student import chat_format, checkpoint

    settings = _student(options)
    model, tokenizer = checkpoint.load_student(Path(options["student"]), settings)
    encoder = chat_format.ChatFormatter(tokenizer, settings.prompt_format)
    return model, encoder, encoder.prompts([_turn(text) for text in options["texts"]])


def _student(options: dict[str, Any]) -> Any:
    from lion.config.settings import Student

    return Student(
        model="embedded",
        revision=None,
        trust_remote_code=False,
        prompt_format="auto",
        dtype="float32",
        threads=options["threads"],
        endpoint=None,
    )


def authors(options: dict[str, Any]) -> list[list[int]]:
    """Answer one prompt at a time, all scores of its steps kept."""
    import torch

    model, encoder, prompts = _loaded(options)
    answers = []
    for prompt in prompts:
        with torch.inference_mode():
            output = model.generate(
                input_ids=torch.tensor([prompt]),
                attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
                max_new_tokens=options["new_tokens"],
                do_sample=False,
                eos_token_id=encoder.end_of_turn,
                pad_token_id=encoder.end_of_turn,
                return_dict_in_generate=True,
                output_scores=True,
            )
        answers.append(output.sequences[0, len(prompt) :].tolist())
    return answers


def generate(options: dict[str, Any]) -> list[list[int]]:
    """Answer in fixed batches in the order of the rows, padded on the left."""
    import torch

    model, encoder, prompts = _loaded(options)
    answers: list[list[int]] = []
    for start in range(0, len(prompts), options["batch"]):
        batch = prompts[start : start + options["batch"]]
        width = max(map(len, batch))
        pad = encoder.end_of_turn
        ids = torch.tensor([[pad] * (width - len(one)) + one for one in batch])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in batch])
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=options["new_tokens"],
                do_sample=False,
                eos_token_id=pad,
                pad_token_id=pad,
            )
        answers += output[:, width:].tolist()
    return answers


def continuous(options: dict[str, Any]) -> list[list[int]]:
    """Answer with continuous batching (transformers'): paged attention, rows come and go."""
    from transformers import GenerationConfig

    model, encoder, prompts = _loaded(options)
    model.set_attn_implementation("paged|sdpa")
    end = encoder.end_of_turn
    config = GenerationConfig(
        max_new_tokens=options["new_tokens"], do_sample=False, eos_token_id=end, pad_token_id=end
    )
    found = model.generate_batch(inputs=prompts, generation_config=config, progress_bar=False)
    return [found[name].generated_tokens for name in sorted(found, key=_number)]


def _number(name: str) -> int:
    return int("".join(filter(str.isdigit, name)))


def ours(options: dict[str, Any]) -> list[str]:
    """Answer as the stages do."""
    from lion.config.settings import Answering
    from lion.inference import batch_inference, batch_job
    from lion.records.rows import Instruction

    rows = [Instruction.new(_turn(text), origin="seed", iteration="0") for text in options["texts"]]
    settings = Answering(
        form="text",
        temperature=0.0,
        max_tokens=options["new_tokens"],
        batch_size=options["batch"],
        batch_tokens=None,
        engine="transformers",
        processes=options["processes"],
    )
    task = batch_job.AnsweringTask(
        Path(options["student"]), _student(options), settings, 0, "student"
    )
    return [one.text for one in batch_inference.answer(rows, task)]


CONTENDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "authors": authors,
    "generate": generate,
    "continuous": continuous,
    "ours": ours,
}


def take_part(name: str, file: Path) -> None:
    """Run one contender on the options in `file`, and write what it did over them."""
    from lion.student import checkpoint

    checkpoint.load_libraries()
    options = json.loads(file.read_text(encoding="utf-8"))
    started = time.perf_counter()
    answers = CONTENDERS[name](options)
    seconds = time.perf_counter() - started
    if answers and not isinstance(answers[0], str):
        tokenizer = checkpoint.load_tokenizer(Path(options["student"]), _student(options))
        end = tokenizer.eos_token_id
        cut = [one[: one.index(end)] if end in one else one for one in answers]
        answers = [tokenizer.decode(one, skip_special_tokens=True).strip() for one in cut]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"seconds": seconds, "peak": peak, "answers": answers}
    file.write_text(json.dumps(result), encoding="utf-8")


def run(name: str, **options: Any) -> dict[str, Any]:
    """Return what a contender did: `seconds`, `peak` (MB) and `answers`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "options.json"
        file.write_text(json.dumps(options), encoding="utf-8")
        subprocess.run([sys.executable, __file__, "--contender", name, str(file)], check=True)
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


# --- the claims --------------------------------------------------------------------------------


def ceiling(threads: int | None) -> float:
    """Return the machine's FLOP/s in products of 1,024 x 1,024 float32 matrices, best of 30."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(30):
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return 2 * 1024**3 / best


def work(folder: Path, texts: Sequence[str], new_tokens: int, threads: int | None) -> float:
    """Return the floating-point operations that the answers need: matrices and attention.

    Two per weight and token; the output head once per new token; attention 4 x width x tokens seen
    per token and layer. Padding is no work.
    """
    options = {"student": str(folder), "texts": list(texts), "threads": threads}
    model, _, prompts = _loaded(options)
    config = model.config
    head = config.vocab_size * config.hidden_size
    body = sum(one.numel() for one in model.parameters()) - 2 * head
    total = 0.0
    for prompt in prompts:
        tokens = len(prompt) + new_tokens - 1
        attention = 4 * config.hidden_size * config.num_hidden_layers * tokens * (tokens + 1) / 2
        total += 2 * body * tokens + 2 * head * new_tokens + attention
    return total


def rate(arguments: argparse.Namespace, folder: Path) -> None:
    """Let the random Llama answer real instructions."""
    texts = real_texts(arguments.data, max(arguments.instructions, 4000))
    build_llama(folder / "llama", texts)
    texts = texts[: arguments.instructions]
    few = texts[: arguments.few]
    common = {
        "student": str(folder / "llama"),
        "new_tokens": NEW_TOKENS,
        "threads": arguments.threads,
        "texts": texts,
        "processes": 1,
    }
    peers = [(f"generate, {size}", "generate", {"batch": size}) for size in (16, 64, 128)]
    found = {"authors": run("authors", **{**common, "texts": few})}
    found |= {title: run(name, **common, **more) for title, name, more in peers}
    if arguments.continuous:
        found["continuous"] = run("continuous", **common)
    mine = {"batch": arguments.batch, "processes": arguments.processes}
    if arguments.processes > 1:
        mine["threads"] = max(1, (arguments.threads or 2) // arguments.processes)
    found["ours"] = run("ours", **{**common, **mine})
    reference = found["generate, 16"]["answers"]
    rates = {}
    print(f"\n{'':16} {'per second':>10} {'equal':>8} {'peak MB':>8}")
    for title, result in found.items():
        answers = result["answers"]
        rates[title] = len(answers) / result["seconds"]
        equal = sum(map(str.__eq__, answers, reference)) / len(answers)
        print(f"{title:16} {rates[title]:10.2f} {equal:8.1%} {result['peak']:8.0f}")
    most = ceiling(arguments.threads)
    reached = work(folder / "llama", texts, NEW_TOKENS, arguments.threads)
    reached /= found["ours"]["seconds"]
    print(
        f"ours: {reached / 1e9:.1f} GFLOP/s of {most / 1e9:.1f} in matrix products "
        f"({reached / most:.0%})"
    )
    best = max(value for title, value in rates.items() if title.startswith("generate"))
    tell("answering against the authors' way", rates["ours"], rates["authors"], LEAST_OF_AUTHORS)
    tell("answering against the best fixed batch", rates["ours"], best, LEAST_OF_BEST)


def tiny(_: argparse.Namespace, folder: Path) -> None:
    """Let the embedded student answer in the settings of params.yaml."""
    texts = build_tiny(folder, 4000)
    common = {
        "student": str(folder / "student"),
        "new_tokens": TINY_TOKENS,
        "threads": 1,
        "texts": texts,
        "batch": 256,
        "processes": 1,
    }
    theirs, mine = run("generate", **common), run("ours", **common)
    equal = sum(map(str.__eq__, mine["answers"], theirs["answers"])) / len(texts)
    print(f"equal answers {equal:.2%}")
    rates = [len(texts) / one["seconds"] for one in (mine, theirs)]
    tell("the tiny student against generate", *rates, LEAST_OF_GENERATE)


def memory(_: argparse.Namespace, folder: Path) -> None:
    """Compare the peak memory of ten times the rows."""
    texts = build_tiny(folder, 4000)
    draw = random.Random(0)
    peaks = []
    for count in (MANY, FEW):
        rows = [f"{draw.choice(texts)} ({number})" for number in range(count)]
        result = run(
            "ours",
            student=str(folder / "student"),
            new_tokens=TINY_TOKENS,
            threads=1,
            texts=rows,
            batch=256,
            processes=1,
        )
        peaks.append(result["peak"])
        print(f"{count:6,} rows: {result['peak']:.0f} MB")
    tell("peak memory for ten times the rows", *peaks, MOST_GROWTH, unit="MB", at_most=True)


def tell(
    name: str,
    mine: float,
    others: float,
    wanted: float,
    unit: str = "instructions/s",
    at_most: bool = False,
) -> None:
    """Print a claim and whether it holds."""
    ratio = mine / others
    holds = ratio <= wanted if at_most else ratio >= wanted
    print(
        f"{name}: {ratio:.2f} ({'at most' if at_most else 'at least'} {wanted} wanted)"
        f"{'' if holds else ' MISSED'}"
    )
    print(
        json.dumps(
            {
                "name": name,
                "ours": round(mine, 2),
                "others": round(others, 2),
                "ratio": round(ratio, 3),
                "unit": unit,
            }
        )
    )


CLAIMS = {"rate": rate, "tiny": tiny, "memory": memory}


def main() -> None:
    """Measure the claims that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("claims", nargs="*", help="rate, tiny, memory; none: all")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--instructions", type=int, default=256)
    parser.add_argument("--few", type=int, default=24, help="instructions for the authors' way")
    parser.add_argument("--batch", type=int, default=64, help="rows of our batches")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--continuous", action="store_true", help="transformers' own, too")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        take_part(arguments.contender[0], Path(arguments.contender[1]))
        return
    for name in arguments.claims or CLAIMS:
        with tempfile.TemporaryDirectory() as folder:
            CLAIMS[name](arguments, Path(folder))


if __name__ == "__main__":
    main()

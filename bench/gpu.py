"""Measures tuning and answering on the accelerator of this machine, in one call.

    python bench/gpu.py [--size 1b|tiny] [--rows 2048] [--instructions 512] [--out FILE]

Needs no extra; vllm takes part where it is installed.

A random Llama (1b: 1.1 G parameters; tiny: for a look whether the script starts), made-up text, in
bfloat16 where the machine computes in it.

tuning      tokens a second of fine-tuning, and 6 x parameters x tokens a second beside the
            matrix-product ceiling (model FLOPs utilisation)
answering   answered tokens a second of batch inference with the engine that it chooses,
            `generate` in fixed batches, and raw vLLM where it is installed; loading counts for each

Each contender runs in a process of its own. --out writes the table as Markdown, with the hardware's
name and the day. The last line of each claim is one JSON object.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SIZES: dict[str, dict[str, int]] = {
    "1b": {
        "vocab_size": 32_000,
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 8192,
    },
    "tiny": {
        "vocab_size": 1024,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
    },
}
LENGTH, NEW_TOKENS, BATCH, WARM = 512, 128, 32, 3  # tokens, tokens, rows a step, steps
LEAST_UTILISATION, LEAST_OF_VLLM = 0.45, 0.9
Options = dict[str, Any]


def build(folder: Path, size: str) -> int:
    """Write the student; return the parameters that multiply (the output head among them)."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from lion.student import checkpoint

    config = LlamaConfig(
        **SIZES[size], max_position_embeddings=4096, bos_token_id=0, eos_token_id=1
    )
    words = ["<s>", "</s>", "<unk>", *(f"w{n}" for n in range(config.vocab_size - 3))]
    backend = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    checkpoint.save(model.cpu(), tokenizer, folder)
    return sum(one.numel() for one in model.parameters()) - config.vocab_size * config.hidden_size


def texts(size: str, count: int, median: float) -> list[str]:
    """Return made-up texts, of log-normal lengths in tokens."""
    draw = random.Random(0)
    most = SIZES[size]["vocab_size"] - 4
    lengths = [
        min(LENGTH // 2, round(median * draw.lognormvariate(0, 0.6)) + 1) for _ in range(count)
    ]
    return [" ".join(f"w{draw.randrange(most)}" for _ in range(length)) for length in lengths]


def settings() -> Any:
    """Return the student's section: bfloat16 on a GPU."""
    import torch

    threads = torch.get_num_threads()
    import tiny  # which leaves torch one thread

    torch.set_num_threads(threads)
    dtype = "bfloat16" if torch.cuda.is_available() else "float32"
    return tiny.student_settings(dtype=dtype, prompt_format="paper")


def tuning(options: Options) -> dict[str, float]:
    """Tune; return tokens, and seconds after the first steps."""
    import tiny

    from lion.student import checkpoint
    from lion.student.chat_format import ChatFormatter
    from lion.training.finetune import finetune

    folder = Path(options["folder"])
    encoder = ChatFormatter(checkpoint.load_tokenizer(folder, settings()), "paper")
    size, rows = options["size"], options["rows"]
    pairs = zip(texts(size, rows, 60), reversed(texts(size, rows, 120)), strict=True)
    turns = [
        (str(n), [{"role": "user", "content": one}], two) for n, (one, two) in enumerate(pairs)
    ]
    examples = encoder.examples(turns)
    ended: list[float] = []
    finetune(
        examples,
        student=folder,
        out=folder.with_name("tuned"),
        settings=settings(),
        tune=tiny.tune_settings(
            steps=len(examples) // BATCH, batch_size=BATCH, max_length=LENGTH, learning_rate=1e-5
        ),
        hardware=tiny.hardware(),
        random_seed=0,
        progress=lambda *_: ended.append(time.perf_counter()),
    )
    mean = sum(len(one.input_ids) for one in examples) / len(examples)
    return {"tokens": mean * BATCH * (len(ended) - WARM), "seconds": ended[-1] - ended[WARM - 1]}


def ours(options: Options) -> dict[str, float]:
    """Answer as the stages do."""
    import tiny

    from lion.inference import batch_inference, batch_job
    from lion.records.rows import Instruction

    rows = [
        Instruction.new([{"role": "user", "content": text}], origin="seed", iteration="0")
        for text in texts(options["size"], options["instructions"], 60)
    ]
    wanted = tiny.answering_settings(
        temperature=0.0, max_tokens=NEW_TOKENS, batch_size=options["batch"]
    )
    task = batch_job.AnsweringTask(Path(options["folder"]), settings(), wanted, 0, "student")
    found = batch_inference.answer(rows, task)
    return {"tokens": float(sum(len(one.text.split()) for one in found))}


def generate(options: Options) -> dict[str, float]:
    """Answer by `generate` in fixed batches, padded on the left."""
    import torch

    from lion.student import checkpoint

    model, tokenizer = checkpoint.load_student(Path(options["folder"]), settings())
    tokenizer.padding_side, tokenizer.pad_token = "left", "</s>"
    prompts = texts(options["size"], options["instructions"], 60)
    tokens = 0
    for at in range(0, len(prompts), options["batch"]):
        batch = tokenizer(prompts[at : at + options["batch"]], return_tensors="pt", padding=True)
        width = batch["input_ids"].shape[1]
        with torch.inference_mode():
            found = model.generate(
                input_ids=batch["input_ids"].to(model.device),
                attention_mask=batch["attention_mask"].to(model.device),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=1,
            )
        texts_ = tokenizer.batch_decode(found[:, width:], skip_special_tokens=True)
        tokens += sum(len(text.split()) for text in texts_)
    return {"tokens": float(tokens)}


def vllm(options: Options) -> dict[str, float]:
    """Answer by vLLM alone."""
    from vllm import LLM, SamplingParams

    model = LLM(model=options["folder"], dtype="bfloat16", max_model_len=LENGTH + NEW_TOKENS)
    prompts = texts(options["size"], options["instructions"], 60)
    found = model.generate(prompts, SamplingParams(temperature=0.0, max_tokens=NEW_TOKENS))
    return {"tokens": float(sum(len(one.outputs[0].text.split()) for one in found))}


CONTENDERS: dict[str, Callable[[Options], dict[str, float]]] = {
    "tuning": tuning,
    "ours": ours,
    "generate": generate,
    "vllm": vllm,
}


def run(name: str, **options: Any) -> dict[str, float]:
    """Return what a contender's process printed last, and the seconds it took."""
    words = [sys.executable, __file__, "--contender", name, json.dumps(options)]
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": time.perf_counter() - began, **found}


def ceiling() -> float:
    """Return the FLOP/s of a matrix product, best of 20: in bfloat16 on a GPU."""
    import torch

    gpu = torch.cuda.is_available()
    size = 8192 if gpu else 1024
    where = {"device": "cuda", "dtype": torch.bfloat16} if gpu else {}
    left, right = torch.randn(size, size, **where), torch.randn(size, size, **where)  # type: ignore[call-overload]
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        left @ right
        if gpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def hardware() -> str:
    """Return the accelerator's name, or that there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no accelerator: a CPU"


def measure(options: argparse.Namespace, folder: Path) -> list[tuple[str, str, str]]:
    """Run all contenders; print and return the table's rows."""
    parameters = build(folder, options.size)
    common = {"folder": str(folder), "size": options.size}
    table = []
    trained = run("tuning", rows=options.rows, **common)
    rate = trained["tokens"] / trained["seconds"]
    share = 6 * parameters * rate / ceiling()
    table.append(("tuning", f"{rate:,.0f} tokens/s", f"{share:.0%} of the matrix products"))
    tell("tuning on the accelerator", share, 1.0, LEAST_UTILISATION, "of the ceiling")
    contenders = ["ours", "generate", *(["vllm"] if importlib.util.find_spec("vllm") else [])]
    rates = {}
    for name in contenders:
        found = run(name, instructions=options.instructions, batch=options.batch, **common)
        rates[name] = found["tokens"] / found["seconds"]
        table.append((f"answering, {name}", f"{rates[name]:,.0f} tokens/s", "loading included"))
    peer, least = ("vllm", LEAST_OF_VLLM) if "vllm" in rates else ("generate", 1.0)
    tell(f"answering against {peer}", rates["ours"], rates[peer], least, "tokens/s")
    return table


def tell(name: str, mine: float, others: float, least: float, unit: str) -> None:
    """Print whether a claim holds, and its JSON."""
    ratio = mine / others
    print(f"{name}: {'held' if ratio >= least else 'MISSED'} ({least} wanted)")
    figures = {"ours": round(mine, 3), "others": round(others, 3), "ratio": round(ratio, 3)}
    print(json.dumps({"name": name, **figures, "unit": unit}), flush=True)


def main() -> None:
    """Measure, print, and write the table if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--instructions", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--out", type=Path, help="a Markdown file to write the table to")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        name, document = options.contender
        print(json.dumps(CONTENDERS[name](json.loads(document))))
        return
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as name:
        rows = measure(options, Path(name) / "student")
    lines = [f"{hardware()}, {datetime.date.today().isoformat()}", "", "| | | |", "|---|---|---|"]
    text = "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

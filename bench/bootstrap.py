"""Grows a base pool from the seeds with a generator on loopback, and measures its nearest pairs.

    python bench/bootstrap.py [--size 2000] [--limit 0.7]

Needs the extra `test`.

The stage `bootstrap` runs as it does under DVC, in a folder of its own: prompts, ledger, filters.
Its generator composes tasks from lists of phrases and errs as models do (tests/composer.py). Every
pair of the finished pool is then measured anew: the F-measure of rouge-score over the words that
the filter compares; where a pair comes near the limit, by the package rouge-score itself. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from composer import compose  # noqa: E402 - as above
from fake_server import ChatServer, says  # noqa: E402
from rapidfuzz.distance import LCSseq  # noqa: E402

from lion.conversations import transcript  # noqa: E402
from lion.metrics import files  # noqa: E402
from lion.metrics.pools import BootstrapMetrics  # noqa: E402
from lion.words import words  # noqa: E402

_NEAR = 0.02


class _Words:
    """Our tokenizer in the shape that rouge-score asks for."""

    def tokenize(self, text: str) -> list[str]:
        return words(text, "unicode")


def params(url: str, size: int, limit: float, classification: float) -> dict[str, Any]:
    """Return the params of a bootstrap from the shipped seeds."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["bootstrap"] = {
        "0": {
            "seeds": ["seeds/seeds.jsonl"],
            "size": size,
            "classification": classification,
            "per_call": 8,
            "from_seeds": 6,
            "from_made": 2,
            "requests_per_round": 16,
            "generate": {"novelty": limit, "tokens": "unicode"},
        }
    }
    pool = "data/0/bootstrapped.jsonl"
    document["seed"] |= {"source": [pool], "depends_on": pool}
    document["decontaminate"] = {"whole": True, "ngram": 13}
    for role in ("teacher", "referee", "generator"):
        document[role] |= {"base_url": url, "api_key_env": None}
    return document


def grow(folder: Path, document: dict[str, Any]) -> tuple[float, str]:
    """Run the stage in `folder`; return its seconds and its closing sentence."""
    for name in ("prompts", "seeds", "inputs", "scorers"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "stages.bootstrap", "0"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - began, done.stderr.strip().splitlines()[-1]


def nearest(texts: list[str], limit: float) -> tuple[float, int]:
    """Return the largest F of any two texts, and how many pairs rouge-score itself has measured."""
    from rouge_score.rouge_scorer import RougeScorer  # slow to import

    tokens = [words(text, "unicode") for text in texts]
    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    best, measured = 0.0, 0
    for (one, first), (other, second) in combinations(enumerate(tokens), 2):
        if 2 * min(len(first), len(second)) <= (limit - _NEAR) * (len(first) + len(second)):
            continue  # too unlike in length to come near
        found = 2 * LCSseq.similarity(first, second) / (len(first) + len(second))
        if found > limit - _NEAR:
            reference = scorer.score(texts[one], texts[other])["rougeL"].fmeasure
            assert abs(reference - found) < 1e-12, (texts[one], texts[other])
            measured += 1
        best = max(best, found)
    return best, measured


def main() -> None:
    """Grow a pool, run it again for nothing, and measure it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--limit", type=float, default=0.7, help="largest ROUGE-L F that is new")
    parser.add_argument("--classification", type=float, default=0.25, help="their share")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as name, ChatServer.running() as server:
        server.answer = lambda call: says(compose(call.body))
        folder = Path(name)
        document = params(server.url, options.size, options.limit, options.classification)
        seconds, told = grow(folder, document)
        calls, pool = len(server.calls), folder / "data/0/bootstrapped.jsonl"
        content = pool.read_bytes()
        pool.unlink()
        grow(folder, document)  # DVC removes outputs before it runs a stage
        same, paid_again = pool.read_bytes() == content, len(server.calls) - calls
        metrics = files.read_metrics(folder / "metrics/0/bootstrap.json", BootstrapMetrics)
    rows = [json.loads(line) for line in content.split(b"\n") if line]
    texts = [transcript(row["messages"]) for row in rows]
    best, measured = nearest(texts, options.limit)
    print(told)
    print(f"{calls} calls in {seconds:.1f} s; again: {paid_again} calls, same bytes: {same}")
    for kind, funnel in metrics.funnels.items():
        print(f"{kind}: {funnel}")
    share = metrics.classification_rows / len(rows)
    print(f"classification tasks: {share:.1%}, {options.classification:.1%} asked")
    print(f"nearest pair: {best:.4f} (limit {options.limit}); {measured} pairs by rouge-score")
    held = len(rows) == options.size and best <= options.limit and same and not paid_again
    print(f"bootstrap: {'held' if held else 'MISSED'}")
    figures = {"ours": len(rows), "others": options.size, "ratio": len(rows) / options.size}
    print(json.dumps({"name": "bootstrap", **figures, "unit": "instructions"}))


if __name__ == "__main__":
    main()

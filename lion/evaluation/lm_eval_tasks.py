"""Export of BBH and AGIEval as task files of lm-eval (EleutherAI), with our prompts and rules.

With them any model can be evaluated by a well-known harness on local data, and our accuracies can
be checked against its own. lm-eval is an optional extra; this module does not import it.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import yaml

from lion.evaluation import multiple_choice
from lion.readers.official_exams import Item
from lion.student.chat_format import paper_prompt

_NO_OPTION = "[no option]"
"""Target of an item without a right option: no extracted letter equals it."""


def write_tasks(items: Sequence[Item], out: Path, *, max_tokens: int, chat: bool) -> int:
    """Write each task's rows and two task files (generated, likelihood), and a group for each exam.

    `chat`: write the bare question, for a chat template, instead of the paper's prompt format.
    Returns the number of task files.
    """
    out.mkdir(parents=True, exist_ok=True)
    letters_of = multiple_choice.letters(items)
    groups: dict[str, list[str]] = {}
    for (exam, task), task_items in groupby(items, key=lambda item: (item.exam, item.task)):
        data = (out / f"{exam}_{task}.jsonl").absolute()
        data.write_bytes(b"".join(orjson.dumps(_row(item, chat)) + b"\n" for item in task_items))
        generated = _generated(letters_of[exam, task], max_tokens)
        for kind, settings in (("", generated), ("_likelihood", _LIKELIHOOD)):
            name = f"lion_{exam}_{task}{kind}"
            _write(out / f"{name}.yaml", {"task": name, **_common(data), **settings})
            groups.setdefault(f"lion_{exam}{kind}", []).append(name)
    for group, tasks in groups.items():
        _write(out / f"{group}.yaml", _group(group, tasks))
    return sum(map(len, groups.values()))


def _group(name: str, tasks: list[str]) -> dict[str, Any]:
    by_likelihood = name.endswith("_likelihood")
    metric = {
        "metric": "acc" if by_likelihood else "exact_match",
        "weight_by_size": False,
        "filter_list": ["none" if by_likelihood else "first_letter"],
    }
    return {"group": name, "task": tasks, "aggregate_metric_list": [metric]}


def _row(item: Item, chat: bool) -> dict[str, Any]:
    messages = item.instruction().messages
    return {
        "prompt": messages[0]["content"] if chat else paper_prompt(messages),
        "letters": list(item.letters),
        "answer": item.answer or _NO_OPTION,
    }


def _common(data: Path) -> dict[str, Any]:
    return {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "target_delimiter": "",
        "num_fewshot": 0,
        "metadata": {"version": 1},
    }


def _generated(letters: str, max_tokens: int) -> dict[str, Any]:
    pattern = {"function": "regex", "regex_pattern": f"([{letters}])", "group_select": 0}
    return {
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_tokens},
        "filter_list": [
            {"name": "first_letter", "filter": [pattern, {"function": "take_first"}]},
        ],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }


_LIKELIHOOD: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_choice": "{{letters}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

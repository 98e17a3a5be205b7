"""Figures of the README are those of the results in bench/, as bench/readme.py words them."""

import importlib.util
import sys
from types import ModuleType

import pytest
from fixtures import ROOT


@pytest.fixture(scope="module")
def readme() -> ModuleType:
    sys.path.insert(0, str(ROOT / "bench"))
    spec = importlib.util.spec_from_file_location("readme_bench", ROOT / "bench" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_quotes_the_stored_results(readme: ModuleType) -> None:
    text = readme.words((ROOT / "README.md").read_text(encoding="utf-8"))
    quotations = list(map(readme.words, readme.quotations()))
    assert len(quotations) == 9
    assert [quoted for quoted in quotations if quoted not in text] == []
    assert [quoted for quoted in quotations if "not run" in quoted] == []


def test_a_figure_of_too_few_seeds_is_not_quoted(readme: ModuleType) -> None:
    proof = readme.results.ResultFile(readme.BENCH / "proof.jsonl").results()
    short = {key: dict(list(seeds.items())[1:]) for key, seeds in proof.items()}
    assert readme.toy_row(short, "no kind rare", 0.0).endswith("| - | not run | not run |")


def test_a_certificates_coverage_is_that_of_the_pages_table(readme: ModuleType) -> None:
    page = """
| | promise | splits | answers itself | agrees |
|---|---|---|---|---|
| `narrow`, seed 1 | 90 % | 5 of 5 | 99.3 to 100 % | 92.5 % |
| | 95 % | 5 of 5 | 80.8 to 89.8 % | 95.6 % |
| the same, seed 2 | 95 % | 5 of 5 | 41.3 to 47.0 % | 95.2 % |
| `default` | 95 % | 5 of 5 | 1.0 to 99.9 % | 95.2 % |
"""
    told = "certificate (two runs): 41 to 90 % of requests, at 95 % agreement"
    assert readme.certified(page) == told

"""Each script of bench/ says which extra it needs beyond `pip install -e .`."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from pipeline import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS = sorted((ROOT / "bench").glob("*.py"))
# what comes with a dependency of Lion's own and is used beside it
INDIRECT = {"numpy", "ruamel.yaml", "packaging"}


installed = cache(packages_distributions)


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~ ]", line, maxsplit=1)[0].lower() for line in requirements}


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that a file imports when it is started: not those inside functions."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def outside(path: Path, seen: set[Path]) -> set[str]:
    """Return the packages that a script and the helpers in bench/ and tests/ need."""
    seen.add(path)
    needed = set()
    for module in imported(ast.parse(path.read_text(encoding="utf-8"))):
        local = [ROOT / top / f"{module.replace('.', '/')}.py" for top in ("bench", "tests")]
        for file in filter(Path.is_file, local):
            needed |= set() if file in seen else outside(file, seen)
        top = module.split(".")[0]
        needed |= {name.lower().replace("_", "-") for name in installed().get(top, [])}
    return needed


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_a_script_names_the_extra_that_it_needs(script: Path) -> None:
    lacking = outside(script, set()) - names(PROJECT["dependencies"]) - INDIRECT - {"lion-distill"}
    said = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    extras = re.findall(r"the extra `([\w-]+)`", said)
    given = {name for extra in extras for name in names(PROJECT["optional-dependencies"][extra])}
    assert lacking <= given, f"{script.name}: say `Needs the extra ...` in its first lines"


def test_a_script_that_does_not_say_so_would_be_seen() -> None:
    assert "psutil" in outside(ROOT / "bench" / "faults.py", set())

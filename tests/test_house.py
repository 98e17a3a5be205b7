"""The house rules as a ratchet: figures of lion/ and stages/, each with a limit that may only fall.

A figure above its limit is a step back; a figure below it asks for a lower limit in `LIMITS`.
"""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GENERIC = {"one", "found", "told", "made", "known", "asked", "at"}
# metaphors and inversions: the field has a word for each (a budget, a filter, a message, an exam)
BANNED = re.compile(
    r"\b(purses?|nurser(y|ies)|seedbeds?|the well|wells|sits?|sat|sitting|told|nobody|anew|heeded"
    r"|askers?|waits not|not to be had|stands? in the way|come far)\b",
    re.IGNORECASE,
)
Places = list[str]


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax tree of each module, by its path."""
    paths = [path for top in ("lion", "stages") for path in sorted((ROOT / top).rglob("*.py"))]
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in paths
    }


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def public_names_in_several_modules() -> Places:
    definitions = defaultdict(list)
    for path, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                definitions[node.name].append(path)
    return [
        f"{name}: {', '.join(paths)}"
        for name, paths in definitions.items()
        if len(paths) > 1 and not name.startswith("_") and name != "main"  # each stage has a main
    ]


@cache
def modules() -> dict[str, str]:
    """Return the path of each module by its dotted name; a package is its __init__."""
    names = {path: path.removesuffix(".py").removesuffix("/__init__") for path in trees()}
    return {name.replace("/", "."): path for path, name in names.items()}


def imported(node: ast.AST) -> set[str]:
    """Return the paths of the project's modules that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        module = node.module
        inner = [f"{module}.{alias.name}" for alias in node.names]
        names = [name if name in modules() else module for name in inner]
    else:
        names = []
    return {modules()[name] for name in names if name in modules()}


def own_imports_inside_functions() -> Places:
    places = {
        f"{path}:{node.lineno}": None
        for path, tree in trees().items()
        for function in functions(tree)
        for node in ast.walk(function)
        if imported(node)
    }
    return list(places)


def modules_in_circles() -> Places:
    graph = {
        path: {name for node in ast.walk(tree) for name in imported(node)} - {path}
        for path, tree in trees().items()
    }

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    return [path for path in graph if path in reached(path)]


def bindings() -> list[tuple[str, str]]:
    """Return (name, place) of each variable and argument that is bound."""
    return [
        (node.id if isinstance(node, ast.Name) else node.arg, f"{path}:{node.lineno}")
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    ]


def generic_names() -> Places:
    return [f"{place} {name}" for name, place in bindings() if name in GENERIC]


def prose(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each docstring and comment."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text
    source = (ROOT / path).read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def banned_words() -> Places:
    return [
        f"{path}:{line} {match[0]}"
        for path, tree in trees().items()
        for line, text in prose(path, tree)
        for match in BANNED.finditer(text)
    ]


def share_of_generic_names() -> float:
    return round(100 * len(generic_names()) / len(bindings()), 2)


# each figure: how it is counted, its limit, and what to do about a place
LIMITS: dict[str, tuple[Callable[[], Places], int, str]] = {
    "public names in several modules": (
        public_names_in_several_modules,
        0,
        "Rename one of them by what it does that the other does not.",
    ),
    "own imports inside functions": (
        own_imports_inside_functions,
        10,
        "Import at the top; a slow library belongs behind a module that is imported when called.",
    ),
    "modules in import circles": (
        modules_in_circles,
        0,
        "Move what both need into a module below them.",
    ),
    "banned words in docstrings and comments": (
        banned_words,
        0,
        "Use the field's word, and a plain sentence: subject, verb, object.",
    ),
}
GENERIC_SHARE = 0.1  # per cent of all bindings


@pytest.mark.parametrize("figure", LIMITS)
def test_a_figure_of_the_house_only_falls(figure: str) -> None:
    count, limit, advice = LIMITS[figure]
    places = count()
    listed = "\n  ".join(places)
    assert len(places) <= limit, f"{figure}: {len(places)}, at most {limit}. {advice}\n  {listed}"
    assert len(places) == limit, f"{figure}: {len(places)}. Lower its limit in LIMITS to that."


def test_the_share_of_generic_names_only_falls() -> None:
    share = share_of_generic_names()
    listed = "\n  ".join(generic_names())
    assert share <= GENERIC_SHARE, (
        f"{share} % of the variables and arguments are called one, found, told, made, known, asked "
        f"or at; at most {GENERIC_SHARE} %. Call each by what it holds.\n  {listed}"
    )
    assert share > GENERIC_SHARE - 0.1, f"{share} %. Lower GENERIC_SHARE: it may only fall."


_CLOSE_PERCENT = re.compile(r"\d%")
_PERCENT_FORMAT = re.compile(r"\{[^{}]*:[^{}]*%\}")  # Python's own writes no space


def test_per_cent_has_a_space() -> None:
    """`42.5 %`, in all that a person reads. The page's plots: see test_page."""
    texts = [
        ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "params.yaml")
    ]
    texts += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "profiles").rglob("*.yaml")]
    close = {
        f"{path.name}: {line.strip()}"
        for path in texts
        for line in path.read_text(encoding="utf-8").splitlines()
        if _CLOSE_PERCENT.search(line)
    }
    formats = {
        f"{path.name}: {line.strip()}"
        for folder in ("lion", "stages")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if _PERCENT_FORMAT.search(line)
    }
    assert close | formats == set()

"""Applies the rename map of moves.txt: modules get new places, their importers follow.

    python tools/move.py PREFIX ...     # the lines whose new path begins so, such as lion/llm/

Each line of the map is `old/path.py new/path.py`. Files are moved by git. Imports, uses of an
imported module's name, and paths and dotted names in texts (dvc.yaml, docs, tests, programs held as
strings) follow; no logic changes. Where a file binds the new name itself, the module is imported
under its old name, and the file is told.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path.cwd()
TEXTS = (".py", ".yaml", ".md", ".toml", ".sh", ".json", ".in", ".txt", "")


def dotted(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def modules() -> set[str]:
    paths = [*(ROOT / "lion").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]
    return {dotted(str(path.relative_to(ROOT))) for path in paths}


def bound_names(tree: ast.AST, imports: bool = True) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif imports and isinstance(node, ast.ImportFrom | ast.Import):
            names |= {(a.asname or a.name).split(".")[0] for a in node.names}
    return names


def with_imports(text: str, moved: dict[str, str], known: set[str], name: str):
    """Return the text with its imports moved, and which module names became which."""
    tree = ast.parse(text)
    bound = bound_names(tree)
    lines = text.splitlines(keepends=True)
    renamed: dict[str, str] = {}
    edits = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
            continue
        by_module: dict[str, list[str]] = {}
        changed = False
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            spelt = alias.name + (f" as {alias.asname}" if alias.asname else "")
            if full in known and full in moved:
                package, _, last = moved[full].rpartition(".")
                new = last
                if alias.asname:
                    new = last if alias.asname == last else f"{last} as {alias.asname}"
                elif last != alias.name:
                    if last in bound - {alias.name}:
                        print(f"{name}: {alias.name} -> {last} is bound there; alias")
                        new = f"{last} as {alias.name}"
                    else:
                        renamed[alias.name] = last
                by_module.setdefault(package, []).append(new)
                changed = True
            elif node.module in moved:
                by_module.setdefault(moved[node.module], []).append(spelt)
                changed = True
            else:
                by_module.setdefault(node.module, []).append(spelt)
        if changed:
            indent = " " * node.col_offset
            new = "".join(f"{indent}from {m} import {', '.join(n)}\n" for m, n in by_module.items())
            tail = lines[node.end_lineno - 1][node.end_col_offset :].strip()
            if tail.startswith("#"):
                new = new.rstrip("\n") + "  " + tail + "\n"
            edits.append((node.lineno - 1, node.end_lineno, new))
    for first, last, new in sorted(edits, reverse=True):
        lines[first:last] = [new]
    return "".join(lines), renamed


def with_uses(text: str, renamed: dict[str, str], name: str) -> str:
    """Return the text with the names of modules replaced where they are used."""
    if not renamed:
        return text
    also_bound = bound_names(ast.parse(text), imports=False) & set(renamed)
    if also_bound:
        print(f"{name}: {also_bound} are names of other things, too")
    lines = text.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    edits = []
    for place, token in enumerate(tokens):
        if token.type == tokenize.NAME and token.string in renamed:
            before = tokens[place - 1].string if place else ""
            after = tokens[place + 1].string
            line = token.line.lstrip()
            if token.string in also_bound and after != ".":
                continue
            if before in (".", "import", "as") or (after == "=" and line.startswith(token.string)):
                continue
            if line.startswith(("from ", "import ")) or before in ("def", "class"):
                continue
            edits.append((token.start, token.end, renamed[token.string]))
        elif token.type == tokenize.STRING and re.match(r"(?i)r?fr?[\"']", token.string):
            new = token.string
            for old, name in renamed.items():
                new = re.sub(
                    r"\{[^{}]*\}",
                    lambda m, old=old, name=name: re.sub(rf"(?<![\w.\"'\[]){old}(?=\.\w)", name, m[0]),
                    new,
                )
            if new != token.string:
                edits.append((token.start, token.end, new))
    for (row, column), (end_row, end_column), new in sorted(edits, reverse=True):
        if row == end_row:
            line = lines[row - 1]
            lines[row - 1] = line[:column] + new + line[end_column:]
        else:
            head, tail = lines[row - 1][:column], lines[end_row - 1][end_column:]
            lines[row - 1 : end_row] = [head + new + tail]
    return "".join(lines)


def main() -> None:
    here = Path(__file__).with_name("moves.txt")
    pairs = [line.split() for line in here.read_text().splitlines() if line]
    wanted = tuple(sys.argv[1:])
    pairs = [(old, new) for old, new in pairs if new.startswith(wanted) and (ROOT / old).exists()]
    known = modules()
    moved = {
        dotted(old): dotted(new) for old, new in pairs if not old.endswith("__init__.py")
    }
    out = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, out.stdout.split("\n")):
        path = ROOT / name
        if path.suffix not in TEXTS or not path.is_file() or name == "CHANGELOG.md":
            continue
        if name.startswith(("tools/", "LICENSE", "tests/formats", ".dvc/plots")):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        after = text
        if path.suffix == ".py":
            after, renamed = with_imports(text, moved, known, name)
            after = with_uses(after, renamed, name)
        for old, new in sorted(pairs, key=lambda pair: -len(pair[0])):
            after = re.sub(rf"(?<![\w/.-]){re.escape(old)}(?!\w)", new, after)
        for old, new in sorted(moved.items(), key=lambda pair: -len(pair[0])):
            if "." in old and old != "lion.cli" and old.count(".") >= 1:
                rest = re.escape(new.removeprefix(old)) if new.startswith(f"{old}.") else ""
                guard = rf"(?!\w|{rest}\b)" if rest else r"(?!\w)"
                after = re.sub(rf"(?<![\w.]){re.escape(old)}{guard}", new, after)
        if after != text:
            path.write_text(after, encoding="utf-8")
    for old, new in pairs:
        (ROOT / new).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "mv", "-k", old, new], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()

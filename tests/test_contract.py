"""dvc.yaml, params.yaml and the code say the same."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from lion import stage_table
from lion.stage_table import STAGES

ROOT = Path(__file__).parents[1]

RUNTIME = {
    # folders and modules that decide no output, each with its reason; the closure ends at them
    "lion/__init__.py": "the version",
    "lion/cli": "commands",
    "lion/config": "what settings read are params, which stages declare; paths stand in dvc.yaml",
    "lion/console.py": "what a person sees",
    "lion/errors.py": "messages only",
    "lion/escape.py": "what a person sees",
    "lion/failure_limit.py": "stops a phase, or does not; changes no row",
    "lion/llm": "sends what prompting builds, and keeps replies: retries and pace decide nothing",
    "lion/locks.py": "what a person sees of a lock that is waited for",
    "lion/metrics": "names and types: a file with other ones is refused where it is read",
    "lion/pipeline": "the frame of a stage, checks, the plan",
    "lion/records": "rows carry `format`, which changes where the bytes mean something else",
    "lion/reporting": "what a person sees",
    "lion/serving": "what becomes of a student afterwards",
    "lion/stage_table.py": "the table of stages, which dvc.yaml itself is",
    "lion/loop.py": "chains the phases, for experiments",
}
STAGE_FILES = {name: f"{stage.module.replace('.', '/')}.py" for name, stage in STAGES.items()}
UNDECLARED = {"hardware": "decides no output but its last bits", "api": "decides no output"}
SECTIONS_OF = {
    "tune_at": {"tune"},
    "generate_at": {"generate"},
    "no_reader_at": {"generate", "tune"},
    "bootstrap_filters": {"generate"},
    "exam_referee": {"referee"},
}
ORDER = tuple(stage.name for stage in stage_table.of_loop() if not stage.optional)


OVERRIDES = {
    "respond": {"iterations"},
    "review": {"iterations"},
    "split": {"iterations"},
    "generate": {"iterations"},
    "tune": {"iterations"},
    "grow": {"iterations", "baselines"},
    "baseline-tune": {"iterations", "baselines"},
}
LIKE = "${item.like}"


def document(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def stages() -> dict[str, dict[str, Any]]:
    """Return dvc.yaml's stages; of a foreach its body."""
    return {name: body.get("do", body) for name, body in document("dvc.yaml")["stages"].items()}


def kind(stage: str) -> str:
    return stage.removeprefix("base-")


@cache
def imports(path: Path) -> frozenset[str]:
    """Return the project's files that `path` imports, those inside functions too, types apart."""
    return frozenset(_files(_nodes(ast.parse(path.read_text(encoding="utf-8")))))


def _files(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            for candidate in (
                f"{name.replace('.', '/')}.py",
                f"{name.replace('.', '/')}/__init__.py",
            ):
                if (ROOT / candidate).is_file():
                    yield candidate


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _nodes(node)


def is_runtime(name: str) -> bool:
    """Say whether a file decides no output."""
    return any(f"{name}/".startswith(f"{place}/") for place in RUNTIME)


def closure(path: str) -> set[str]:
    """Return the project's files that decide what the stage at `path` writes."""
    found, left = {path}, [path]
    while left:
        for name in imports(ROOT / left.pop()):
            if name not in found and not is_runtime(name) and name != "stages/__init__.py":
                found.add(name)
                left.append(name)
    return {name for name in found if not name.endswith("__init__.py")}


def test_the_runtime_folders_exist() -> None:
    assert [name for name in RUNTIME if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("stage", stages())
def test_declared_folders_hold_what_a_stage_imports(stage: str) -> None:
    """What a stage imports lies in the folders that it declares, or decides no output."""
    declared = [dep for dep in stages()[stage]["deps"] if dep.startswith(("lion", "stages"))]
    needed = closure(STAGE_FILES[kind(stage)])
    within = {
        dep: {name for name in needed if f"{name}/".startswith(f"{dep}/")} for dep in declared
    }
    assert needed == set().union(*within.values()), "imports that dvc.yaml does not declare"
    unused = [dep for dep, files in within.items() if not files and not is_runtime(dep)]
    assert unused == [], "declared, but not imported"


def test_a_states_key_follows_the_code_that_decides_the_weights() -> None:
    """All that `tuning.finetune` reaches, but what made the examples: those are in the key."""
    from lion.training import states

    apart = {"chat_format.py", "chat_template.py", "fingerprint.py", "paper_format.py"}
    reached = closure("lion/training/finetune.py") - {f"lion/student/{name}" for name in apart}
    assert {f"lion/{name}" for name in states._CODE} == reached - {"lion/training/states.py"}


def sections(path: Path) -> set[str]:
    """Return the sections of params that a file reaches through the whole of `Settings`.

    Empty for a file that knows no `Settings`: what it calls so is a section.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    whole = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "lion.config.settings"
        and any(alias.name == "Settings" and alias.asname is None for alias in node.names)
        for node in ast.walk(tree)
    )
    if not whole and path.parts[-2] != "stages" and "stages" not in path.parts:
        return set()
    return {
        section
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value).rpartition(".")[2] == "settings"
        for section in SECTIONS_OF.get(node.attr, {node.attr})
    } & set(document("params.yaml"))


@pytest.mark.parametrize("stage", stages())
def test_declared_params_are_those_that_the_stage_reads(stage: str) -> None:
    """`settings.X` in a stage, or in the phase function that it calls, is declared."""
    files = closure(STAGE_FILES[kind(stage)])
    read = {name for file in files for name in sections(ROOT / file)} - set(UNDECLARED)
    # the folder that seed reads its files from
    read |= {"inputs"} if stage in ("seed", "bootstrap") else set()
    asks = STAGES[kind(stage)].asks
    read |= {"random_seed"} if asks else set()
    declared = {param.split(".")[0] for param in stages()[stage]["params"]} - {"base"}
    overrides = OVERRIDES.get(stage, set())
    assert declared - overrides == read


def filled_params() -> Any:
    """Return params.yaml with the optional bootstrap and a baseline."""
    entry, baseline = {"size": 1, "generate": {}}, {"like": "1"}
    params = document("params.yaml")
    return {**params, "bootstrap": {"1": entry}, "baselines": {"1": baseline}}


def named(param: str) -> str:
    """Return a declared param of the entry `1`."""
    return param.replace("${key}", "1").replace(LIKE, "1")


@pytest.mark.parametrize("stage", stages())
def test_sizes_are_declared_by_themselves(stage: str) -> None:
    """DVC 3.67 leaves keys named `size` and `nfiles` out of the run-cache's key, at any depth.

    Of a section declared as a whole, `dvc repro` would bring back the outputs of another size.
    """

    def sizes(value: Any, name: str) -> Iterator[str]:
        for key, part in value.items() if isinstance(value, dict) else ():
            if key in ("size", "nfiles"):
                yield f"{name}.{key}"
            yield from sizes(part, f"{name}.{key}")

    declared = {named(name) for name in stages()[stage]["params"]}
    params = filled_params()
    for name in declared:
        value = params
        for part in name.split("."):
            value = value[part]
        assert set(sizes(value, name)) <= declared


def test_every_declared_param_exists() -> None:
    params = filled_params()
    for body in stages().values():
        for name in body["params"]:
            value: Any = params
            for part in named(name).split("."):
                value = value[part]


def test_every_iteration_has_its_stages() -> None:
    """DVC makes seven stages of each line in `iterations`: none is silently left out."""
    from dvc.repo import Repo

    params = document("params.yaml")
    with Repo(ROOT) as repo:
        names = {stage.addressing for stage in repo.index.stages}
    expected = {f"{stage}@{key}" for stage in ORDER for key in params["iterations"]}
    base = {"seed", "base-teach", "base-tune", "base-evaluate", "report"}
    assert names == expected | base


@pytest.mark.parametrize("stage", stages())
def test_the_table_of_stages_is_dvc_yaml(stage: str) -> None:
    """Plan, summary, page and trace read the table; DVC reads its own file."""
    body, entry = stages()[stage], STAGES[kind(stage)]
    key = body["cmd"].split()[-1]
    previous = "${item.previous}" if "${" in key else None
    shown = ("data/", "metrics/")
    reads = {path for path in body["deps"] if path.startswith(shown)}
    writes = {*body.get("outs", []), *body.get("metrics", [])}
    assert reads == set(entry.inputs(key, previous, LIKE))
    assert {path for path in writes if path.startswith(shown)} == set(entry.outputs(key))


def test_commands_name_the_stage_files() -> None:
    for stage, body in stages().items():
        module = STAGE_FILES[kind(stage)].removesuffix(".py").replace("/", ".")
        assert body["cmd"].startswith(f"exec python -m {module} "), stage


def test_only_figures_lie_where_the_report_looks() -> None:
    """The report depends on metrics/ as a folder, so no pool and no checkpoint may lie there."""
    for stage, body in stages().items():
        inside = [path for path in body.get("outs", []) if path.startswith("metrics/")]
        assert all(path.endswith((".json", ".csv")) for path in inside), stage


def test_dvc_metrics_shows_few_figures() -> None:
    """`dvc metrics show` is a table of one screen: the exam's headline and the split."""
    shown = {path.split("/")[-1] for body in stages().values() for path in body.get("metrics", [])}
    assert shown == {"exam.json", "split.json", "reasoning.json", "certified.json"}


@pytest.mark.parametrize(
    "profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem
)
def test_profiles_have_the_keys_of_params(profile: Path) -> None:
    """A profile is a complete file: switching never leaves a parameter behind."""
    from lion.config.project import load_settings

    def keys(value: Any, prefix: str = "") -> set[str]:
        if (
            not isinstance(value, dict)
            or prefix in ("iterations", "base.tune", "exam.scorer", "evaluate.referee")
            or "request" in prefix
        ):
            return {prefix}
        return {
            key for name, part in value.items() for key in keys(part, f"{prefix}.{name}".strip("."))
        }

    assert keys(yaml.safe_load(profile.read_text())) == keys(document("params.yaml"))
    load_settings(profile)


def test_the_default_profile_is_params_as_committed() -> None:
    assert (ROOT / "profiles/default.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


LAYERS = (
    # each package imports those before it, never one after it, also inside functions
    "lion/errors.py",
    "lion/escape.py",
    "lion/console.py",
    "lion/records",
    "lion/config",
    "lion/metrics",
    "lion/stage_table.py",
    "lion/iterations.py",
    "lion",
    "lion/student",
    "lion/prompting",
    "lion/readers",
    "lion/simulator",
    "lion/llm",
    "lion/inference",
    "lion/training",
    "lion/generation",
    "lion/discrimination",
    "lion/evaluation",
    "lion/certify",
    "lion/loop.py",
    "lion/pipeline",
    "lion/reporting",
    "lion/serving",
    "lion/cli",
    "stages",
)


def layer(path: str) -> int:
    """Return the place of a file's package in `LAYERS`."""
    return max(n for n, name in enumerate(LAYERS) if f"{path}/".startswith(f"{name}/"))


INSIDE_FUNCTIONS = {
    # (importer, imported): why it does not stand at the top. What else keeps a quick command quick
    # is the table of `lion.cli`, whose limits are in test_startup
    ("lion/llm/client.py", "lion/llm/sender.py"): "openai, until the first reply is missing",
    (
        "lion/generation/seed_pool.py",
        "lion/simulator/tiny_student.py",
    ): "torch, for the embedded base student alone",
    ("lion/cli/student.py", "lion/serving/chat.py"): "torch, not to say that none is tuned",
    ("lion/cli/delta.py", "lion/serving/delta.py"): "torch, not needed to refuse arguments",
    (
        "lion/evaluation/multiple_choice.py",
        "lion/evaluation/likelihood.py",
    ): "torch, in a quick command",
    (
        "lion/inference/batch_job.py",
        "lion/inference/hf_backend.py",
    ): "torch, not needed by vLLM",
    (
        "lion/training/finetune_job.py",
        "lion/training/finetune.py",
    ): "torch, after `load_libraries`",
    (
        "lion/config/project.py",
        "lion/config/validation.py",
    ): "pydantic, not needed by `lion show` and `lion diff`",
    (
        "lion/pipeline/stage.py",
        "lion/pipeline/checks/offline.py",
    ): "polars, which stages that ask nobody do not need",
}


def sources() -> Iterator[Path]:
    """Yield every module of the product."""
    for folder in ("lion", "stages"):
        yield from (ROOT / folder).rglob("*.py")


def inside_functions(path: Path) -> list[tuple[str, str]]:
    """Return (importer, imported) of each import of the project's own inside a function."""
    name = str(path.relative_to(ROOT))
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    statements = {
        node: None
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return [(name, found) for found in _files(statements) if not found.endswith("__init__.py")]


def test_imports_inside_functions_are_those_with_a_reason() -> None:
    found = [pair for path in sources() for pair in inside_functions(path)]
    assert set(found) == INSIDE_FUNCTIONS.keys()


@pytest.mark.parametrize("folder", ["lion", "stages"])
def test_imports_point_one_way(folder: str) -> None:
    """Those inside functions, too."""
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / folder).rglob("*.py")
        for name in imports(path)
        if not name.endswith("__init__.py")
    }
    assert {(above, name) for above, name in found if layer(name) > layer(above)} == set()

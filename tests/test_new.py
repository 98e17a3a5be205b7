"""A project is a project: one for another task has nothing of this one's data, money or figures."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from fixtures import Workplace
from pipeline import Project

from lion.cli import main
from lion.config import project as paths
from lion.metrics import files
from lion.metrics.pools import TeachMetrics
from lion.metrics.units import RoleUsage

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # pygtrie, in DVC


def lion(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def demonstrated(tiny_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a clone with traces of runs, data and a remote, as the working folder."""
    clone = tiny_project.clone(tmp_path / "lion")
    monkeypatch.chdir(clone.root)
    for name, value in clone.environment().items():
        monkeypatch.setenv(name, value)
    traces = ("dvc.lock", "inputs/mine.jsonl", "data/0/train_pool.jsonl", ".lion/ledger.sqlite")
    for name in (*traces, "metrics/0/seed.json", ".dvc/cache/files/md5/00/1"):
        (clone.root / name).parent.mkdir(parents=True, exist_ok=True)
        (clone.root / name).write_text("{}\n")
    with (clone.root / ".dvc/config").open("a") as file:
        file.write("['remote \"team\"']\n    url = /nowhere\n")
    clone.commit()
    return clone


def test_a_new_project_has_the_code_and_nothing_of_the_runs(
    demonstrated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = demonstrated.root.parent / "my tickets"
    target.mkdir()  # an empty folder will do
    assert lion("new", "../my tickets", "--profile", "ci").exit_code == 0
    made = Project(target)
    assert (target / "params.yaml").read_bytes() == Path("profiles/ci.yaml").read_bytes()
    assert made.git("status", "--porcelain") == ""
    assert made.git("log", "--format=%s").splitlines() == [
        "The profile ci",
        "Lion, the code of a pipeline",
    ]
    assert "team" not in (target / ".dvc/config").read_text()
    assert "analytics = false" in (target / ".dvc/config").read_text()
    for name in ("dvc.lock", "data", "metrics", ".lion", ".dvc/cache", "inputs/mine.jsonl"):
        assert not (target / name).exists(), name
    assert (target / "inputs/README.md").exists()
    monkeypatch.chdir(target)
    assert lion("check", "--offline").exit_code == 0
    assert "teach@0" in lion("plan").stdout
    assert "No student has taken the exam yet." in lion("table").stdout


REFUSED = {
    "../full": "is not empty",
    "../file": "is not empty",
    "tickets": "lies in this project",
    ".": "lies in this project",
    "../new --profile nobody": "there is no profile nobody; there are ci, default,",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(
    line: str, demonstrated: Project
) -> None:
    beside = demonstrated.root.parent
    (beside / "full").mkdir()
    (beside / "full/mine").write_text("x")
    (beside / "file").write_text("x")
    before = sorted(path.name for path in beside.iterdir())
    result = lion("new", *line.split())
    assert result.exit_code in (1, 2)
    assert REFUSED[line] in " ".join(result.stderr.split())
    assert sorted(path.name for path in beside.iterdir()) == before


def test_a_later_version_is_merged(demonstrated: Project) -> None:
    """By the commands of docs/how-to/later-version.md; what the project changed itself stays."""
    target = demonstrated.root.parent / "tickets"
    assert lion("new", "../tickets", "--profile", "ci").exit_code == 0
    made = Project(target)
    made.edit({"random_seed": 7})
    made.commit()
    (demonstrated.root / "lion/words.py").write_text('"""A later version."""\n')
    (demonstrated.root / "launchers/README.md").unlink(missing_ok=True)
    demonstrated.commit()
    made.git("worktree", "add", "../lion-code", "lion")
    code = Project(demonstrated.root.parent / "lion-code")
    code.git("rm", "-r", "--quiet", ".")
    code.git("fetch", "--quiet", str(demonstrated.root), "HEAD")
    code.git("checkout", "FETCH_HEAD", "--", ".")
    own = ("params.yaml", "dvc.lock", "inputs")
    code.git("rm", "-r", "--quiet", "--force", "--ignore-unmatch", *own)
    code.git("checkout", "HEAD", "--", ".dvc/config", "inputs")
    code.git("commit", "--quiet", "--message", "A later version")
    made.git("merge", "--quiet", "lion")
    assert not (target / "inputs/mine.jsonl").exists()
    assert "team" not in (target / ".dvc/config").read_text()
    assert (target / "lion/words.py").read_text() == '"""A later version."""\n'
    assert yaml.safe_load((target / "params.yaml").read_text())["random_seed"] == 7


def lock(*stages: str, **params: Any) -> None:
    """Write a dvc.lock in which `stages` ran with `params`, each of what the one before wrote."""
    entries, before = {}, "inputs"
    for name in stages:
        key = name.rpartition("@")[2] if "@" in name else "0"
        kind = name.removeprefix("base-").partition("@")[0]
        out = f"metrics/{key}/{kind}.json"
        entries[name] = {
            "cmd": "true",
            "deps": [{"path": before, "md5": "0"}],
            "params": {"params.yaml": params if name == stages[0] else {}},
            "outs": [{"path": out, "md5": "0"}],
        }
        before = out
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": entries}))


def asked(workplace: Workplace) -> None:
    """Write figures of a teacher that needed 500 tokens a call."""
    usage = RoleUsage(
        requests=10, failed=0, prompt_tokens=4000, completion_tokens=1000, replies_without_usage=0
    )
    metrics = TeachMetrics(taught=10, cache_pool=10, dropped={}, teacher=usage)
    files.write_metrics(workplace.path / paths.metrics("0", "teach"), metrics)


def test_figures_of_other_params_are_stale_and_not_shown(workplace: Workplace) -> None:
    settings = workplace.params({"random_seed": 0})
    asked(workplace)
    lock("seed", "base-teach", **{"random_seed": 0, "seed.size": settings.seed.size})
    assert " 10 " in lion("table").stdout
    assert lion("table").stderr == ""
    workplace.params({"random_seed": 1})
    shown = lion("table")
    assert " 10 " not in shown.stdout
    assert "2 stages ran with other params (random_seed): what they wrote is stale" in " ".join(
        shown.stderr.split()
    )


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("number", ["1e-05", "0.00001", "1.0e-05"])
def test_a_number_in_the_lock_is_the_number_in_params(number: str) -> None:
    """DVC writes 1e-05 where params.yaml has 0.00001."""
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(
        text.replace("learning_rate: 0.005 ", f"learning_rate: {number} ")
    )
    lock("base-tune", **{"tune.learning_rate": 0.0})
    content = Path("dvc.lock").read_text().replace("learning_rate: 0.0", "learning_rate: 1e-05")
    Path("dvc.lock").write_text(content)
    assert "stale" not in lion("table").stderr


def test_a_profile_in_a_folder_with_other_outputs_says_so(
    workplace: Workplace,
) -> None:
    workplace.params({})
    lock("seed", **{"seed.size": 4000, "random_seed": 0})
    (workplace.path / "profiles").symlink_to(Path(__file__).parents[1] / "profiles")
    result = lion("profile", "ci", "--force")
    assert result.exit_code == 0
    assert "1 stages ran with other params (seed.size)" in " ".join(result.stderr.split())
    assert "`lion new`" in result.stderr

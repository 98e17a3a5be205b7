"""params.yaml read from disk, and where things lie."""

from pathlib import Path

import pytest
from fixtures import ROOT, Workplace

from lion.config import project
from lion.config.settings import Settings
from lion.errors import SettingsError


def test_the_projects_own_params_are_read() -> None:
    assert isinstance(project.load_settings(ROOT / "params.yaml"), Settings)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("split:", "split: {tau: 2.0, min_hard: 0.0}\nsplit:", "split"),
        ("  tau: 1.0", "  tau: 2.0\n  tau: 1.0", "tau"),
        ('  "1": {', '  "2": {previous: "1", generate: {}, tune: {}}\n  "1": {', "2"),
        ("scorer: {", "scorer: {kind: exact, ", "kind"),
    ],
)
def test_a_key_that_stands_twice_is_refused(
    workplace: Workplace, old: str, new: str, key: str
) -> None:
    """YAML would take the last one and say nothing: an iteration copied and not renamed is lost."""
    path = workplace.path / "params.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(SettingsError, match=rf"the key '{key}' stands twice(.|\n)*line \d+"):
        project.load_settings()


def test_anchors_and_merges_are_yaml_too(workplace: Workplace) -> None:
    """A section may be written once and used again."""
    path = workplace.path / "params.yaml"
    text = path.read_text().replace("\nteacher:\n", "\nteacher: &asked\n", 1)
    start = text.index("generator:\n")
    stop = text.index("student:\n")
    text = text[:start] + "generator: {<<: *asked, model: oracle-2}\n\n" + text[stop:]
    path.write_text(text)
    found = project.load_settings()
    assert found.generator.model == "oracle-2"
    assert found.generator.request == found.teacher.request


@pytest.mark.parametrize(
    "content",
    [
        b"a: [",
        b"a: b: c",
        b"\xff\xfe\x00",
        b"? [a]\n: 1\n? {b: 1}\n: 2",
        b"teacher: {{ url }}",
        b"!!python/x 1",
    ],
)
def test_what_is_no_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"params\.yaml"):
        project.load_settings(path)


def test_a_missing_file_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="`lion profile default` writes one"):
        project.load_settings(tmp_path / "params.yaml")


def test_artifacts_lie_by_iteration() -> None:
    assert project.data("2", "verdicts.jsonl") == Path("data/2/verdicts.jsonl")
    assert project.metrics("2", "split") == Path("metrics/2/split.json")
    assert project.metrics("0", "tune", "csv") == Path("metrics/0/tune.csv")


def test_the_ledger_outlives_a_copy_that_dvc_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc exp run --temp` works in a copy and deletes it: paid replies must not lie there."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert project.ledger() == Path(".lion/ledger.sqlite")
    monkeypatch.setenv("DVC_ROOT", "/home/me/project")
    assert project.ledger() == Path("/home/me/project/.lion/ledger.sqlite")
    assert project.lock("teach@1").is_relative_to("/home/me/project/.lion")
    assert project.run_record("teach@1").is_relative_to("/home/me/project/.lion")

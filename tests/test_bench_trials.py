"""A bench's folder has the projects of one trial: figures of another one are never taken for it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from fixtures import ROOT

SCORER = {"review.judge": "scorer"}


@pytest.fixture(scope="module")
def edited() -> ModuleType:
    spec = importlib.util.spec_from_file_location("edited", ROOT / "bench" / "trials" / "edited.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_is_of_one_trial(edited: ModuleType, tmp_path: Path) -> None:
    edited.claim(tmp_path / "trial", SCORER)
    edited.claim(tmp_path / "trial", SCORER)
    with pytest.raises(SystemExit, match=r'edited by \{"review.judge": "scorer"\}; name another'):
        edited.claim(tmp_path / "trial", {})


def test_a_folder_of_an_older_bench_is_the_profiles_own(edited: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "seed-0").mkdir()
    edited.claim(tmp_path, {})
    (tmp_path / edited.NAME).unlink()
    with pytest.raises(SystemExit, match=r"edited by \{\}; name another --folder"):
        edited.claim(tmp_path, SCORER)

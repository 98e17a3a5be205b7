"""params.yaml and prices.yaml mean to Lion what they mean to DVC."""

import math
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml

from lion.config import project, yaml_file
from lion.errors import SettingsError
from lion.llm.prices import Prices

SCALARS = (
    *("1e-4", "1.e-4", "2.0e4", "1e3", "12e03", "1234567e10", ".5", "1.", "+1", "-0", "-1.5e-3"),
    *("010", "-010", "0o10", "0x1f", "0b11", "1_000", "1.5_0", "685.230_15e+03", "1.2.3", "0o9"),
    *("on", "off", "Off", "yes", "No", "y", "n", "true", "True", "TRUE", "tRue", "false"),
    *("~", "null", "Null", "NULL", "nULL", "", ".inf", "-.Inf", ".nan", "nan", "inf", "Infinity"),
    *("1:30", "190:20:30", "1,5", "1 000", "'1e-4'", '"on"', "2024", "e5", "1e", "0x", "_1"),
)


def spelt(value: object) -> str:
    """Return the type with the value; NaN equals itself."""
    nan = isinstance(value, float) and math.isnan(value)
    return f"{type(value).__name__} {'nan' if nan else value!r}"


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_scalar_is_what_dvc_takes_it_for(scalar: str, tmp_path: Path) -> None:
    """Otherwise DVC compares other values than the run used."""
    path = tmp_path / "params.yaml"
    path.write_text(f"a: {scalar}\n")
    loaded = yaml_file.read_yaml(path)
    assert isinstance(loaded, dict)
    assert spelt(loaded["a"]) == spelt(load_yaml(path)["a"])


@pytest.mark.parametrize("date", ["2024-05-13", "2024-05-13 10:00:00", "2024-5-1T1:00:00Z"])
def test_a_date_is_refused_with_its_line(date: str, tmp_path: Path) -> None:
    """DVC fails at one, after the stage: it cannot be hashed."""
    path = tmp_path / "params.yaml"
    path.write_text(f"a:\n  model: {date}\n")
    with pytest.raises(SettingsError, match=r"(?s)is a date in YAML; put it in quotes.*line 2"):
        yaml_file.read_yaml(path)
    path.write_text(f'a: "{date}"\n')
    assert yaml_file.read_yaml(path) == {"a": date}


def test_marks_of_order_and_ends_of_lines_do_not_matter(tmp_path: Path) -> None:
    path, shipped = tmp_path / "params.yaml", project.load_settings()
    text = project.PARAMS.read_bytes()
    variants = (b"\xef\xbb\xbf" + text, text.replace(b"\n", b"\r\n"), text.replace(b"\n", b"\r"))
    for variant in variants:
        path.write_bytes(variant)
        assert project.load_settings(path) == shipped


@pytest.mark.parametrize("load", [project.load_settings, Prices.load])
@pytest.mark.parametrize("content", [b"a: caf\xe9\n", "a: é\n".encode("utf-16")])
def test_another_encoding_is_refused(load: Any, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"not UTF-8 at byte .*; save the file as UTF-8"):
        load(path)


CHANGES = {
    # a line of params.yaml -> as somebody writes it, and what the refusal names
    "random_seed: 0 ": ("random_seed: 4294967296 ", "random_seed: Input should be less than"),
    "  send_seed: true ": ("  send_seed: yes ", "found 'yes'; write true or false"),
    "  tau: 1.0 ": ('  tau: "1.0" ', "split.tau: .* found '1.0'; remove the quotes"),
    "  revision: null ": ("  revision: 1234567e10 ", "put it in quotes if it is a text"),
    "temperature: 0.7,": ("temperature: .nan,", "request.temperature is nan, which JSON cannot"),
    "temperature: 0.7, ": ('temperature: "0.7", ', "request.temperature is a text; remove the"),
    "max_tokens: 1024}": ("max_tokens: 1024, 1: 2}", "request: the name 1 is no text"),
    "  tau: 1.0": ("  tau: 1.0\n  tauu: 2", "split.tauu: no such parameter"),
    "  tau:": ("  tau: 2.0\n  tau:", "(?s)the key 'tau' stands twice.*line"),
}


@pytest.mark.parametrize("line", CHANGES)
def test_a_slip_of_the_pen_is_refused_by_name(line: str, tmp_path: Path) -> None:
    written, named = CHANGES[line]
    text, path = project.PARAMS.read_text(encoding="utf-8"), tmp_path / "params.yaml"
    assert line in text
    path.write_text(text.replace(line, written, 1))
    with pytest.raises(SettingsError, match=named):
        project.load_settings(path)


def test_a_learning_rate_needs_no_point(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = project.PARAMS.read_text(encoding="utf-8")
    path.write_text(text.replace("  learning_rate: 0.005 ", "  learning_rate: 5e-3 "))
    assert project.load_settings(path) == project.load_settings()

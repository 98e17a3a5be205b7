"""params.yaml is wrong in one message, or right in every value."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from fixtures import ROOT, Configure, override

from lion.config.project import load_settings
from lion.config.settings import Settings
from lion.config.validation import read_settings
from lion.errors import SettingsError

PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


def problems(document: Any) -> list[str]:
    """Return the lines of the one message, without its frame."""
    with pytest.raises(SettingsError) as caught:
        read_settings(document)
    first, *lines, last = str(caught.value).splitlines()
    assert first == "params.yaml is not usable:"
    assert last.endswith("`lion check`.")
    return [line.strip() for line in lines]


def names(document: Any) -> set[str]:
    return {line.split(": ", 1)[0] for line in problems(document)}


def test_all_problems_stand_in_one_message(document: dict[str, Any]) -> None:
    """Unknown, mistyped, missing and out of range, each by its dotted name."""
    changed = override(
        document,
        {
            "tune.learning_rates": 1e-3,
            "split.tau": "1.0",
            "generate.hard": 12.5,
            "generate.novelty": 1.5,
            "teacher.send_seed": "yes",
            "student.dtype": "float8",
            "seeds": {},
        },
    )
    del changed["api"]["tries"], changed["teach"]
    assert names(changed) == {
        "tune.learning_rates",
        "split.tau",
        "generate.hard",
        "generate.novelty",
        "teacher.send_seed",
        "student.dtype",
        "seeds",
        "api.tries",
        "teach",
    }


def test_each_problem_says_what_is_expected_and_what_was_found(document: dict[str, Any]) -> None:
    changed = override(document, {"api.concurrency": 0, "api.concurency": 4})
    del changed["api"]["timeout"]
    told = problems(changed)
    assert any(line.startswith("api.concurrency: ") and line.endswith("found 0") for line in told)
    assert "api.concurency: no such parameter" in told
    assert "api.timeout: missing; every parameter must be in params.yaml" in told


def _leaves(value: Any, prefix: str = "") -> list[str]:
    if not isinstance(value, dict) or prefix.endswith("request"):
        return [prefix]
    return [
        name
        for key, part in value.items()
        for name in _leaves(part, f"{prefix}.{key}" if prefix else str(key))
    ]


def test_no_parameter_has_a_default_in_code(document: dict[str, Any]) -> None:
    """Whatever is taken out of params.yaml is missed, by its own name."""
    wanted = [name for name in _leaves(document) if not name.startswith(("base.tune", "iteratio"))]
    assert len(wanted) > 60
    for name in wanted:
        *sections, key = name.split(".")
        changed = override(document, {})
        place = changed
        for section in sections:
            place = place[section]
        del place[key]
        assert f"{name}: missing; every parameter must be in params.yaml" in problems(changed)


RENAMED = [
    ("seed.watch", "seed.depends_on"),
    ("review.favour", "review.uncertain_weight"),
    ("review.margin", "review.second_order_margin"),
    ("review.audit", "review.audit_rate"),
    ("generate.per_seed", "generate.max_descendants"),
    ("generate.round", "generate.requests_per_round"),
    ("api.patience", "api.max_request_seconds"),
    ("hardware.keep", "hardware.keep_students"),
]


@pytest.mark.parametrize(("old", "new"), RENAMED)
def test_an_old_name_is_refused_with_the_new_one(
    document: dict[str, Any], old: str, new: str
) -> None:
    section, _, key = new.partition(".")
    changed = override(document, {old: document[section][key]})
    del changed[section][key]
    assert problems(changed) == [f"{old}: renamed to {new}; change the name in params.yaml"]


def test_an_old_name_in_an_override_is_refused_with_the_new_one(document: dict[str, Any]) -> None:
    changed = override(document, {"iterations.1.generate": {"round": 8}})
    assert problems(changed) == [
        "iterations.1.generate.round: renamed to iterations.1.generate.requests_per_round; "
        "change the name in params.yaml"
    ]


@pytest.mark.parametrize("document_", [None, [], "text", 3])
def test_what_is_no_mapping_is_refused(document_: object) -> None:
    assert problems(document_) == ["the file: a mapping of sections is expected"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"iterations.1.generate": {"hards": 3}}, "iterations.1.generate.hards: no such parameter"),
        ({"iterations.2.tune": {"steps": 0}}, "iterations.2.tune.steps: "),
        ({"iterations.2.tune": {"epochs": 1.0}}, "iterations.2.tune: set exactly one of"),
        ({"base.tune": {"optimizer": "adamw"}}, "base.tune: `matrix_learning_rate` goes with"),
        (
            {"generate.feedback": "uniform", "generate.choice": "progress"},
            "generate: choice `progress` reads verdicts",
        ),
        ({"tune.epochs": 3.0}, "tune: set exactly one of `epochs` and `steps`"),
        ({"tune.optimizer": "adamw"}, "tune: `matrix_learning_rate` goes with"),
        ({"teacher.request": {"seed": 3}}, "teacher: request.seed is set by Lion itself"),
        ({"referee.request": {"stream": True}}, "referee: request.stream is set by Lion itself"),
        ({"tune.stop_after": 3}, "tune: `stop_after` counts validations"),
        ({"seed.source": "tickets"}, "task.fields: simulated tickets have subject and body"),
        ({"exam.scorer": {"kind": "regex", "option": None}}, "exam.scorer: scorer `regex` needs"),
    ],
)
def test_sections_are_consistent(
    document: dict[str, Any], changes: Mapping[str, Any], told: str
) -> None:
    found = problems(override(document, changes))
    assert any(line.startswith(told) for line in found), found


@pytest.mark.parametrize("sub", ["previous", "generate", "tune"])
def test_an_iteration_without_a_sub_key_is_refused(document: dict[str, Any], sub: str) -> None:
    """DVC would fail on it, or silently compare nothing, after the base was paid for."""
    changed = override(document, {})
    del changed["iterations"]["2"][sub]
    assert names(changed) == {f"iterations.2.{sub}"}


def iteration(previous: str) -> dict[str, Any]:
    return {"previous": previous, "generate": {}, "tune": {}}


@pytest.mark.parametrize(
    ("iterations", "told"),
    [
        ({1: iteration("0")}, 'iterations.1: put the name in quotes ("1":)'),
        ({"a": iteration("0")}, "iterations.a: a name is a digit"),
        ({"1/x": iteration("0")}, "iterations.1/x: a name is a digit"),
        ({"1A": iteration("0")}, "iterations.1A: a name is a digit"),
        ({"1\n": iteration("0")}, "iterations.1"),
        ({"0": iteration("0")}, 'iterations.0: "0" is the base'),
        ({"1": iteration("7")}, "iterations.1.previous: there is no iteration '7'"),
        ({"1": iteration("1")}, "iterations.1.previous: leads back to 1"),
        (
            {"1": iteration("2"), "2": iteration("1")},
            "iterations.1.previous: leads back to 1",
        ),
    ],
)
def test_iterations_lead_to_the_base(
    document: dict[str, Any], iterations: dict[Any, Any], told: str
) -> None:
    found = problems({**document, "iterations": iterations})
    assert any(line.startswith(told) for line in found), found


def test_every_iteration_that_reaches_a_loop_is_refused(document: dict[str, Any]) -> None:
    chain = {"1": iteration("2"), "2": iteration("1"), "3": iteration("2")}
    assert {"iterations.1.previous", "iterations.2.previous"} <= names(
        {**document, "iterations": chain}
    )


def test_an_unquoted_iteration_in_the_file_is_told(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text().replace('"1": {', "1: {")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SettingsError, match="put the name in quotes"):
        load_settings(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("embedded", "embedded"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("http://127.0.0.1:8099/v1", "http://127.0.0.1:8099/v1"),
    ],
)
def test_an_address_has_one_spelling(configure: Configure, url: str, kept: str) -> None:
    """A closing slash must not make a new endpoint, whose replies are paid for again."""
    assert configure({"teacher.base_url": url}).teacher.base_url == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "Embedded",
        "api.example.com/v1",
        "ftp://a",
        "https://",
        "http://local host/v1",
        "http://exam ple/v1",
    ],
)
def test_an_address_that_is_none_is_refused(document: dict[str, Any], url: str) -> None:
    assert names(override(document, {"teacher.base_url": url})) == {"teacher.base_url"}


@pytest.mark.parametrize(
    "url",
    [
        "https://me:sk-secret-1@example.com/v1",
        "https://sk-secret-1@example.com/v1",
        "https://example.com/v1?key=sk-secret-1",
    ],
)
def test_a_key_in_an_address_is_refused_and_not_repeated(
    document: dict[str, Any], url: str
) -> None:
    (line,) = problems(override(document, {"teacher.base_url": url}))
    assert "belong in the environment" in line
    assert "sk-secret-1" not in line


@pytest.mark.parametrize("name", ["sk-proj-secret-1", "my key", "1KEY", ""])
def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(
    document: dict[str, Any], name: str
) -> None:
    """People paste the key itself where the name of its variable belongs."""
    (line,) = problems(override(document, {"teacher.api_key_env": name}))
    assert line.startswith("teacher.api_key_env: ")
    assert "secret" not in line


def test_overrides_win_and_the_rest_stays(configure: Configure) -> None:
    settings = configure(
        {
            "iterations.2.generate": {"hard": 7},
            "iterations.2.tune": {"steps": None, "epochs": 2.0},
            "base.tune": {"steps": 9},
        }
    )
    assert settings.generate_at("2").hard == 7
    assert settings.generate_at("2").easy == settings.generate.easy
    assert settings.generate_at("1") == settings.generate
    assert (settings.tune_at("2").epochs, settings.tune_at("2").steps) == (2.0, None)
    assert settings.tune_at("0").steps == 9
    assert settings.tune_at("1") == settings.tune


def test_depth_counts_iterations_to_the_base(configure: Configure) -> None:
    settings = configure(
        {
            "iterations": {
                "1": iteration("0"),
                "2": iteration("1"),
                "2b": iteration("1"),
                "9": iteration("0"),
            }
        }
    )
    depths = {name: settings.depth(name) for name in ("0", "1", "2", "2b", "9")}
    assert depths == {"0": 0, "1": 1, "2": 2, "2b": 2, "9": 1}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_complete(profile: Path, document: dict[str, Any]) -> None:
    """A profile can be used, and names every parameter that the default names."""
    assert isinstance(load_settings(profile), Settings)
    parsed = yaml.safe_load(profile.read_text(encoding="utf-8"))
    outside = ("base.tune", "iterations", "exam.scorer.fields", "evaluate.referee")

    def keys(value: Any) -> set[str]:
        return {name for name in _leaves(value) if not name.startswith(outside)}

    assert keys(parsed) == keys(document)


def test_there_are_profiles() -> None:
    assert {path.stem for path in PROFILES} >= {"default", "ci"}

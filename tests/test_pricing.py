"""Money: exact, from the package or the project's own file, and never guessed."""

from pathlib import Path
from typing import Any

import genai_prices
import pytest
from fixtures import ROOT  # noqa: F401 - puts tests/ on the path for editors

from lion.config.settings import Endpoint
from lion.errors import SettingsError
from lion.llm.prices import NANO, Prices
from lion.prompting.protocol import Usage


def endpoint(model: str = "gpt-4.1-mini", url: str = "https://api.openai.com/v1") -> Endpoint:
    return Endpoint(base_url=url, model=model, api_key_env=None, send_seed=True, request={})


def own(tmp_path: Path, text: str) -> Prices:
    (tmp_path / "prices.yaml").write_text(text)
    return Prices.load(tmp_path / "prices.yaml")


@pytest.mark.parametrize(
    "usage", [Usage(1234, 567), Usage(1000, 0, 400), Usage(7, 3), Usage(250_000, 10)]
)
@pytest.mark.parametrize("batch", [False, True])
def test_a_reply_costs_what_the_price_package_says(usage: Usage, batch: bool) -> None:
    context: dict[str, Any] = {"price_context": {"processing": "batch"}} if batch else {}
    told = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.prompt,
            output_tokens=usage.completion,
            cache_read_tokens=usage.cached,
        ),
        "gpt-4.1-mini",
        provider_api_url="https://api.openai.com/v1",
        **context,
    )
    found = Prices({}).cost(endpoint(), usage, batch=batch)
    assert found == pytest.approx(float(told.total_price) * NANO, abs=1)


@pytest.mark.parametrize(
    ("model", "url"),
    [("nobody-knows-1", "https://api.openai.com/v1"), ("gpt-4.1-mini", "http://localhost:8000/v1")],
)
def test_an_unknown_price_is_none_and_never_zero(model: str, url: str) -> None:
    """A known model's name at an unknown address is somebody's own server."""
    assert Prices({}).cost(endpoint(model, url), Usage(1000, 1000)) is None


def test_a_reply_without_usage_has_no_known_cost() -> None:
    assert Prices({}).cost(endpoint(), None) is None


def test_the_embedded_teacher_is_free() -> None:
    assert Prices({}).cost(endpoint(url="embedded"), Usage(10, 10)) == 0
    assert Prices({}).cost(endpoint(url="embedded"), None) == 0


def test_the_projects_own_file_comes_first(tmp_path: Path) -> None:
    prices = own(
        tmp_path,
        "gpt-4.1-mini: {input: 2, output: 10, cached: 1, reasoning: 20, batch: 0.5}\n"
        "mine: {input: 1.5, output: 3}\n",
    )
    usage = Usage(1000, 100, cached=400, reasoning=50)
    assert prices.cost(endpoint(), usage) == 600 * 2000 + 400 * 1000 + 50 * 10_000 + 50 * 20_000
    assert prices.cost(endpoint(), usage, batch=True) == (1_200_000 + 400_000 + 1_500_000) // 2
    anywhere = endpoint("mine", "http://localhost:8000/v1")
    assert prices.cost(anywhere, Usage(1000, 100, 400, 50)) == 1_500_000 + 300_000


def test_fractions_of_a_nanodollar_are_rounded_up(tmp_path: Path) -> None:
    prices = own(tmp_path, "mine: {input: 0.0001, output: 0}\n")
    assert prices.cost(endpoint("mine"), Usage(1, 0)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "mine: {input: -1, output: 1}",
        "mine: {input: 1}",
        "mine: {input: 1, output: 1, outptu: 2}",
        "mine: 3",
        "mine: {input: .nan, output: 1}",
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"prices.yaml: .*dollars per million tokens"):
        own(tmp_path, text)


def test_a_broken_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("mine: [")
    with pytest.raises(SettingsError, match=r"(?s)prices.yaml: not readable as YAML: .*line 1"):
        Prices.load(path)


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert Prices.load(tmp_path / "prices.yaml").cost(endpoint("x", "http://h/v1"), None) is None

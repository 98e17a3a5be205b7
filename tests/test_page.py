"""The report page in a real browser: it reads, sorts, searches and filters; attacks stay text."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pooled
import pytest
from pipeline import Project
from playwright.sync_api import Browser, Page, sync_playwright
from running import Finished

from lion import reporting, revisions
from lion.records import Answer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = {"width": 390, "height": 844}
ATTACKS = {
    "script": "<script>window.owned = 1</script>",
    "handler": '<img src=x onerror="window.owned = 2">',
    "link": '<a href="javascript:window.owned=3">click</a> [here](javascript:window.owned=3)',
    "template": "</script><script>window.owned = 4</script>${window.owned=4}{{window.owned=4}}",
    "bidi": "safe \u202egnihtemos esle\u202c and \u2066more\u2069",
    "giant": "x" * 1_000_000,
    "css": "</style><style>body{display:none}</style>",
    "svg": '<svg onload="window.owned=5"><animate onbegin="window.owned=5"/></svg>',
    "comment": "<!-- <script> --><!--><img src=x onerror=window.owned=6>",
    "json": '"}]}</script><script>window.owned=7</script>\\u003cscript\\u003e\u2028',
}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def opened(browser: Browser, page: Path, **options: Any) -> Iterator[Page]:
    """Yield the page once all is drawn. Leaving it, the console was silent and nothing fetched."""
    told: list[str] = []
    with browser.new_context(reduced_motion="reduce", **options) as context:
        shown = context.new_page()
        shown.on("console", lambda message: told.append(message.text))
        shown.on("pageerror", lambda error: told.append(str(error)))
        shown.on("request", lambda request: told.append(request.url))
        shown.goto(page.as_uri())
        shown.wait_for_selector("html[data-ready=yes]")
        yield shown
        assert [one for one in told if one != page.as_uri()] == []


@pytest.fixture(scope="module")
def page(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a real run, as `lion report` writes it."""
    out = tmp_path_factory.mktemp("report") / "index.html"
    project: Project = finished.project
    written = project.run("lion.cli", "report", "--out", str(out))
    assert written.code == 0, written.output
    return out


def counted(shown: Page) -> int:
    """Return how many instructions are left."""
    return int(shown.inner_text("#count").split()[0].replace(",", ""))


def cells(shown: Page, field: str) -> list[str]:
    return shown.locator(f".tabulator-row [tabulator-field={field}]").all_inner_texts()


def test_it_draws_every_plot_and_has_every_row(
    browser: Browser, page: Path, finished: Finished
) -> None:
    with opened(browser, page) as shown:
        plots = shown.locator(".plot")
        assert plots.count() >= 6
        for number in range(plots.count()):
            marks = plots.nth(number).locator("svg path, svg rect").count()
            assert marks > 3, plots.nth(number).get_attribute("aria-label")
        assert counted(shown) == len(finished.project.rows("1/cache_pool.jsonl"))


def test_it_searches_filters_and_sorts(browser: Browser, page: Path, finished: Finished) -> None:
    pool = finished.project.rows("1/cache_pool.jsonl")
    verdicts = {row["id"]: row for row in finished.project.rows("1/verdicts.jsonl")}
    with opened(browser, page) as shown:
        text = pool[7]["messages"][0]["content"]
        shown.fill("#search", text.upper())
        assert counted(shown) == sum(text in row["messages"][0]["content"] for row in pool)
        shown.fill("#search", "")

        hard = {one for one, row in verdicts.items() if row["difficulty"] == "hard"}
        shown.select_option("#verdict", "hard")
        assert counted(shown) == len(hard & {row["id"] for row in pool}) > 0
        shown.select_option("#sort", "gap desc")
        gaps = [float(text) for text in cells(shown, "gap")]
        assert gaps == sorted(gaps, reverse=True)
        shown.click("button[type=reset]")
        assert counted(shown) == len(pool)


def test_a_keyboard_is_enough(browser: Browser, page: Path) -> None:
    with opened(browser, page) as shown:
        shown.locator(".tabulator-row").first.press("Enter")
        shown.wait_for_selector("#detail[open]")
        assert re.match(r"lion trace [0-9a-f]{16}$", shown.inner_text("#detail-command"))
        shown.keyboard.press("Escape")
        shown.wait_for_selector("#detail", state="hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read_in_the_dark(
    browser: Browser, page: Path, scheme: str
) -> None:
    """Contrast as WCAG 2 computes it: 4.5 at least for plain text."""
    with opened(browser, page, viewport=PHONE, color_scheme=scheme) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        colours = shown.evaluate("""() => [getComputedStyle(document.body).color,
            getComputedStyle(document.querySelector(".card")).backgroundColor]""")
        assert contrast(*colours) >= 4.5


def test_it_prints_without_its_controls(browser: Browser, page: Path) -> None:
    with opened(browser, page) as shown:
        shown.emulate_media(media="print")
        assert not shown.locator("#filters").is_visible()
        assert shown.locator(".card").first.is_visible()
        assert shown.pdf()[:4] == b"%PDF"


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2, relative luminance)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# --- what models and colleagues may write


@pytest.fixture
def attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the page of a pool in which every text, domain and category is an attack."""
    rows = [
        pooled.instruction(f"{name} {text}", domain=text[:200], category=text[:200], answer=text)
        for name, text in ATTACKS.items()
    ]
    responses = [
        Answer(row.id, text, "stop", None) for row, text in zip(rows, ATTACKS.values(), strict=True)
    ]
    verdicts = [pooled.verdict(row.id, 3.0) for row in rows]
    pooled.project(tmp_path, "1", rows, verdicts, responses)
    pooled.project(tmp_path, "0", rows)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "index.html"
    with revisions.opened() as trees:
        reporting.write(trees.place("workspace:1"), out)
    return out


def test_planted_attacks_stay_text(browser: Browser, attacked: Path) -> None:
    with opened(browser, attacked) as shown:
        assert counted(shown) == len(ATTACKS)
        for name in ATTACKS:
            shown.fill("#search", f"{name} ")
            assert counted(shown) >= 1
            shown.locator(".tabulator-row").first.click()
            shown.wait_for_selector("#detail[open]")
            shown.keyboard.press("Escape")
        assert shown.evaluate("window.owned") is None
        assert shown.locator("img, main script, main style, main a[href^=javascript]").count() == 0
        assert shown.locator("#instructions svg").count() == 0
        shown.fill("#search", "script <script>")
        assert cells(shown, "text") == [f"script {ATTACKS['script']}"]
        shown.fill("#search", "bidi")
        assert "\u202e" not in cells(shown, "text")[0], "shown by name, not obeyed"
    assert attacked.stat().st_size < 3_000_000, "a giant is cut"


def test_the_policy_lets_nothing_else_run(attacked: Path) -> None:
    text = attacked.read_text(encoding="utf-8")
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert found is not None
    assert found[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in found[1]

"""The report page in a real browser: it loads, sorts, searches and filters, and runs no text."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from pipeline import Project
from playwright.sync_api import Browser, Page, sync_playwright
from polling import wait_until
from pooled import WORDS, instruction, project, verdict
from running import Finished

from lion.cli import main
from lion.escape import clipped, inert
from lion.metrics import files
from lion.metrics.exams import EvaluateMetrics
from lion.metrics.judging import CalibrationMetrics, SplitMetrics
from lion.metrics.pools import GenerateMetrics
from lion.metrics.units import Funnel, Metrics
from lion.records.rows import Answer, Instruction
from lion.reporting import page, page_heading

CHROMIUM = which("chromium") or which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

ATTACKS = {
    "script": "<script>window.harm = 'script'</script>",
    "event handler": "<img src=x onerror=\"window.harm='handler'\"><b onmouseover=alert(1)>b</b>",
    "javascript link": "<a href=\"javascript:window.harm='link'\">go</a> [go](javascript:alert(1))",
    "template breakout": "${window.harm='t'} $styles {{constructor.constructor('alert(1)')()}}"
    " `${alert(1)}` </template></textarea>",
    "bidi": "user \u202e live \u2066 evil \u200f end",
    "giant token": "A" * 300_000,
    "css": "</style><style>* { display: none !important }</style><i style='position: fixed'>x</i>",
    "svg": "<svg onload=\"window.harm='svg'\"><script>window.harm='svg'</script></svg>",
    "comment": "<!-- <script> --> <!--[if true]> --!> <![CDATA[ x ]]>",
    "json breakout": """"}]</script><script>window.harm = 'json'</script>\u2028\\u003c""",
}
SIZE = 240


@dataclass
class Watched:
    """A page in a browser, and what should not have happened: messages, errors, requests."""

    page: Page
    noise: list[str] = field(default_factory=list)

    def count(self) -> int:
        """Return how many instructions the page says it shows."""
        found = re.match(r"[\d,]+", self.page.inner_text("#count"))
        assert found is not None
        return int(found[0].replace(",", ""))

    def texts(self) -> list[str]:
        """Return the instructions of the page of the table that is shown."""
        return self.page.locator(".tabulator-cell[tabulator-field=text]").all_inner_texts()

    def gaps(self) -> list[str]:
        """Return the gaps of the same rows."""
        return self.page.locator(".tabulator-cell[tabulator-field=gap]").all_inner_texts()


@pytest.fixture(scope="module")
def run(finished: Finished) -> Project:
    """Return a project that a real `dvc repro` finished."""
    return finished.project


@pytest.fixture(scope="module")
def pool() -> list[Instruction]:
    """Rows of which the first ones attack: by their text, answer and domain."""
    rng = random.Random(0)
    planted = [
        instruction(f"{name}: {text}", domain=clipped(text, 300), answer=text, category=text[:300])
        for name, text in ATTACKS.items()
    ]
    return planted + [
        instruction(
            f"{' '.join(rng.choices(WORDS, k=6))} {number}",
            str(number % 3),
            domain=rng.choice(["writing", "code", "skip", "dim"]),
            answer=" ".join(rng.choices(WORDS, k=rng.randint(1, 60))),
        )
        for number in range(SIZE - len(planted))
    ]


@pytest.fixture(scope="module")
def gaps(pool: list[Instruction]) -> dict[str, float | None]:
    """Return the gap of each judged row."""
    rng = random.Random(1)
    return {row.id: rng.choice([None, 0.0, 0.5, 1.0, 3.0, 7.5]) for row in pool[: SIZE - 40]}


@pytest.fixture(scope="module")
def written(
    pool: list[Instruction],
    gaps: dict[str, float | None],
    run: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Write the page of a made-up pool with a real run's metrics, as `lion report` does."""
    root = tmp_path_factory.mktemp("page")
    responses = [Answer(row.id, row.answer.text[::-1], "stop", "s") for row in pool if row.answer]
    for key in ("0", "1", "2"):
        judged = [] if key == "0" else [verdict(*one) for one in gaps.items()]
        project(root, key, pool, judged, responses if judged else ())
        (root / "metrics" / key).mkdir(parents=True)
        for found in figures(run, key):
            files.write_metrics(root / "metrics" / key / f"{found.FILE}.json", found)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        done = CliRunner().invoke(main, ["report", "--out", "page.html"])
    assert done.exit_code == 0, done.stderr
    return root / "page.html"


def real(key: str) -> str:
    """Return which iteration of the run stands for an iteration of the page; it has one only."""
    return "0" if key == "0" else "1"


def figures(run: Project, key: str) -> Iterator[Metrics]:
    """Yield what stages tell of an iteration; the names in it attack."""
    exam = run.metrics(real(key), EvaluateMetrics)
    shares = exam.category_accuracy_share.values()
    yield replace(exam, category_accuracy_share=dict(zip(ATTACKS.values(), cycle(shares))))
    if key == "0":
        return
    yield run.metrics("1", SplitMetrics)
    yield run.metrics("1", CalibrationMetrics)
    made = run.metrics("1", GenerateMetrics)
    yield replace(made, hard=Funnel({**made.hard, ATTACKS["svg"]: 5}))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a Chromium without a window."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


def opened(browser: Browser, path: Path, *, ready: bool = True, **options: Any) -> Watched:
    """Return the page, once it is ready where that is asked for."""
    watched = Watched(browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options}))
    seen, noise = watched.page, watched.noise
    seen.on("console", lambda message: noise.append(f"console: {message.text}"))
    seen.on("pageerror", lambda error: noise.append(f"error: {error}"))
    seen.on("dialog", lambda dialog: (noise.append("dialog"), dialog.dismiss()))
    seen.on("request", lambda request: noise.append(f"request: {request.url[:200]}"))
    seen.goto(path.as_uri())
    if ready:
        seen.wait_for_selector("html[data-ready=yes]")
    return watched


@pytest.fixture(scope="module")
def shared(browser: Browser, written: Path) -> Iterator[Watched]:
    """Yield one page for all tests that leave it as they found it."""
    watched = opened(browser, written)
    yield watched
    watched.page.close()


@pytest.fixture
def seen(shared: Watched) -> Watched:
    """Return the page with nothing typed, chosen or opened."""
    shared.page.keyboard.press("Escape")
    shared.page.click("#filters button[type=reset]")
    # the page clears sort and filters in a timer of its own: this one, set later, ends after it
    shared.page.evaluate("new Promise(done => setTimeout(done))")
    shared.page.wait_for_function(
        "n => document.querySelector('#count').textContent.startsWith(n)", arg=f"{SIZE}"
    )
    return shared


def test_the_page_opens_in_silence_and_fetches_nothing(shared: Watched, written: Path) -> None:
    assert shared.noise == [f"request: {written.as_uri()}"]
    assert shared.page.inner_text("#count") == f"{SIZE} instructions"


def test_every_plot_is_drawn_with_its_figures(shared: Watched, run: Project) -> None:
    plots = shared.page.locator(".plot")
    titles = [told.split(".")[0] for told in plots.evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))")]  # fmt: skip
    expected = ["Student against teacher on the exam", "Quality", "Hard share", "Gaps"]
    expected += ["Generation", "Drift of the pool", "What is hard", "Categories", "Tokens by role"]
    assert titles == expected
    marks = plots.evaluate_all("all => all.map(one => one.querySelectorAll('svg path').length)")
    assert min(marks) > 3
    points = (
        plots.nth(1)
        .locator("[aria-roledescription=point]")
        .evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    )
    assert [float(point.rsplit(" ", 1)[1]) for point in points] == pytest.approx(
        [run.metrics(real(key), EvaluateMetrics).quality_percent for key in "012"]
    )


def test_the_key_figures_are_those_of_the_last_iteration(shared: Watched, run: Project) -> None:
    exam, split = run.metrics("1", EvaluateMetrics), run.metrics("1", SplitMetrics)
    assert exam.accuracy_share is not None and exam.teacher_accuracy_share is not None
    assert split.hard_share is not None
    assert exam.accuracy_interval is not None and exam.quality_interval is not None
    tiles = [tile.split("\n") for tile in shared.page.locator(".tile").all_inner_texts()]
    figures = {label: texts for label, *texts in tiles}
    low, high = exam.accuracy_interval.bounds
    assert exam.guess_accuracy_share is not None
    beside = f"teacher: {100 * exam.teacher_accuracy_share:.1f} %, guessing: "
    beside += f"{100 * exam.guess_accuracy_share:.1f} %"
    assert figures["Right on the exam"] == [
        f"{100 * exam.accuracy_share:.1f} %",
        "Worse than its teacher",
        f"{100 * low:.1f} to {100 * high:.1f} %; {beside}",
    ]
    low, high = exam.quality_interval.bounds
    assert figures["Quality"] == [
        f"{exam.quality_percent:.1f} %",
        page_heading.verdict_words(
            (low - 100, high - 100),
            ("Below its teacher", "", "No clear difference from its teacher"),
        ),
        f"{low:.1f} to {high:.1f} %; of the teacher's points, by the referee",
    ]
    hard = [f"{100 * split.hard_share:.1f} %", f"mean gap {split.mean_gap_points:.2f}"]
    assert figures["Hard for student 1"] == hard


def test_an_interval_has_one_verdict() -> None:
    words = ("worse", "better", "not told")
    intervals = [(-3.0, -1.0), (1.0, 3.0), (-1.0, 3.0), (0.0, 3.0)]
    verdicts = [page_heading.verdict_words(interval, words) for interval in intervals]
    assert verdicts == ["worse", "better", "not told", "not told"]
    assert page_heading.verdict_words(None, words) == ""


def test_figures_come_first_then_exam_answers_then_plots(shared: Watched) -> None:
    heights = [
        shared.page.evaluate("id => document.getElementById(id).offsetTop", name)
        for name in ("facts", "figures", "exam-rows", "plots", "instructions")
        if shared.page.locator(f"#{name}").is_visible()
    ]
    assert len(heights) >= 4
    assert heights == sorted(heights)


def test_per_cent_has_one_form_on_the_page(shared: Watched) -> None:
    """`42.5 %`, with the space, in texts and on the axes."""
    written = shared.page.evaluate("document.body.innerText")
    axes = shared.page.locator(".plot svg text").all_text_contents()
    signs = [sign for text in [written, *axes] for sign in re.findall(r"\S*\s?%", text)]
    assert "100\u00a0%" in signs
    assert [sign for sign in signs if re.match(r"[\d.]+%", sign)] == []


def test_neighbouring_charts_have_the_same_axes(shared: Watched) -> None:
    """Accuracy beside quality, hard share beside gaps: nothing to all, ticks at one height."""
    places = {
        name: shared.page.locator(
            f".plot[aria-label^='{name}'] .role-axis-label text"
        ).evaluate_all(
            "all => all.filter(one => one.textContent.endsWith('%')).map(one => "
            "[one.textContent, Math.round(one.getBoundingClientRect().top)])"
        )
        for name in ("Student against teacher", "Quality", "Hard share", "Gaps")
    }
    labels = [f"{fifth}\u00a0%" for fifth in (0, 20, 40, 60, 80, 100)]
    assert [[label for label, _ in drawn] for drawn in places.values()] == [labels] * 4
    assert places["Student against teacher"] == places["Quality"]
    assert places["Hard share"] == places["Gaps"]


def test_the_referees_card_has_what_the_metrics_say(shared: Watched, run: Project) -> None:
    found = run.metrics("1", CalibrationMetrics)
    flips = re.escape(f"{100 * (found.flip_share or 0.0):.1f} %")
    told = shared.page.locator("article", has_text="Calibration of the referee").inner_text()
    assert re.search(rf"judged in both orders\s+{found.rows}\s+{found.rows}", told)
    assert re.search(rf"depends on the order\s+{flips}\s+{flips}", told)
    assert "repeated judgements agree" not in told  # none was repeated


def test_a_search_finds_what_plain_python_finds(seen: Watched, pool: list[Instruction]) -> None:
    seen.page.locator("#search").press_sequentially("River S")
    wanted = [row for row in pool if "river s" in sought(row)]
    assert 0 < len(wanted) < SIZE
    assert seen.count() == len(wanted)
    wait_until(lambda: seen.texts() == [text(row) for row in wanted[:25]], "the kept rows alone")
    for _ in range(4):
        seen.page.keyboard.press("Backspace")
    assert seen.count() == sum("riv" in sought(row) for row in pool)


def test_filters_keep_what_plain_python_keeps(
    seen: Watched, pool: list[Instruction], gaps: dict[str, float | None]
) -> None:
    seen.page.select_option("#verdict", "hard")
    seen.page.fill("#gap", "3")
    seen.page.select_option("#domain", "code")
    wanted = [row for row in pool if (gaps.get(row.id) or 0) >= 3 and row.domain == "code"]
    assert 0 < len(wanted) < SIZE
    assert seen.count() == len(wanted)
    wait_until(lambda: seen.texts() == [text(row) for row in wanted[:25]], "the kept rows alone")


def test_a_sort_is_that_of_plain_python(
    seen: Watched, pool: list[Instruction], gaps: dict[str, float | None]
) -> None:
    known = sorted((gap for gap in gaps.values() if gap is not None), reverse=True)
    seen.page.select_option("#sort", "gap desc")
    wait_until(lambda: seen.gaps() == [f"{gap:g}" for gap in known[:25]], "the highest gaps first")
    seen.page.select_option("#sort", "number desc")
    wait_until(lambda: seen.texts() == [text(row) for row in pool[:-26:-1]], "the last rows first")


def test_the_whole_page_is_used_by_keyboard(seen: Watched) -> None:
    """Sort by a column's head, open a row, close it, turn the page: no mouse."""
    head = seen.page.locator(".tabulator-col[tabulator-field=gap]")
    head.focus()
    seen.page.keyboard.press("Enter")
    wait_until(lambda: set(seen.gaps()) == {"7.5"}, "the highest gaps first")  # sorts in a promise
    row = seen.page.locator(".tabulator-row").first
    row.focus()
    seen.page.keyboard.press("Enter")
    assert seen.page.locator("#detail").is_visible()
    assert seen.page.evaluate("document.activeElement.textContent") == "Close"
    seen.page.keyboard.press("Escape")
    assert not seen.page.locator("#detail").is_visible()
    assert row.evaluate("one => one === document.activeElement")
    seen.page.locator(".tabulator-page[data-page=next]").focus()
    seen.page.keyboard.press("Enter")
    assert seen.page.locator(".tabulator-page.active").inner_text() == "2"


def test_the_first_key_skips_to_the_instructions(browser: Browser, written: Path) -> None:
    watched = opened(browser, written, ready=False)
    watched.page.keyboard.press("Tab")
    assert watched.page.evaluate("document.activeElement.textContent") == "Skip to the instructions"
    watched.page.keyboard.press("Enter")
    watched.page.keyboard.press("Tab")
    assert watched.page.evaluate("document.activeElement.id") == "search"
    watched.page.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_shown_as_its_text(
    name: str, seen: Watched, pool: list[Instruction], written: Path
) -> None:
    row = pool[list(ATTACKS).index(name)]
    seen.page.fill("#search", row.id)
    assert seen.count() == 1
    seen.page.locator(".tabulator-row").click()
    shown = seen.page.locator("#detail .whole").evaluate_all("all => all.map(o => o.textContent)")
    assert row.answer is not None
    texts = [row.messages[0]["content"], row.answer.text, row.answer.text[::-1]]
    assert shown == [clipped(inert(one), page.CLIP) for one in texts]
    assert seen.page.evaluate("window.harm") is None
    assert seen.noise == [f"request: {written.as_uri()}"]


def test_no_attack_became_an_element(shared: Watched) -> None:
    """Also where plots, tables, choices and heads show the names of domains and categories."""
    shared.page.select_option(".tabulator-page-size", "100")
    made = "#table script, #table svg, #table img, #table a, #table style, img, iframe, object, b i"
    assert shared.page.locator(f"{made}, [onload], [onerror], [onmouseover]").count() == 0
    assert shared.page.locator("a:not([href^='#'])").count() == 0
    assert shared.page.locator("[style*=fixed]").count() == 0
    assert shared.page.locator("body").is_visible()
    told = shared.page.evaluate("document.documentElement.textContent")
    assert "\u202e" not in told and "\u2066" not in told
    assert shared.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_policy_stops_what_would_come_in(browser: Browser, written: Path) -> None:
    """What an attack would need is refused even to a script of the page itself."""
    watched = opened(browser, written, ready=False)
    refused = watched.page.evaluate(
        """async () => {
          const refused = [];
          document.addEventListener("securitypolicyviolation",
            event => refused.push(event.effectiveDirective));
          const script = document.createElement("script"), picture = new Image();
          script.textContent = "window.harm = 'inline'";
          document.body.append(script);
          picture.src = "http://127.0.0.1:9/x.png";
          document.body.setAttribute("onclick", "window.harm = 'handler'");
          document.body.click();
          await fetch("http://127.0.0.1:9/").catch(() => 0);
          await new Promise(done => setTimeout(done, 100));
          return refused;
        }"""
    )
    assert {"script-src-elem", "script-src-attr", "img-src", "connect-src"} <= set(refused)
    assert watched.page.evaluate("window.harm") is None
    watched.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_in_both_schemes(scheme: Any, seen: Watched) -> None:
    """The contrast is that of WCAG 2.2, level AA."""
    seen.page.emulate_media(color_scheme=scheme)
    back = luminance(seen, ".card", "backgroundColor")
    shades = {name: luminance(seen, name) for name in ("body", ".note", ".hard", ".easy", "a")}
    seen.page.emulate_media(color_scheme="null")
    assert (back < 0.5) == (scheme == "dark")
    for name, shade in shades.items():
        low, high = sorted([back, shade])
        assert (high + 0.05) / (low + 0.05) >= 4.5, name


def luminance(watched: Watched, selector: str, style: str = "color") -> float:
    """Return the relative luminance, 0 to 1 (WCAG 2.2), of an element's colour."""
    shade = watched.page.evaluate(
        "([selector, style]) => getComputedStyle(document.querySelector(selector))[style]",
        [selector, style],
    )
    parts = [int(one) / 255 for one in re.findall(r"\d+", shade)[:3]]
    line = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * line[0] + 0.7152 * line[1] + 0.0722 * line[2]


def test_the_page_fits_a_phone(browser: Browser, written: Path, pool: list[Instruction]) -> None:
    """At 390 px nothing is cut off, and each row still shows both answers."""
    watched = opened(browser, written, viewport={"width": 390, "height": 844}, has_touch=True)
    assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wide = watched.page.locator(".plot svg text").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert max(wide) <= 390
    plain = pool[-1]
    watched.page.fill("#search", plain.id)
    shown = watched.page.locator(".tabulator-row").inner_text()
    assert plain.answer is not None
    assert "Teacher" in shown and plain.answer.text[:40] in shown
    heights = watched.page.locator("#filters input, #filters select").evaluate_all(
        "all => all.map(one => one.offsetHeight)"
    )
    assert min(heights) >= 24  # target size, WCAG 2.2, level AA
    for name in ("#leading .tile", "#plots .scroll th"):
        cut = watched.page.locator(name).evaluate_all(
            "all => all.map(one => one.scrollWidth - one.clientWidth)"
        )
        assert max(cut) <= 1, name
    columns = watched.page.locator("article", has_text="The iterations").locator("th")
    right = dict(
        zip(
            columns.all_inner_texts(),
            columns.evaluate_all("all => all.map(one => one.getBoundingClientRect().right)"),
            strict=True,
        )
    )
    assert max(right[name] for name in ("iteration", "right on the exam", "quality", "hard")) <= 390
    watched.page.close()


@pytest.mark.parametrize("width", [420, 800, 1400])
def test_no_choice_of_a_control_is_cut(width: int, browser: Browser, written: Path) -> None:
    """The words of Lion's own choices; names of domains are as long as a user makes them."""
    watched = opened(browser, written, viewport={"width": width, "height": 900})
    room = watched.page.locator("#sort, #verdict, #origin").evaluate_all(
        """all => all.map(one => {
          const shown = document.createElement("span"), style = getComputedStyle(one);
          Object.assign(shown.style, {font: style.font, position: "absolute", whiteSpace: "pre"});
          document.body.append(shown);
          const widths = [...one.options].map(({text}) => {
            shown.textContent = text;
            return shown.getBoundingClientRect().width;
          });
          shown.remove();
          return one.clientWidth - 45 - Math.max(...widths);  // padding and arrow
        })"""
    )
    assert min(room) >= 0
    watched.page.close()


def test_print_is_ink_on_paper(seen: Watched) -> None:
    seen.page.emulate_media(media="print", color_scheme="dark")
    hidden = [seen.page.locator(name).is_visible() for name in ("nav", "#filters", "#detail")]
    paper, ink = luminance(seen, "body", "backgroundColor"), luminance(seen, "body")
    printed = seen.page.pdf()
    seen.page.emulate_media(media="null", color_scheme="null")
    assert hidden == [False, False, False]
    assert paper == 1 and ink < 0.1
    assert printed.startswith(b"%PDF")


def test_the_libraries_are_the_versions_that_are_named() -> None:
    folder = Path(page.__file__).parents[1] / "assets"
    named = dict(re.findall(r"\| `([\w.-]+)`.*?\| ([\d.]+) \|", (folder / "README.md").read_text()))
    assert len(named) == 4
    for name, version in named.items():
        assert version in (folder / name).read_text(encoding="utf-8"), name


def test_the_same_run_is_the_same_page(written: Path) -> None:
    again = written.with_name("again.html")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(written.parent)
        CliRunner().invoke(main, ["report", "--out", str(again)])
    assert again.read_bytes() == written.read_bytes()


def text(row: Instruction) -> str:
    return row.messages[0]["content"]


def sought(row: Instruction) -> str:
    """Return what a search looks into: the id and the texts as the page has them."""
    assert row.answer is not None
    texts = [row.messages[0]["content"], row.answer.text]
    return "\n".join([row.id, *(clipped(inert(one), page.CLIP) for one in texts)]).lower()

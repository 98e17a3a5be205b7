"""The page of `dvc plots show` in a real browser: every plot is drawn, and nothing is fetched."""

import csv
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from running import Finished

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PLOTS = {
    "Student_against_teacher_on_the_exam",
    "Quality_against_the_teacher",
    "Hard_share",
    "Training_loss",
}
SEEN = re.compile(r'<pre id="seen">(.*?)</pre>', re.DOTALL)

# Listens before the first plot is drawn, and writes what came of them into the page itself.
PROBE = """
<script>
  const views = {}, errors = [], embed = vegaEmbed;
  window.addEventListener("error", event => errors.push(event.message));
  vegaEmbed = (at, spec) => embed(at, spec).then(
    made => { views[at.slice(1)] = made.view; }, error => errors.push(String(error)));
  const lines = item => item.marktype === "line" && item.role === "mark"
    ? item.items.map(one => one.datum) : (item.items || []).flatMap(lines);
  const ink = canvas => new Uint32Array(canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height).data.buffer)
    .reduce((sum, pixel) => sum + (pixel !== 0 && pixel !== 0xffffffff), 0);
  window.addEventListener("load", () => setTimeout(() => {
    const seen = {errors, fetched: performance.getEntriesByType("resource").map(one => one.name),
      drawn: {}, ink: {}};
    for (const [id, view] of Object.entries(views)) {
      seen.drawn[id] = lines(view.scenegraph().root);
      seen.ink[id] = ink(document.querySelector(`#${id} canvas`));
    }
    const told = document.createElement("pre");
    told.id = "seen";
    told.textContent = JSON.stringify(seen);
    document.body.append(told);
  }, 1000));
</script>
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def seen(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what a browser made of the page: lines, inked pixels, errors, resources."""
    folder = tmp_path_factory.mktemp("page")
    shown = finished.project.dvc("plots", "show", "--out", str(folder))
    assert shown.code == 0, shown.output
    page = folder / "index.html"
    text = page.read_text(encoding="utf-8")
    head, body, plots = text.rpartition("\n<body>\n")  # vega's own text has one as well
    page.write_text(f"{head}{body}{PROBE}{plots}", encoding="utf-8")
    found = SEEN.search(_browse(page, folder / "profile"))
    assert found is not None, "the page did not come to its end"
    return json.loads(html.unescape(found[1]))


def _browse(page: Path, profile: Path) -> str:
    """Return the page's document after its scripts ran."""
    switches = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    switches += " disable-component-update disable-sync dump-dom virtual-time-budget=5000"
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless=new",
            *(f"--{switch}" for switch in switches.split()),
            f"--user-data-dir={profile}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def _report(finished: Finished, name: str, column: str) -> list[float]:
    """Return a column of the report; an iteration without a figure has no point."""
    with (finished.project.root / "report" / name).open(newline="") as file:
        return [float(row[column]) for row in csv.DictReader(file) if row[column]]


def test_every_plot_is_drawn(seen: Any) -> None:
    assert seen["errors"] == []
    assert seen["drawn"].keys() == PLOTS
    assert [name for name, pixels in seen["ink"].items() if pixels < 1000] == []


def test_nothing_is_fetched(seen: Any) -> None:
    assert seen["fetched"] == []


@pytest.mark.parametrize(
    ("plot", "column"),
    [("Quality_against_the_teacher", "quality_percent"), ("Hard_share", "hard_share")],
)
def test_what_is_drawn_is_what_the_report_says(
    plot: str, column: str, seen: Any, finished: Finished
) -> None:
    """A figure that an iteration does not have (the base has no hard share) is no point."""
    expected = _report(finished, "progress.csv", column)
    assert expected
    assert [point["value"] for point in seen["drawn"][plot]] == pytest.approx(expected)


def test_the_teacher_is_drawn_beside_the_student(seen: Any, finished: Finished) -> None:
    points = seen["drawn"]["Student_against_teacher_on_the_exam"]
    for column in ("accuracy_share", "teacher_accuracy_share"):
        drawn = [point["value"] for point in points if point["field"] == column]
        assert drawn == pytest.approx(_report(finished, "progress.csv", column))


def test_every_step_of_training_is_drawn(seen: Any, finished: Finished) -> None:
    drawn = [point["value"] for point in seen["drawn"]["Training_loss"]]
    assert sorted(drawn) == pytest.approx(sorted(_report(finished, "loss.csv", "loss")))

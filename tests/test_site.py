"""What a reader sees before any code: links, spelling, plain words, the built pages, the README."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from documents import PAGES
from pipeline import ROOT
from test_house import BANNED

import lion

toc = pytest.importorskip("markdown.extensions.toc", reason="no mkdocs: pip install -e '.[docs]'")

README_LINES, README_WORDS = 150, 1200
# mkdocs checks the links of the others
OUTSIDE = [ROOT / "CHANGELOG.md", *(page for page in PAGES if page.parent == ROOT)]
WORDS = ROOT / "tests" / "words.txt"  # banned word -> plain word
TEXTS = ("docs", "prompts", "params.yaml", "profiles", "dvc.yaml", "launchers", "mkdocs.yml")
LINK = re.compile(r"\]\(([^)\s]+)\)")
RESOURCE = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=[\"']?(https?:)?//[^>]*>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=dict.fromkeys(("NO_MKDOCS_2_WARNING", "DISABLE_MKDOCS_2_WARNING"), "1"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "a warning"
    return folder


def test_the_pages_build_without_a_warning_and_load_nothing_from_elsewhere(site: Path) -> None:
    """Strict: a link, an anchor or a page that is missing is an error."""
    built = list(site.rglob("*.html"))
    assert len(built) > len(list((ROOT / "docs").rglob("*.md")))  # and the page for 404
    loaded = [tag[0] for page in built for tag in RESOURCE.finditer(page.read_text())]
    assert loaded == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {toc.slugify(heading.replace("`", ""), "-") for heading in headings}


@pytest.mark.parametrize("page", OUTSIDE, ids=[page.name for page in OUTSIDE])
def test_each_link_outside_docs_leads_to_a_file_and_a_heading(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if ":" not in link]
    for link in links:
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_one_screen_and_a_little() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES
    assert len(text.split()) <= README_WORDS


def misspelt(dictionaries: Sequence[str], texts: Sequence[str], cwd: Path = ROOT) -> str:
    """Return what codespell finds; pyproject.toml names the words that it accepts."""
    options = [word for name in dictionaries for word in ("--dictionary", name)]
    config = ["--toml", str(ROOT / "pyproject.toml")]
    command = [sys.executable, "-m", "codespell_lib", *config, *options, *texts]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


def test_spelling() -> None:
    pages = [str(page.relative_to(ROOT)) for page in OUTSIDE]
    assert misspelt(["-"], [*pages, *TEXTS, "lion", "stages"]) == ""


def test_plain_words() -> None:
    """Each line of tests/words.txt is a banned word and the plain one; messages keep to it, too."""
    pages = [str(page.relative_to(ROOT)) for page in OUTSIDE]
    assert misspelt([str(WORDS)], [*pages, *TEXTS]) == ""
    found = misspelt([str(WORDS)], ["lion", "stages"])
    # the words of answers, which a scorer looks for
    assert [line for line in found.splitlines() if "discrimination/number_" not in line] == []


def test_a_banned_and_a_misspelt_word_are_seen(tmp_path: Path) -> None:
    shutil.copy(ROOT / "README.md", tmp_path)
    with (tmp_path / "README.md").open("a") as page:
        page.write("\nNobody recieves it.\n")
    assert "No one" in misspelt([str(WORDS)], ["README.md"], tmp_path)
    assert "receives" in misspelt(["-"], ["README.md"], tmp_path)


def test_no_metaphor_of_the_house_is_in_a_page() -> None:
    """The phrases that are banned in docstrings and comments; words.txt has single words only."""
    texts = {page: re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8")) for page in PAGES}
    found = [f"{page.name}: {hit[0]}" for page in PAGES for hit in BANNED.finditer(texts[page])]
    assert found == []


def test_the_citation_has_what_readers_of_it_want() -> None:
    """The required keys of Citation File Format 1.2.0; the version is the package's own."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == lion.__version__
    for work in (cited, *cited["references"]):
        assert work["title"] and work["type"]
        assert all(
            "name" in who or {"family-names", "given-names"} <= set(who) for who in work["authors"]
        )


def test_every_page_that_code_and_settings_name_is_there() -> None:
    """A sentence of code or a comment that sends a reader to a page sends nobody into the void."""
    places = [*ROOT.glob("*.yaml"), *ROOT.glob("profiles/*.yaml"), ROOT / "CHANGELOG.md"]
    places += [
        path for folder in ("lion", "stages", "bench") for path in ROOT.glob(f"{folder}/**/*.py")
    ]
    named = {
        (str(path.relative_to(ROOT)), page)
        for path in places
        for page in re.findall(r"(?<![\w/:])docs/[a-z/-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert {pair for pair in named if not (ROOT / pair[1]).exists()} == set()

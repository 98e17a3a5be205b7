"""Templates: the files that ship are whole, and a wrong one never gets asked."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lion.errors import DataError
from lion.prompting import templates

SHIPPED = Path(__file__).parents[1] / "prompts"
GENERATOR = templates.load(SHIPPED / "generator", "generator")
SEED = "Marks carry $fence.\n[Given $fence]\n$instruction\n[End $fence]\n"


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """Make a folder of a generator that a test may spoil."""
    for name in templates.VARIABLES["generator"]:
        text = (SHIPPED / "generator" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name, text in (("system.txt", "You write.\n"), ("hard.txt", SEED), ("easy.txt", SEED)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_prompt_that_ships_is_valid_and_known() -> None:
    """The folders in prompts/ load, and hold exactly the files that the code fills."""
    assert {folder.name for folder in SHIPPED.iterdir()} == set(templates.VARIABLES)
    for role, files in templates.VARIABLES.items():
        loaded = templates.load(SHIPPED / role, role)
        assert set(loaded.templates) == set(files) == {p.name for p in (SHIPPED / role).iterdir()}


def test_rendering_fills_every_variable_and_drops_the_last_newline(generator: Path) -> None:
    """A worked example."""
    loaded = templates.load(generator, "generator")
    assert loaded.render("hard.txt", fence="ab", instruction="Sort.") == (
        "Marks carry ab.\n[Given ab]\nSort.\n[End ab]"
    )
    assert loaded.render("system.txt") == "You write."


@given(value=st.text() | st.sampled_from(["$fence", "${fence}", "$$", "$", "a $5 bill", "%s {x}"]))
def test_a_value_is_inserted_as_it_is(value: str) -> None:
    """Whatever a value contains, dollars included, it comes through unchanged and unread."""
    empty = GENERATOR.render("hard.txt", fence="f", instruction="\0")
    filled = GENERATOR.render("hard.txt", fence="f", instruction=value)
    assert filled == empty.replace("\0", value)


def test_two_dollars_are_a_literal_one(generator: Path) -> None:
    """`$$` in a file becomes `$`."""
    (generator / "system.txt").write_text("Win $$5.", encoding="utf-8")
    assert templates.load(generator, "generator").render("system.txt") == "Win $5."


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("hard.txt", "$fence only", r"hard\.txt.*does not use \$instruction"),
        ("easy.txt", SEED + "$topic", r"easy\.txt.*may not use \$topic"),
        ("easy.txt", "$topik $fence", r"may not use \$topik and does not use \$instruction"),
        ("system.txt", "Hello $fence", r"system\.txt.*may not use \$fence"),
        ("hard.txt", SEED + "for $5", r"hard\.txt.*write `\$\$`"),
        ("extra.txt", "x", r"extra\.txt.*no such prompt"),
    ],
)
def test_a_wrong_file_is_named_with_its_variable(
    generator: Path, name: str, text: str, told: str
) -> None:
    """A missing, unused or malformed variable is found at load, before anyone is asked."""
    (generator / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        templates.load(generator, "generator")


def test_an_absent_file_is_named(generator: Path) -> None:
    """So is a file that is not there."""
    (generator / "easy.txt").unlink()
    with pytest.raises(DataError, match=r"easy\.txt: this prompt is missing"):
        templates.load(generator, "generator")


def test_a_file_that_is_not_utf8_is_named(generator: Path) -> None:
    """Latin-1 is refused, not guessed."""
    (generator / "system.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"system\.txt: not UTF-8"):
        templates.load(generator, "generator")


def test_a_byte_order_mark_and_windows_newlines_are_not_part_of_a_prompt(generator: Path) -> None:
    """The same prompt checked out on Windows renders the same request."""
    (generator / "system.txt").write_bytes(b"\xef\xbb\xbfOne.\r\nTwo.\r\n")
    assert templates.load(generator, "generator").render("system.txt") == "One.\nTwo."


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"fence": "f"}, r"hard\.txt: the prompt was given no \$instruction"),
        ({"fence": "f", "instruction": "i", "seed": "s"}, r"does not use \$seed"),
    ],
)
def test_rendering_takes_exactly_the_variables(
    generator: Path, values: dict[str, str], told: str
) -> None:
    """A caller that forgets a value, or brings one too many, is told which."""
    with pytest.raises(DataError, match=told):
        templates.load(generator, "generator").render("hard.txt", **values)


def test_the_fence_is_the_start_of_a_sha256() -> None:
    """As `sha256sum` says of `["a", "b"]`."""
    assert templates.fence("a", "b") == "3554d2b8"


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_other_texts_have_another_fence(one: list[str], other: list[str]) -> None:
    """Equal exactly where the texts are; also where only the boundary between two moved."""
    assert (templates.fence(*one) == templates.fence(*other)) == (one == other)

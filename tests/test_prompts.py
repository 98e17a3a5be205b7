"""Templates: the files that ship are whole, and a wrong one never gets asked."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lion.errors import DataError
from lion.prompting import generator as generators
from lion.prompting import judge, teacher, templates
from lion.prompting.protocol import Reply, Usage
from lion.records.rows import Instruction

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
    assert {folder.name for folder in SHIPPED.iterdir()} - {"paper"} == set(templates.VARIABLES)
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


@pytest.fixture
def papers_prompts(tmp_path: Path) -> Path:
    """Return the project's prompts with the paper's laid over them (docs/concepts/method.md)."""
    shutil.copytree(SHIPPED, tmp_path / "prompts")
    shutil.copytree(SHIPPED / "paper", tmp_path / "prompts", dirs_exist_ok=True)
    return tmp_path / "prompts"


def test_the_papers_prompts_are_the_authors(papers_prompts: Path) -> None:
    """Worked by hand from YJiangcm/Lion, src/chatgpt_inference.py and src/prompt_hard.txt."""
    row = Instruction.new([{"role": "user", "content": "Say yes."}], origin="seed", iteration="0")
    taught = teacher.answer_request(row, templates.load(papers_prompts / "teacher", "teacher"))
    assert [turn["content"] for turn in taught.messages] == [
        "You are a helpful assistant that generates a response to a given task instruction.",
        "### Instruction:\nSay yes.\n\n### Response:",
    ]
    prompts = templates.load(papers_prompts / "generator", "generator")
    asked = generators.generation_request("Say yes.", "hard", prompts, 0).messages[-1]["content"]
    assert asked.startswith("I want you to act as an Instruction Creator.\nYour goal")
    assert asked.endswith("#Given Instruction#:\n\nSay yes.\n\n#Created Instruction#:")


def test_a_reply_to_the_papers_referee_is_read(papers_prompts: Path) -> None:
    """Its form is that of the authors, `Score of the Assistant 1`."""
    prompts = templates.load(papers_prompts / "referee", "referee")
    asked = judge.review_request("Q?", "right", "wrong", "student_first", prompts)
    text = asked.messages[-1]["content"]
    assert text.startswith("[Instruction]\nQ?\n\n[The Start of Assistant 1's Answer]\nwrong\n")
    reply = Reply(
        "Evaluation evidence: so.\nScore of the Assistant 1: 3\nScore of the Assistant 2: 9",
        "stop",
        "m",
        Usage(1, 1),
    )
    review = judge.parse_review("id", "student_first", reply, ["wrong", "right"])
    assert (review.teacher_score, review.student_score) == (9, 3)


def test_a_fence_is_left_out_only_beside_the_note(papers_prompts: Path) -> None:
    (papers_prompts / "referee" / templates.UNFENCED).unlink()
    with pytest.raises(DataError, match=r"user\.txt.*does not use \$fence"):
        templates.load(papers_prompts / "referee", "referee")

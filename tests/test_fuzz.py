"""Foreign bytes, mutated: what was read or a reason, never another error (tests/foreign.py)."""

import json

import pytest
from foreign import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline import ROOT

CORPORA = ROOT / "tests" / "corpora"
DEEP = b"[" * 20_000
PIECES = [b"", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"NaN", b"1e999", b"9" * 5000, DEEP, b"null"]


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Cut a seed at two places and put something else between."""
    seed = draw(st.sampled_from(seeds))
    first, second = sorted(draw(st.tuples(*[st.integers(0, len(seed))] * 2)))
    between = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=40)))
    return seed[:first] + between + seed[second:]


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused_with_a_reason(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=60,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(mutated(target.seeds), st.binary(max_size=200)))
    def holds(content: bytes) -> None:
        target.parse(content)

    holds()


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_fuzzer_found_is_read_or_refused(name: str) -> None:
    """bench/fuzz.py keeps it; the seeds are where it began."""
    found = [path.read_bytes() for path in sorted((CORPORA / name).glob("*"))]
    for content in (*TARGETS[name].seeds, *found):
        TARGETS[name].parse(content)


def test_seeds_are_read_well() -> None:
    """Else nothing but refusals would be tested."""
    from lion.prompting import judge_parser, protocol

    assert isinstance(judge_parser.from_text(TARGETS["scores"].seeds[0].decode()), tuple)
    assert isinstance(protocol.parse(TARGETS["replies"].seeds[0]), protocol.Reply)
    assert json.loads(TARGETS["exams"].seeds[0])

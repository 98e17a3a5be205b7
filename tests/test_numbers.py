"""Numbers are compared as what they are: no fraction by its denominator, no time by its minutes."""

import itertools
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lion.config.settings import Scorer
from lion.discrimination import number_marks, scorers
from lion.discrimination.math_process import MathProcess
from lion.discrimination.scorers import Mark

NUMBER = Scorer(kind="number", option=None)
MATH = Scorer(kind="math", option=None)

# each table by what it is about: pairs of an answer and what is expected
RIGHT: dict[str, list[tuple[str, str]]] = {
    "fractions": [
        ("1/2", "1/2"),
        ("0.5", "1/2"),
        ("\\frac{1}{2}", "1/2"),
        ("$\\dfrac{1}{2}$", "0.5"),
        ("\xbd", "1/2"),
        ("1 1/2", "3/2"),
        ("1\xbd", "1.5"),
        ("2\\frac{1}{2}", "5/2"),
        ("2 1/4", "2.25"),
        ("1 and 1/2", "1.5"),
        ("3/6", "1/2"),
        ("-1/2", "-\\frac{1}{2}"),
        ("-\\frac12", "-0.5"),
        ("11 5/6", "71/6"),
        ("10/2", "5"),
        ("The probability is 3/4.", "0.75"),
        ("The answer is 1/2 cup", "1/2"),
    ],
    "times, ratios": [
        ("3:45", "3:45"),
        ("It ends at 3:45 PM.", "3:45"),
        ("15:45", "3:45 PM"),
        ("3:45 p.m.", "15:45"),
        ("3 PM", "3:00 PM"),
        ("3 PM", "3"),
        ("3:4", "3:4"),
        ("3 : 4", "3:4"),
    ],
    "thousands": [
        ("9{,}500", "9500"),
        ("9500", "9{,}500"),
        ("1,234.5", "1234.5"),
        ("1.234,5", "1234.5"),
        ("1 234", "1234"),
        ("1'234", "1234"),
        ("1\u202f234,50", "1234.5"),
        ("12,34,567", "1234567"),
        ("1.234.567", "1234567"),
        ("1_000", "1000"),
        ("9\\,500", "9500"),
        ("9,\\!500", "9500"),
        ("2,5 kg", "2.5"),
        ("0,125", "1/8"),
        ("1234,567", "567"),
        ("1,2,3", "3"),
        ("1, 2, 3", "3"),
        ("10-4", "4"),
        ("GPT-4", "4"),
        ("50%", "50"),
        ("$8,000", "8000"),
        ("8,000", "8{,}000"),
    ],
    "currency, percent": [
        ("$29.00", "29"),
        ("29", "$29.00"),
        ("5 euros", "\u20ac5"),
        ("$0.50", "50 cents"),
        ("50 percent", "50%"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("US$5", "5 dollars"),
        ("\xa35", "5"),
        ("\\$32{,}348", "32348"),
        ("100 USD", "$100"),
    ],
    "signs": [
        ("\u22123", "-3"),
        ("\u20133", "-3"),
        ("x = - 5", "-5"),
        ("- 5", "5"),
        ("+5", "5"),
    ],
    "sci": [
        ("1.5e3", "1500"),
        ("3 x 10^8", "300000000"),
        ("3 \\times 10^{8}", "3e8"),
        ("3\xd710\u2078", "3e8"),
        ("10^8", "1e8"),
        ("2^10", "1024"),
        ("2*10**3", "2000"),
        ("1.2 million", "1200000"),
        ("6.02\\cdot10^{23}", "6.02e23"),
        ("10^{-3}", "0.001"),
    ],
    "units": [
        ("5 km", "5000 m"),
        ("5 kg", "5"),
        ("5", "5 kg"),
        ("90^\\circ", "90"),
        ("90\xb0", "90"),
        ("5 cm^2", "5"),
        ("5 cm\xb2", "5 cm^2"),
        ("12 apples", "12 oranges"),
        ("60 km/h", "60 km/h"),
        ("60 km/h", "60 kph"),
        ("2 hours", "120 minutes"),
        ("5\\text{ cm}", "5"),
        ("20 \xb0C", "20"),
    ],
    "tuples": [
        ("(1, 2)", "(1, 2)"),
        ("(1,2)", "(1, 2)"),
        ("1, 2", "(1, 2)"),
        ("\\left(1, \\frac{9}{2}\\right)", "(1,4.5)"),
        ("x = 1 and y = 2", "(1, 2)"),
        ("\\{1,2,3\\}", "{3,2,1}"),
        ("1, 2, 3", "1, 2, 3"),
        ("(1,234)", "(1, 234)"),
        ("The solutions are x = 2 and x = -3.", "2, -3"),
    ],
    "ranges": [
        ("3-5", "3-5"),
        ("3\u20135", "3 to 5"),
        ("between 3 and 5", "3-5"),
        ("from 10 to 12", "12"),
        ("5-3", "3"),
    ],
    "dates": [
        ("2024-03-12", "2024-03-12"),
        ("March 12, 2024", "2024-03-12"),
        ("12.03.2024", "2024-03-12"),
        ("12 March 2024", "12.3.2024"),
        ("03/13/2024", "2024-03-13"),
        ("July 20, 1969", "1969"),
    ],
    "versions": [
        ("3.11.4", "3.11.4"),
    ],
    "markers": [
        ("so 5+7 = 12\n#### 12", "#### 12"),
        ("#### 1,234", "1234"),
        ("The answer is 72 clips, in 2 months.", "72"),
        ("The answer is: $\\boxed{42}$ (see 3 steps)", "42"),
        ("\\boxed{\\frac{1}{2}}", "1/2"),
        ("**Answer:** 42\n\nI checked 3 times.", "42"),
        ("The total is 72, in total, so the farmer earns that much.", "72"),
        ("Answer: 5 + 7 = 12", "12"),
        ("The answer is **29.00**.", "29"),
        ("Final Answer: The final answer is $5$. I hope it is correct.", "5"),
        ("The answer is 5 boxes of 12.", "5"),
        ("Die Antwort lautet 2,5.", "2.5"),
        ("\u7b54\u6848\u662f42\u3002", "42"),
        ("\\boxed{9{,}500}", "9500"),
        ("#### 70000", "The cost came to 80,000+50,000=$<<80000+50000=130000>>130,000\n#### 70000"),
        ("So he has 5 apples left.\n\nAnswer:\n5", "5"),
        ("the answer is the sum of 5 and 7, which is 12.", "12"),
    ],
    "prose expected": [
        ("12", "She has 12 apples."),
        ("12", "5 + 7 = 12"),
        ("12", "There are 5.\nSo she has 12 apples."),
        ("0.5", ".5"),
        ("5", "half of 10 is 5"),
        ("4", "x = 4"),
    ],
    "symbols": [
        ("3rd", "3"),
        ("3", "3rd"),
        ("\u0664\u0662", "42"),
        ("\uff14\uff12", "42"),
        ("#5", "5"),
        ("The answer is 5!", "5"),
        ("**The answer is 5!**", "5"),
        ("That makes 5! Well done.", "5"),
        ("It costs $5!", "$5"),
        ("5 apples!", "5"),
        ("5! = 120", "120"),
        ("The answer is 5! = 120", "120"),
        ("The answer is 5! = 120.", "120"),
    ],
}

WRONG: dict[str, list[tuple[str, str]]] = {
    "not evaluated": [
        ("log 2", "2"),
        ("sin 30", "30"),
        ("sqrt(2)", "2"),
        ("0x1F", "1"),
        ("10\u2082", "10"),
        ("v1.2.3", "3"),
        ("5!", "5"),
        ("\\boxed{5!}", "5"),
        ("The answer is $5!$", "5"),
        ("x = 5!", "5"),  # a factorial or a cheer: undecidable, so no 5
        ("2+3 = 5!", "5"),
        ("5!/3!", "3"),
        ("There are 3!2!", "2"),
        ("There are 5! ways to arrange them.", "5"),
        ("The answer is 5! = 120", "5"),
    ],
    "fractions": [
        ("5/2", "1/2"),
        ("2", "1/2"),
        ("2 1/4", "1/4"),
        ("4 10/3", "10"),
        ("10/2", "2"),
        ("1/0", "1"),
        ("1/0", "0"),
        ("1/2/3", "3"),
        ("\\frac{\\sqrt{3}}{2}", "2"),
    ],
    "times, ratios": [
        ("10:45", "3:45"),
        ("3:45 AM", "3:45 PM"),
        ("45", "3:45"),
        ("10:45", "45"),
        ("1:30:00", "1:30"),
        ("12:30", "12:31"),
    ],
    "thousands": [
        ("500", "9{,}500"),
        ("1 234", "234"),
        ("1,2", "2"),
        ("2,5", "5"),
    ],
    "currency, percent": [
        ("\u20ac5", "$5"),
        ("50%", "0.5"),
        ("5 %", "$5"),
    ],
    "signs": [
        ("-3", "3"),
        ("3", "-3"),
        ("\xb12", "2"),
    ],
    "sci": [
        ("5 million", "5"),
    ],
    "units": [
        ("5 kg", "5 g"),
        ("5 cm", "5 cm^2"),
        ("60 km/h", "60 mph"),
    ],
    "tuples": [
        ("(2, 1)", "(1, 2)"),
        ("2", "(1, 2)"),
        ("(1, 2)", "2"),
        ("[1, 2]", "(1, 2)"),
        ("3", "1, 2, 3"),
        ("1, 2, 4", "1, 2, 3"),
        ("[0, 1)", "(0, 1]"),
    ],
    "ranges": [
        ("5", "3-5"),
        ("3-5", "5"),
    ],
    "dates": [
        ("12", "2024-03-12"),
        ("03/12/2024", "2024-03-12"),
        ("July 21, 1969", "July 20, 1969"),
        ("July 4", "August 4"),
        ("4", "July 4"),
        ("2024-03-12", "12"),
    ],
    "versions": [
        ("3.12.4", "3.11.4"),
        ("4", "3.11.4"),
    ],
    "markers": [
        ("The answer is 10-4", "4"),
    ],
    "prose expected": [
        ("5", ".5"),
    ],
    "symbols": [
        ("5\\sqrt{3}", "3"),
        ("2\\pi", "2"),
        ("2\u03c0", "2"),
        ("x^2", "2"),
        ("0.\\overline{3}", "3"),
        ("1010_2", "2"),
        ("four", "4"),
        ("nan inf", "4"),
        ("1e999999999", "4"),
    ],
}

REFUSED: dict[str, list[tuple[str, str]]] = {
    "not evaluated": [
        ("2", "log 2"),
        ("30", "sin 30"),
        ("2", "10\u2082"),
        ("31", "0x1F"),
        ("0", "1/0"),
        ("5", "5!"),
        ("5", "\\boxed{5!}"),
        ("2", "5!/3!"),
    ],
    "fractions": [
        ("10", "4 10/3"),
    ],
    "signs": [
        ("2", "\xb12"),
    ],
    "dates": [
        ("2024-03-13", "03/12/2024"),
    ],
    "prose expected": [
        ("7", "3 apples and 4 pears"),
        ("4", "3 apples and 4 pears"),
        ("3", "I have 3 apples and 4 pears"),
        ("4", "x = 3\ny = 4"),
        ("4", "The first is 3 and the second is 4"),
    ],
    "symbols": [
        ("3", "2\\sqrt{3}"),
        ("3", "3x"),
        ("12", "B12"),
        ("2", "2n+1"),
        ("5", "x > 5"),
        ("10", "1010_2"),
        ("4", "four"),
    ],
}


def pairs(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    return list(itertools.chain.from_iterable(table.values()))


def mark(answer: str, expected: str, scorer: Scorer = NUMBER) -> Mark:
    return scorers.score(answer, expected, scorer, "row-1")


@pytest.mark.parametrize(("answer", "expected"), pairs(RIGHT))
def test_the_same_value_in_another_writing_is_right(answer: str, expected: str) -> None:
    assert mark(answer, expected) == Mark(True)


@pytest.mark.parametrize(("answer", "expected"), pairs(WRONG))
def test_a_value_that_shares_its_last_digits_is_wrong(answer: str, expected: str) -> None:
    assert mark(answer, expected).correct is False


@pytest.mark.parametrize(("answer", "expected"), pairs(REFUSED))
def test_what_is_no_single_value_marks_no_answer(answer: str, expected: str) -> None:
    """Neither right nor wrong, whatever the answer; the reason says what to do."""
    marked = mark(answer, expected)
    assert marked.correct is None
    assert marked.reason is not None
    assert marked.reason == number_marks.NO_NUMBER or "write the answer alone" in marked.reason


def test_a_mark_says_of_which_kind_the_answer_is() -> None:
    assert mark("10:45", "45") == Mark(False, "the answer is a time, not a number")
    assert mark("12", "10:45") == Mark(False, "no time in the answer")
    assert mark("2π", "2") == Mark(False, "the answer is an expression, which is not evaluated")


# --- properties --------------------------------------------------------------------------------


def grouped(digits: str, mark: str) -> str:
    return f"{int(digits):,}".replace(",", mark)


def indian(digits: str) -> str:
    head, tail = digits[:-3], digits[-3:]
    groups = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)]
    return ",".join([*reversed(groups), tail])


def renderings(value: Decimal) -> list[str]:
    """Return what people and models write for `value`: each in itself, then inside an answer."""
    sign, plain = "-" if value < 0 else "", f"{abs(value):f}"
    whole, _, decimals = plain.partition(".")
    point, comma = (f"{mark}{decimals}" if decimals else "" for mark in ".,")
    bare = [
        plain,
        *(grouped(whole, mark) + point for mark in (",", " ", "\u202f", "'", "_", "{,}")),
    ]
    bare += [grouped(whole, r"\,") + point, indian(whole) + point if len(whole) > 3 else plain]
    # one group and three decimals could be either: people write 1.234 and 1,234 for both
    if decimals and (len(decimals) != 3 or (1 < len(whole) > 3)):
        bare += [grouped(whole, mark) + comma for mark in (".", " ", "'") if len(whole) > 3]
    if decimals and len(decimals) != 3:
        bare.append(whole + comma)
    full_width = str.maketrans({str(digit): chr(0xFF10 + digit) for digit in range(10)})
    bare.append(plain.translate(full_width))
    fraction = Fraction(abs(value))
    bare += [f"{fraction.numerator}/{fraction.denominator}"]
    bare += [rf"\frac{{{fraction.numerator}}}{{{fraction.denominator}}}", f"{plain}e0"]
    signed = [
        f"{minus}{text}" for text in bare for minus in ([sign] if not sign else ["-", "\u2212"])
    ]
    around = [
        "{}",
        "${}$",
        r"\boxed{{{}}}",
        "#### {}",
        "**{}**",
        "The answer is {}.",
        "x = {}",
        "{} cm",
    ]
    return [form.format(text) for text in signed for form in around]


NUMERALS = st.decimals(-(10**9), 10**9, places=2).map(Decimal.normalize) | st.integers(
    -(10**9), 10**9
).map(Decimal)


@settings(max_examples=12, deadline=None)
@given(NUMERALS)
def test_every_writing_of_a_number_is_that_number(value: Decimal) -> None:
    texts = renderings(value)
    for text in texts:
        assert mark(text, f"{value:f}") == Mark(True), text
    for text in texts[::5]:
        assert mark(f"{value:f}", text) == Mark(True), text


@settings(max_examples=25, deadline=None)
@given(NUMERALS, NUMERALS)
def test_no_writing_of_a_number_is_another_one(value: Decimal, other: Decimal) -> None:
    if value == other:
        other += 1
    for text in renderings(value)[::7]:
        assert mark(text, f"{other:f}").correct is False, text
        assert mark(f"{other:f}", text).correct is False, text


KINDS = [
    "7", "3:45", "3:4", "7/2", "2024-03-12", "(3, 45)", "3-45", "3.4.5", "345", "45", "7 %", "-7",
    "3.45", "\\sqrt{7}",
]  # fmt: skip


@pytest.mark.parametrize(("text", "other"), list(itertools.permutations(KINDS, 2)))
def test_no_two_kinds_are_equal(text: str, other: str) -> None:
    if {text, other} == {"7", "7 %"}:
        assert mark(text, other).correct is True  # a unit counts where both have one
    elif "sqrt" in other:
        assert mark(text, other).correct is None
    else:
        assert mark(text, other).correct is False


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.,:/-+ ()[]{}$%^\\\nxkmeans=", max_size=24))
def test_whatever_the_text_it_is_itself_or_refused(text: str) -> None:
    assert mark(text, text).correct is not False or not text.strip()


@settings(max_examples=300, deadline=None)
@given(*[st.text("0123,.:/- ()%", min_size=1, max_size=6)] * 2)
def test_equality_is_symmetric(text: str, other: str) -> None:
    """Of texts of one kind: a list is none of a number, while an answer may end in a list."""
    kinds = [number_marks.expected_readings(part) for part in (text, other)]
    if all(isinstance(found, tuple) for found in kinds) and kinds[0][0].kind == kinds[1][0].kind:
        assert mark(text, other) == mark(other, text)


LONG = {
    "digits": "1" * 8_000, "pairs": "1," * 4_000, "groups": "1" + ".111" * 2_000 + ".",
    "brackets": "(1," * 3_000, "boxes": "\\boxed{" * 1_500, "dollars": "$1" * 4_000,
    "differences": "-1" * 4_000, "phrases": "the answer to " * 600, "powers": "2^" * 4_000,
}  # fmt: skip


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_long_texts_are_read_at_once(text: str) -> None:
    """Nothing grows with the square of a reply's length."""
    began = time.thread_time()
    mark(text, "5")
    mark("5", text)
    assert time.thread_time() - began < 2


# --- math --------------------------------------------------------------------------------------

EXPRESSIONS = {
    "a root": ("The answer is \\boxed{\\sqrt{12}}", "2\\sqrt{3}", Mark(True)),
    "its coefficient": ("2", "2\\sqrt{3}", Mark(False)),
    "a polynomial": ("$1+x^2$", "x^2+1", Mark(True)),
    "an interval": ("$(-\\infty,3]$", "(-\\infty, 3]", Mark(True)),
    "a number as an expression": ("$\\sqrt{16}$", "4", Mark(True)),
    "a mixed number, which math-verify takes for 1": ("9/4", "2 1/4", Mark(True)),
    "times": ("10:45", "3:45", Mark(False)),
    "prose": ("No idea", "4", Mark(False, "no mathematical expression in the answer")),
}


@pytest.mark.parametrize(("answer", "expected", "marked"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expressions_are_compared_by_math_verify(answer: str, expected: str, marked: Mark) -> None:
    pytest.importorskip("math_verify")
    assert mark(answer, expected, MATH) == marked


def test_math_without_its_library_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    scorers.marker.cache_clear()
    with pytest.raises(scorers.SettingsError, match=r"pip install -e '\.\[math\]'"):
        scorers.marker(MATH)


def test_an_expression_that_takes_too_long_is_ended_and_the_next_one_marked() -> None:
    """By the process, whatever sympy is busy with."""
    pytest.importorskip("math_verify")
    process = MathProcess(mark_seconds=20.0)
    assert process.mark("x^2", "$x^2$") == "right"
    process.mark_seconds = 0.3
    endless = "10^{10^{10^{10}}}"
    assert process.mark(f"x^{{{endless}}}", f"${endless}$") == "undecided"
    process.mark_seconds = 20.0
    assert process.mark("x^2", "$x^2$") == "right"
    process.close()

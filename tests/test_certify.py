"""The certificate: its statistics, scores, decisions, money, and every honest end."""

import json
import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import certified
import pytest
from click.testing import CliRunner
from fixtures import Configure, Workplace
from msgspec import structs

from lion import iterations
from lion.certify import confidence, decide, looks, money, open_answers, thresholds
from lion.certify.certificate import AGREEMENTS, certify
from lion.certify.thresholds import LabelledRow, Promise, walk
from lion.cli import main
from lion.config import project
from lion.config.settings import Scorer, Settings
from lion.errors import DataError, SettingsError
from lion.metrics import files
from lion.metrics.certificates import CertificateMetrics, CertifiedMetrics, TeacherTokens
from lion.pools import set_apart
from lion.records.rows import Answer, ExamAnswer, Instruction, TokenScores
from lion.reporting import certificates, model_card

PROMISE = Promise(agreement=0.97, delta=0.05)
EXACT = Scorer(kind="exact", option=None)
Exam = tuple[Sequence[Instruction], Sequence[ExamAnswer]]


def rows(count: int, seed: int, floor: float = 0.0) -> list[LabelledRow]:
    """Return rows of a student that agrees on 88 % and knows how sure it may be."""
    rng = random.Random(seed)
    drawn = []
    for _ in range(count):
        sure = rng.betavariate(1.9, 0.26)
        drawn.append(LabelledRow(1 - sure, rng.random() < sure and rng.random() >= floor))
    return drawn


def certificate(
    configure: Configure, exam: Exam, iteration: str = "3", **changes: Any
) -> CertificateMetrics:
    """Return the certificate of a synthetic exam; nobody can be asked."""
    settings = settings_of(configure, changes)
    none: Any = None
    return certify(
        *exam,
        settings,
        none,
        {},
        iteration=iteration,
        identity=certified.IDENTITY,
        tokens=TeacherTokens(100, 50_000, 10_000),
    ).metrics


def settings_of(configure: Configure, changes: Mapping[str, Any]) -> Settings:
    own = {"exam.certify": 0.7, "certify.students": ["3"], "evaluate.resamples": 50}
    return configure({**own, **{key.replace("__", "."): v for key, v in changes.items()}})


def calibrated(count: int = 1500, seed: int = 0) -> Exam:
    return certified.exam(count, lambda rng: rng.betavariate(1.9, 0.26), seed)


# --- the test of limits ----------------------------------------------------------------------


def test_the_rows_that_a_promise_needs() -> None:
    """Exact binomial tails: 97 % at 95 %, for none to five disagreements, and for twenty."""
    assert thresholds.rows_needed_table(PROMISE) == (99, 157, 208, 257, 303, 348)
    assert thresholds.rows_needed(PROMISE, 20) == 965
    assert thresholds.most_disagreements(PROMISE, 98) is None
    assert thresholds.most_disagreements(PROMISE, 156) == 0
    assert thresholds.most_disagreements(PROMISE, 157) == 1


def test_delta_is_spent_by_a_fixed_rule_that_sums_to_it() -> None:
    assert thresholds.spent_delta(0.95, None) == pytest.approx(0.05)
    spent = [thresholds.spent_delta(0.95, place) for place in range(1, 2000)]
    assert spent[0] == pytest.approx(0.0304, abs=1e-4)
    assert spent[3] == pytest.approx(spent[0] / 16)
    assert 0.0499 < sum(spent) < 0.05


def test_the_walk_stops_at_its_first_failure() -> None:
    """A looser limit may look fine by luck; it is not tested any more."""
    tested = walk(rows(1000, 1), rows(300, 2), PROMISE)
    assert [test.passes for test in tested.tested[:-1]] == [True] * (len(tested.tested) - 1)
    assert not tested.tested[-1].passes
    assert tested.passed == tested.tested[-2]
    limits = [test.limit for test in tested.tested]
    assert limits == sorted(limits)


@pytest.mark.parametrize("floor", [0.0, 0.015], ids=["calibrated", "floor of errors"])
def test_the_promise_is_broken_in_at_most_a_share_delta(floor: float) -> None:
    """Over redraws; the loosest limit that agrees on 97 % of the same rows breaks it in a third."""
    truth = Truth(rows(40_000, 0, floor))
    broken = naive = 0
    for seed in range(1, 61):
        tests, makers = rows(600, seed, floor), rows(200, -seed, floor)
        passed = walk(tests, makers, PROMISE).passed
        broken += passed is not None and truth.disagreement(passed.limit) > 0.03
        counted, limits = Truth(tests), thresholds.limit_grid([row.uncertainty for row in makers])
        loose = [limit for limit in limits if counted.disagreement(limit) <= 0.03]
        naive += bool(loose) and truth.disagreement(loose[-1]) > 0.03
    assert broken <= 3
    assert naive >= 12


class Truth:
    """The disagreement of every limit on a set of rows."""

    def __init__(self, drawn: Sequence[LabelledRow]) -> None:
        ranked = sorted(drawn, key=lambda row: row.uncertainty or 0.0)
        self.uncertainties = [row.uncertainty or 0.0 for row in ranked]
        self.wrong = [0, *accumulate(not row.agrees for row in ranked)]

    def disagreement(self, limit: float) -> float:
        accepted = bisect_right(self.uncertainties, limit)
        return self.wrong[accepted] / accepted if accepted else 0.0


def test_the_limits_come_from_other_rows_each_once() -> None:
    assert thresholds.limit_grid([0.5] * 90 + [0.7] * 10) == [0.5, 0.7]
    assert thresholds.limit_grid([None] * 10) == []
    grid = thresholds.limit_grid([float(n) for n in range(400)])
    assert (len(grid), grid[0], grid[-1]) == (40, 9.0, 399.0)


def test_no_limit_accepts_a_row_without_a_score() -> None:
    assert not thresholds.is_accepted(None, 5.0)
    assert not thresholds.is_accepted(float("nan"), 5.0)
    assert not thresholds.is_accepted(0.0, None)
    assert thresholds.is_accepted(5.0, 5.0), "ties at the limit are accepted, as they were tested"


# --- scores and agreement --------------------------------------------------------------------


def scored(text: str, tokens: Sequence[tuple[str, float]], finish_reason: str = "stop") -> Answer:
    ends, place = [], 0
    for piece, _ in tokens:
        place += len(piece)
        ends.append(place)
    scores = TokenScores(tuple(logprob for _, logprob in tokens), tuple(ends))
    return Answer("x", text, finish_reason, "m", scores)


def test_a_label_is_as_sure_as_the_whole_of_it_with_its_end() -> None:
    answer = scored("a b", [("a", -0.5), (" b", -0.25), ("", -0.125)])
    assert confidence.uncertainty(answer, EXACT) == 0.875
    assert confidence.uncertainty(replace_text(answer, "length"), EXACT) is None
    assert confidence.uncertainty(Answer("x", "a", "stop", "m"), EXACT) is None


def replace_text(answer: Answer, finish_reason: str) -> Answer:
    return structs.replace(answer, finish_reason=finish_reason)


@pytest.fixture
def schema(workplace: Workplace) -> Scorer:
    document = {"type": "object", "required": ["who", "n"]}
    (workplace.path / "schema.json").write_text(json.dumps(document))
    return Scorer(kind="json_schema", option="schema.json")


def test_json_is_as_sure_as_its_least_certain_value(schema: Scorer) -> None:
    """Tokens are aligned by characters; keys and brackets do not count."""
    pieces = [
        ('{"who"', -9.0),
        (': "', -1.0),
        ('Ann"', -2.0),
        (', "n": ', -9.0),
        ("1", -0.5),
        ("7", -0.25),
    ]
    text = "".join(piece for piece, _ in pieces) + "}"
    answer = scored(text, [*pieces, ("}", -9.0), ("", -9.0)])
    assert confidence.uncertainty(answer, schema) == 3.0
    assert [text[a:b] for a, b in confidence.value_spans(text)] == ['"Ann"', "17"]
    refused = scored('{"n": 1}', [('{"n": 1}', -0.1), ("", 0.0)])
    assert confidence.uncertainty(refused, schema) is None, "refused by its schema: never"


def test_values_of_json_are_those_that_hold_no_other() -> None:
    text = '{"a:": [1.5e3, true, "x\\"y: "], "b": {"c": null}}'
    spans = [text[start:end] for start, end in confidence.value_spans(text)]
    assert spans == ["1.5e3", "true", '"x\\"y: "', "null"]


@pytest.mark.parametrize(
    ("kind", "option", "student", "teacher", "same"),
    [
        ("exact", None, "yes  sir", "yes sir", True),
        ("exact", None, "Yes", "yes", False),
        ("number", None, "It is 42.", "40 + 2 = 42", True),
        ("number", None, "42", "I do not know", False),
        ("regex", r"Answer: (\w+)", "Answer: b", "So... Answer: b", True),
        ("regex", r"Answer: (\w+)", "b", "Answer: b", False),
        ("regex", r"Answer: (\w+)", "Answer: b", "b", False),
    ],
)
def test_agreement_is_the_exams_scorer_with_the_teachers_answer_as_the_right_one(
    kind: Any, option: str | None, student: str, teacher: str, same: bool
) -> None:
    assert confidence.agrees(student, teacher, Scorer(kind=kind, option=option), "r") is same


def test_json_agrees_by_value(schema: Scorer) -> None:
    first = '{"who": "Ann", "n": 1}'
    assert confidence.agrees(first, '{"n": 1.0, "who": "Ann"}', schema, "r")
    assert not confidence.agrees(first, '{"who": "Ann", "n": true}', schema, "r")
    assert not confidence.agrees(first, '{"who": "Ann"}', schema, "r"), "the teacher broke it"


# --- the certificate -------------------------------------------------------------------------


def test_a_student_that_knows_how_sure_it_is_gets_a_threshold(configure: Configure) -> None:
    metrics = certificate(configure, calibrated())
    headline = metrics.headline
    assert headline.coverage is not None and headline.accepted is not None
    assert 0.3 < headline.coverage.value_share < 0.85
    assert headline.disagreements is not None
    assert headline.disagreements / headline.accepted < 0.03
    assert metrics.auroc is not None and metrics.auroc.value_share > 0.75
    assert list(metrics.limits) == [f"{100 * share:g}" for share in AGREEMENTS]
    coverages = [limit.coverage.value_share for limit in metrics.limits.values() if limit.coverage]
    assert coverages == sorted(coverages, reverse=True), "a stricter promise, a smaller part"
    assert all(stratum.rows > 400 for stratum in metrics.strata["category"].values())
    assert metrics.rows + metrics.other_rows == 1500
    assert "at least 97 % of what it answers itself, with 95 % confidence" in (
        certificates.certificate_sentence(metrics)
    )


def test_it_is_a_function_of_its_inputs_and_survives_its_file(
    configure: Configure, tmp_path: Path
) -> None:
    questions, answers = calibrated()
    metrics = certificate(configure, (questions, answers))
    assert certificate(configure, (questions[::-1], answers[::-1])).limits == metrics.limits
    files.write_metrics(tmp_path / "certificate.json", metrics)
    assert files.read_metrics(tmp_path / "certificate.json", CertificateMetrics) == metrics
    assert CertifiedMetrics.of(metrics).uncertainty_limit == metrics.headline.uncertainty_limit


def test_the_agreement_holds_on_rows_that_nobody_saw(configure: Configure) -> None:
    metrics = certificate(configure, calibrated())
    questions, answers = calibrated(6000, seed=9)
    del questions
    decisions = [decide(answer, metrics, EXACT) for answer in answers]
    own = [(d, a) for d, a in zip(decisions, answers, strict=True) if d.answered]
    right = sum(a.teacher is not None and d.text == a.teacher.text for d, a in own)
    assert right / len(own) >= 0.97


def test_rows_that_serve_every_student_cost_the_later_ones_more(configure: Configure) -> None:
    shared = {"certify__rows_for": "every_student", "certify__students": ["1", "3"]}
    alone, first, second = (
        certificate(configure, calibrated(), iteration, **changes)
        for iteration, changes in (("3", {}), ("1", shared), ("3", shared))
    )
    assert (alone.place, first.place, second.place) == (None, 1, 2)
    assert second.delta_share == pytest.approx(first.delta_share / 4, rel=1e-6)
    assert (alone.headline.accepted or 0) >= (second.headline.accepted or 0)


def reason(metrics: CertificateMetrics) -> str:
    """Return why there is no threshold; there is no number in its place, in no field."""
    limit = metrics.headline
    assert limit.reason is not None
    figures = (limit.uncertainty_limit, limit.coverage, limit.accepted, limit.disagreements)
    assert figures == (None,) * 4
    headline = CertifiedMetrics.of(metrics)
    assert (headline.coverage_share, headline.uncertainty_limit) == (None, None)
    assert "everything goes to the teacher" in certificates.certificate_sentence(metrics)
    return limit.reason


def test_too_few_rows_are_told_with_what_is_needed(configure: Configure) -> None:
    told = reason(certificate(configure, certified.exam(90, lambda _: 1.0)))
    assert told.startswith(
        "97 % at 95 % confidence needs at least 99 accepted rows without a disagreement; you have "
    )
    shared = {"certify__rows_for": "every_student", "certify__students": ["3"]}
    told = reason(certificate(configure, certified.exam(150, lambda _: 1.0), **shared))
    assert "needs at least 115 accepted rows" in told
    assert "certify.rows_for leaves 3.04 % for this student" in told


def test_a_weak_student_is_told_by_its_surest_answers(configure: Configure) -> None:
    told = reason(certificate(configure, certified.exam(800, lambda rng: rng.uniform(0.2, 0.6))))
    assert "answers that it is surest of" in told
    assert "differ from the teacher's, and " in told
    assert "of its surest quarter" in told


def test_a_floor_of_confident_errors_is_told(configure: Configure) -> None:
    def floored(rng: random.Random) -> float:
        return rng.betavariate(1.9, 0.26)

    questions, answers = certified.exam(1500, floored)
    rng = random.Random(5)
    wrong = [structs.replace(a, text="no") if rng.random() < 0.08 else a for a in answers]
    told = reason(certificate(configure, (questions, wrong)))
    assert "is wrong in" in told and "of its surest quarter" in told


def test_scores_that_all_tie_are_told(configure: Configure) -> None:
    questions, answers = certified.exam(800, lambda _: 0.9)
    told = reason(certificate(configure, (questions, answers)))
    assert "all its scores tie" in told


def test_ties_at_certainty_can_be_certified_together(configure: Configure) -> None:
    """Half of the answers are right and tie at certainty; the others are guesses."""
    metrics = certificate(
        configure, certified.exam(1500, lambda rng: 1.0 if rng.random() < 0.5 else 0.4)
    )
    coverage = metrics.headline.coverage
    assert coverage is not None
    assert 0.45 < coverage.value_share < 0.55
    assert metrics.headline.uncertainty_limit == 0.0


def test_answers_without_a_usable_score_are_told(configure: Configure) -> None:
    """As from a student whose logits are NaN: no token is scored, and nothing is certified."""
    questions = [certified.question(number) for number in range(400)]
    answers = [certified.answer(row, "yes", "yes", float("nan")) for row in questions]
    metrics = certificate(configure, (questions, answers))
    assert metrics.unscored == metrics.rows
    assert "has a usable score" in reason(metrics)


def test_answers_that_were_cut_off_are_never_the_students(configure: Configure) -> None:
    questions, answers = calibrated()
    cut = [structs.replace(a, finish_reason="length") for a in answers[:500]] + answers[500:]
    metrics = certificate(configure, (questions, cut))
    assert 0 < metrics.unscored < metrics.rows
    assert metrics.headline.coverage is not None
    assert metrics.headline.coverage.value_share < 0.7


def test_rows_without_a_teachers_answer_are_dropped_and_counted(configure: Configure) -> None:
    questions, answers = calibrated()
    without = [structs.replace(a, teacher=None) for a in answers[:40]] + answers[40:]
    metrics = certificate(configure, (questions, without))
    assert metrics.dropped == {"no_teacher_answer": 40}
    nothing = [structs.replace(a, teacher=None) for a in answers]
    assert "no row is set apart that has an answer" in reason(
        certificate(configure, (questions, nothing))
    )


# --- rows of its own -------------------------------------------------------------------------


def test_a_row_set_apart_stays_apart_as_the_exam_grows() -> None:
    questions = [certified.question(number) for number in range(2000)]
    headline, apart = set_apart(questions, 0.5)
    assert {row.id for row in headline} | {row.id for row in apart} == {q.id for q in questions}
    assert 900 < len(apart) < 1100
    assert set_apart(questions[:700], 0.5)[1] == [q for q in questions[:700] if q in apart]
    assert set_apart(questions, None) == (questions, [])


def test_an_exam_of_the_smallest_ids_is_split_all_the_same() -> None:
    """seed.holdout takes the rows with the smallest ids: a split by the id itself takes all."""
    held = sorted((certified.question(n) for n in range(4000)), key=lambda row: row.id)[:400]
    assert 160 < len(set_apart(held, 0.5)[1]) < 240


def test_a_file_of_rows_is_apart_by_its_origin() -> None:
    own = structs.replace(certified.question(1), origin="certify")
    assert set_apart([certified.question(2), own], "inputs/own.jsonl")[1] == [own]


# --- decisions, looks, money -----------------------------------------------------------------


def test_a_request_is_answered_or_handed_back_with_a_reason(configure: Configure) -> None:
    metrics = certificate(configure, calibrated())
    limit = metrics.headline.uncertainty_limit
    assert limit is not None
    row = certified.question(1)
    sure = decide(certified.answer(row, "yes", None, -limit), metrics, EXACT)
    assert (sure.answered, sure.text, sure.uncertainty) == (True, "yes", limit)
    unsure = decide(certified.answer(row, "yes", None, -limit - 0.1), metrics, EXACT)
    assert (unsure.answered, unsure.text, unsure.why) == (False, None, "uncertain")
    assert "above" in unsure.explanation
    cut = decide(certified.answer(row, "y", None, -0.0, "length"), metrics, EXACT)
    assert (cut.why, cut.text, cut.explanation) == ("no_score", None, "the answer was cut off")
    blank = decide(Answer(row.id, "yes", "stop", "m"), metrics, EXACT)
    assert blank.why == "no_score"
    with pytest.raises(DataError, match="promises nothing at 96 %, but at 90, 95, 97, 99 %"):
        decide(certified.answer(row, "yes", None, 0.0), metrics, EXACT, agreement=0.96)


@pytest.mark.parametrize("logprob", [float("nan"), float("-inf")])
@pytest.mark.parametrize(
    "scorer",
    [
        EXACT,
        Scorer.model_validate({"kind": "json", "option": None, "fields": {"a": "exact"}}),
        Scorer(kind="referee", option=None),
    ],
)
def test_a_score_that_is_no_number_is_handed_back(
    configure: Configure, scorer: Scorer, logprob: float
) -> None:
    """A server that imports `decide` brings its own log probabilities."""
    metrics = structs.replace(
        certificate(configure, calibrated()), open_weights=open_answers.MEAN_ALONE
    )
    text = '{"a": 1}'
    tokens = TokenScores((logprob, 0.0), (len(text), len(text)))
    decision = decide(Answer("a", text, "stop", "m", tokens), metrics, scorer)
    assert (decision.text, decision.why) == (None, "no_score")


def test_without_a_threshold_everything_is_handed_back(configure: Configure) -> None:
    metrics = certificate(configure, certified.exam(90, lambda _: 1.0))
    decision = decide(certified.answer(certified.question(1), "yes", None, 0.0), metrics, EXACT)
    assert (decision.text, decision.why) == (None, "no_threshold")
    assert "needs at least 99 accepted rows" in decision.explanation


def test_looks_at_the_same_rows_are_counted_and_told(
    configure: Configure, workplace: Workplace
) -> None:
    del workplace  # `.lion/` lies in the working folder
    exam = calibrated()
    metrics = certificate(configure, exam)
    assert looks.count_look(metrics) == 1
    assert looks.count_look(metrics) == 1, "the same student again is no new look"
    assert looks.looks_sentence(metrics, 1) is None
    other = structs.replace(certified.IDENTITY, student_sha256="d" * 64)
    assert looks.count_look(structs.replace(metrics, identity=other)) == 2
    told = looks.looks_sentence(metrics, looks.looks_at(metrics))
    assert (
        told is not None and "2 students were certified on the same rows, which pay for 1" in told
    )
    assert looks.looks_sentence(structs.replace(metrics, place=2), 2) is None
    fresh = structs.replace(metrics, rows_sha256="e" * 64)
    assert looks.looks_at(fresh) == 0


def test_break_even_by_hand() -> None:
    """The teacher costs $1.00 for 1,000 requests, the student answers 60 %, hosting is $0.10."""
    dollar = 10**9
    parts: dict[str, Any] = {"coverage": 0.6, "audit": 0.0, "hosting": dollar // 10}
    costs = money.request_costs(teacher=dollar, spent=20 * dollar, **parts)
    assert (costs.with_student, costs.saved) == (dollar // 2, dollar // 2)
    assert costs.break_even == 40_000
    audited = money.request_costs(teacher=dollar, spent=20 * dollar, **{**parts, "audit": 0.5})
    assert (audited.with_student, audited.break_even) == (8 * dollar // 10, 100_000)
    dear = money.request_costs(teacher=dollar, spent=0, **{**parts, "hosting": dollar})
    assert (dear.break_even, dear.known) == (None, True)
    unknown = money.request_costs(teacher=None, spent=0, **parts)
    assert (unknown.with_student, unknown.saved, unknown.known) == (None, None, False)


def test_money_is_told_in_words(configure: Configure, workplace: Workplace) -> None:
    exam, prices = calibrated(), workplace.path / "prices.yaml"
    endpoint = {"teacher.base_url": "https://api.example.invalid/v1", "teacher.model": "dear-1"}
    changes = {"exam.certify": 0.7, "certify.students": ["3"], **endpoint}
    line = iterations.lines({})[0]
    lines = [replace(line, iteration="3", previous="0", nanodollars=5 * 10**9, unpriced=0)]
    lines += [replace(line, nanodollars=10**9, unpriced=0)]
    settings = configure(changes)
    metrics = certificate(configure, exam)
    assert "has no price" in certificates.money_sentence("3", metrics, lines, settings)
    prices.write_text("dear-1: {input: 2.0, output: 10.0}\n")
    told = certificates.money_sentence("3", metrics, lines, settings)
    assert told.startswith("1,000 requests cost $2.00 with the teacher alone, $")
    assert "it has paid for itself after " in told
    hosted = configure({**changes, "certify.hosting_usd_per_1000": 2.0})
    told = certificates.money_sentence("3", metrics, lines, hosted)
    assert told.endswith("it never pays for itself.")
    elsewhere = [replace(each, nanodollars=None) for each in lines]
    told = certificates.money_sentence("3", metrics, elsewhere, settings)
    assert told.endswith("what it cost is not known on this machine.")


def test_a_certificate_of_other_params_is_not_shown(
    configure: Configure, workplace: Workplace
) -> None:
    changes = {"exam.certify": 0.7, "certify.students": ["3"]}
    settings = workplace.params(changes)
    path = project.metrics("3", CertificateMetrics.FILE)
    files.write_metrics(path, certificate(configure, calibrated()))
    stage = {"cmd": "true", "params": {"params.yaml": {"certify.agreement": 0.97}}}
    stage["outs"] = [{"path": str(path), "md5": "0"}]
    lock = {"schema": "2.0", "stages": {"certify@3": stage}}
    Path("dvc.lock").write_text(json.dumps(lock))

    def shown() -> tuple[str, int]:
        table = CliRunner().invoke(main, ["table"]).stdout
        return table, len(list(model_card._certificate(settings, "3")))

    table, sections = shown()
    assert ("Student 3: it agrees" in " ".join(table.split()), sections) == (True, 1)
    workplace.params({**changes, "certify.agreement": 0.9})
    table, sections = shown()
    assert ("Student 3:" in table, sections) == (False, 0)


# --- open answers and settings ---------------------------------------------------------------


def test_open_answers_are_ordered_by_what_the_referee_found_worse() -> None:
    """Long answers with one improbable token are the worse ones; the fit finds it."""
    rng = random.Random(0)
    rows_ = []
    for number in range(200):
        fine = number % 4 > 0
        logs = [-rng.uniform(0.01, 0.3) for _ in range(30)]
        logs += [-rng.uniform(0.1, 0.9) if fine else -rng.uniform(0.6, 4.0)]
        answer = Answer(str(number), "x", "stop", "m", TokenScores(tuple(logs), (1,) * len(logs)))
        rows_.append((answer, fine))
    weights = open_answers.fit_weights(rows_)
    values = [(open_answers.open_uncertainty(answer, weights), fine) for answer, fine in rows_]
    worse = [value for value, fine in values if value is not None and not fine]
    better = [value for value, fine in values if value is not None and fine]
    above = sum(a > b for a in worse for b in better) / (len(worse) * len(better))
    assert above > 0.85
    assert open_answers.fit_weights(rows_[:5]) == open_answers.MEAN_ALONE


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"certify.students": ["3"]}, "needs rows of its own; set exam.certify"),
        ({"certify.students": ["9"], "exam.certify": 0.5}, "there is no iteration '9'"),
        ({"certify.students": ["1", "3"], "exam.certify": 0.5}, "certifies one of `students`"),
        (
            {
                "certify.students": ["3"],
                "exam.certify": 0.5,
                "exam.scorer": {"kind": "referee", "option": None},
            },
            r"certify.ask: the exam's scorer is the referee",
        ),
        ({"exam.certify": 1.0}, "exam.certify"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_a_run(
    configure: Configure, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        configure(changes)

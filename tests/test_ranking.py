"""The likelihood as judge: what is hard, without a call, and what the audit says of it."""

import dataclasses
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tiny
from fake_server import ChatServer
from fixtures import Configure, Workplace
from running import Changed
from test_review import FAR, RIGHT, judge

from lion.config import project
from lion.errors import SettingsError, TooManyDroppedError
from lion.iterations import lines
from lion.metrics import files
from lion.metrics.judging import AgreementMetrics, CalibrateMetrics, ReviewMetrics, SplitMetrics
from lion.pipeline import plan
from lion.pipeline.checks import inputs
from lion.pipeline.stage import Work
from lion.prompting import teacher
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, Likelihood, Review, Selection, Verdict
from lion.reporting import pool_diff, snapshot, table
from lion.reporting.trace import IterationTrace, _judgement
from stages import calibrate, respond, review, split

ROWS = [tiny.instruction(f"Task {number}") for number in range(40)]
NUMBERS = [((7 * number) % 40) / 10 for number in range(40)]  # each tenth of a nat once


class Desk:
    """Discrimination by likelihoods that a test gives, before a referee on loopback."""

    def __init__(self, workplace: Workplace, server: ChatServer) -> None:
        self.server, self._workplace = server, workplace
        server.answer = judge
        unjudged = [Verdict(row.id, None, None, None, "undecided", "new") for row in ROWS]
        jsonl.write(Path("data/0/verdicts.jsonl"), unjudged)
        for key in "012":
            taught = [teacher.taught(row, Answer(row.id, RIGHT, "stop", "m")) for row in ROWS]
            jsonl.write(project.data(key, "cache_pool.jsonl"), taught)

    def run(self, scored: list[Likelihood], key: str = "1", **changes: Any) -> list[Verdict]:
        here = {"base_url": self.server.url, "api_key_env": None, "send_seed": False}
        settings = self._workplace.params(
            {
                "review.judge": "likelihood",
                **{f"referee.{name}": value for name, value in here.items()},
                **changes,
            }
        )
        jsonl.write(project.data(key, "responses.jsonl"), scored)
        review.main(Work("review", key, settings))
        split.main(Work("split", key, settings))
        return jsonl.read(project.data(key, "verdicts.jsonl"), Verdict)


@pytest.fixture
def desk(workplace: Workplace, chat_server: ChatServer) -> Desk:
    return Desk(workplace, chat_server)


def scored(**changes: Any) -> list[Likelihood]:
    return [Likelihood(row.id, nats, 5, **changes) for row, nats in zip(ROWS, NUMBERS, strict=True)]


def hard(verdicts: list[Verdict]) -> set[str]:
    return {row.id for row in verdicts if row.difficulty == "hard"}


def test_the_least_likely_answers_are_hard_and_no_call_is_made(desk: Desk) -> None:
    verdicts = desk.run(scored(), **{"split.uniform_share": 0.0})
    assert desk.server.calls == []
    assert len(verdicts) == len(ROWS), "the whole pool has a verdict"
    least = sorted(zip(NUMBERS, ROWS, strict=True), key=lambda pair: -pair[0])[:12]
    assert hard(verdicts) == {row.id for _, row in least}
    assert {(row.gap, row.teacher_mean, row.basis) for row in verdicts} == {
        (None, None, "likelihood")
    }
    told = files.read_metrics(project.metrics("1", "split"), SplitMetrics)
    assert (told.hard, told.easy, told.hard_share, told.mean_gap_points) == (12, 28, 0.3, None)
    metrics = files.read_metrics(project.metrics("1", "review"), ReviewMetrics)
    assert metrics.referee is None and metrics.likelihood is not None
    assert metrics.likelihood.mean_nats == pytest.approx(sum(NUMBERS) / 40)


def test_a_floor_of_the_hard_rows_is_drawn_by_lot(desk: Desk) -> None:
    verdicts = desk.run(scored(), **{"split.uniform_share": 0.5})
    lots = [row for row in verdicts if row.basis == "uniform"]
    assert (len(hard(verdicts)), len(lots)) == (12, 6)
    assert {row.difficulty for row in lots} == {"hard"}
    top = [row for row in verdicts if row.difficulty == "hard" and row.basis == "likelihood"]
    assert min(row.nats or 0.0 for row in top) == pytest.approx(3.4)
    again = desk.run(scored(), **{"split.uniform_share": 0.5})
    other = desk.run(scored(), **{"split.uniform_share": 0.5, "random_seed": 7})
    assert hard(again) == hard(verdicts) != hard(other)


def test_ties_do_not_depend_on_the_order_of_the_rows(desk: Desk) -> None:
    same = [Likelihood(row.id, 1.0, 5) for row in ROWS]
    verdicts = hard(desk.run(same))
    assert hard(desk.run(same[::-1])) == verdicts


def test_what_an_answer_costs_by_itself_is_taken_off(desk: Desk) -> None:
    """A long rare answer costs 4 nats with the prompt and 5 without: no surprise to learn from."""
    rows = [Likelihood(row.id, 1.0, 5, unprompted_nats=1.0) for row in ROWS[:38]]
    rows += [Likelihood(ROWS[38].id, 4.0, 5, unprompted_nats=5.0)]
    rows += [Likelihood(ROWS[39].id, 1.5, 5, unprompted_nats=1.0)]
    verdicts = desk.run(rows, **{"split.hard_share": 0.025, "split.uniform_share": 0.0})
    assert hard(verdicts) == {ROWS[39].id}
    mean = (38 * 1.0 + 5.0 + 1.0) / 40
    by_id = {row.id: row.signal for row in verdicts}
    assert by_id[ROWS[38].id].score_nats == pytest.approx(4.0 - (5.0 - mean))
    assert by_id[ROWS[38].id].nll_nats == 4.0


def test_the_students_own_answer_is_easy_where_params_say_so(desk: Desk) -> None:
    rows = [
        Likelihood(row.id, nats, 5, same_answer=nats > 1)
        for row, nats in zip(ROWS, NUMBERS, strict=True)
    ]
    asked = {"split.uniform_share": 0.0, "review.same_answer": "skip"}
    verdicts = desk.run(rows, **asked)
    own = {row.id for row in rows if row.same_answer}
    assert {row.basis for row in verdicts if row.id in own} == {"same_answer"}
    assert not hard(verdicts) & own
    assert len(hard(verdicts)) == len(ROWS) - len(own) == 11
    assert len(hard(desk.run(rows, **{"split.uniform_share": 0.0})) & own) == 12


def test_a_row_without_a_number_is_undecided_with_its_reason(desk: Desk) -> None:
    rows = scored()
    rows[3] = Likelihood(ROWS[3].id, None, 1, reason="empty_answer")
    verdicts = desk.run(rows, **{"review.max_dropped": 0.05})
    assert (verdicts[3].difficulty, verdicts[3].reason) == ("undecided", "empty_answer")
    assert len(hard(verdicts)) == round(0.3 * 39)
    assert "empty_answer" in project.data("1", "dropped.review.jsonl").read_text()
    rows[4:9] = [Likelihood(row.id, None, 900, reason="too_long") for row in ROWS[4:9]]
    with pytest.raises(TooManyDroppedError, match=r"review\.max_dropped"):
        desk.run(rows)


def test_where_the_student_would_write_every_answer_itself_the_loop_stops(desk: Desk) -> None:
    desk.run(scored(same_answer=True), **{"review.same_answer": "skip"})
    told = files.read_metrics(project.metrics("1", "split"), SplitMetrics)
    assert told.stopped is not None and "would write each of the teacher's answers" in told.stopped


def test_no_rows_stop_the_loop(desk: Desk) -> None:
    assert desk.run([]) == []
    told = files.read_metrics(project.metrics("1", "split"), SplitMetrics)
    assert told.stopped == "no instruction was judged"


def test_the_least_value_so_far_is_kept_over_the_iterations(desk: Desk) -> None:
    desk.run(scored())
    later = [Likelihood(row.id, 2.0, 5) for row in ROWS[:-1]]
    later += [Likelihood(ROWS[-1].id, None, 5, reason="not_finite")]
    verdicts = desk.run(later, key="2")
    lowest = [row.signal.lowest_nats for row in verdicts if row.signal is not msgspec.UNSET]
    assert lowest == [*(min(2.0, nats) for nats in NUMBERS[:-1]), NUMBERS[-1]]


def audited(*numbers: int) -> list[Likelihood]:
    """Return rows of which some have an answer: far from right where the nats are above 2."""
    rows = scored()
    for number in numbers:
        word = f"{FAR} {number}" if NUMBERS[number] > 2 else f"{RIGHT} {number}"
        text = teacher.Answer(ROWS[number].id, word, "stop", "s").inside
        rows[number] = msgspec.structs.replace(rows[number], response=text)
    return rows


def test_audited_rows_are_judged_in_both_orders_and_give_the_auc(desk: Desk) -> None:
    verdicts = desk.run(audited(*range(12)))
    assert len(desk.server.calls) == 2 * 12
    assert len(jsonl.read(project.data("1", "reviews.jsonl"), Review)) == 24
    told = files.read_metrics(project.metrics("1", "agreement"), AgreementMetrics)
    assert told.likelihood_auc is not None
    assert (told.likelihood_auc.value_share, told.likelihood_auc.count) == (1.0, 12)
    drawn = [row.audited for row in jsonl.read(project.data("1", "selection.jsonl"), Selection)]
    assert drawn == [True] * 12 + [False] * 28
    desk.server.calls.clear()
    assert desk.run(scored()) == verdicts, "an audit decides nothing"


def test_an_auc_of_rows_of_one_kind_is_not_known(desk: Desk) -> None:
    low = [number for number, nats in enumerate(NUMBERS) if nats < 2][:5]
    desk.run(audited(*low))
    told = files.read_metrics(project.metrics("1", "agreement"), AgreementMetrics)
    assert told.likelihood_auc is None


def test_the_table_tells_of_likelihoods_and_not_of_a_price_of_judging(desk: Desk) -> None:
    desk.run(audited(*range(12)))
    [_, line] = lines({"1": "0"})
    assert table.judging([line]) == []
    [sentence] = table.ranked([line])
    assert sentence.startswith("likelihood in 1: 40 answers, 1.95 nats a token, 0.0 % are the stu")
    assert sentence.endswith("AUC 100.0 % against 12 rows that the referee judged")


def test_the_trace_says_what_the_verdict_rests_on(desk: Desk) -> None:
    rows = audited(*range(12))
    verdicts = desk.run(rows)
    entry = IterationTrace("1", None, rows[0], (), verdicts[0], None, ())
    shown = [part.renderable.plain for part in _judgement(entry)]  # type: ignore[attr-defined]
    assert shown == [
        "the teacher's answer before the student: 0.000 nats a token of 5",
        "verdict: easy by likelihood, score 0.000",
    ]


def test_frames_have_the_nats_and_the_audited_answers(desk: Desk) -> None:
    """What `lion show`, `lion diff` and the page read; of other judges both are as before."""
    desk.run(audited(0, 1, 2))
    frame = snapshot.verdicts_frame(project.data("1", "verdicts.jsonl"))
    assert frame.get_column("nats").to_list() == NUMBERS
    assert frame.get_column("gap").null_count() == 40
    answers = snapshot.answers_frame(project.data("1", "responses.jsonl")).get_column("text")
    assert [text is not None for text in answers] == [True] * 3 + [False] * 37
    side = pool_diff.Side("1", snapshot.pool_frame(project.data("1", "cache_pool.jsonl")), frame)
    later = frame.with_columns(nats=frame["nats"] - 0.5)
    moves = pool_diff.compare(side, dataclasses.replace(side, verdicts=later), 3).moves
    assert moves is not None and moves.gap_change is None
    assert moves.nats_change == pytest.approx(-0.5)


def test_the_referee_is_calibrated_by_anchors_all_the_same(
    workplace: Workplace, desk: Desk
) -> None:
    desk.run(scored())
    exam = [
        Instruction.new(
            [{"role": "user", "content": f"Word {word}"}],
            origin="exam",
            iteration="0",
            category="words",
            expected=word,
        )
        for word in (RIGHT, FAR)
    ]
    jsonl.write(project.EXAM, exam)
    here = {"base_url": desk.server.url, "api_key_env": None, "send_seed": False}
    anchors = {"calibrate.iterations": ["1"], "calibrate.anchors": "exam"}
    referee = {f"referee.{name}": value for name, value in here.items()}
    settings = workplace.params({"review.judge": "likelihood", **referee, **anchors})
    calibrate.main(Work("calibrate", "1", settings))
    told = files.read_metrics(project.metrics("1", "calibrate"), CalibrateMetrics)
    assert told.anchors.rows == 2 and told.against_second.rows == 0


def test_the_whole_pool_may_be_parents_whatever_respond_draws(workplace: Workplace) -> None:
    changes = {"review.judge": "likelihood", "respond.limit": 1, "generate.per_parent": 50}
    limited = workplace.params({**changes, "review.judge": "referee"})
    assert list(inputs._too_few_parents(limited, 100))
    assert not list(inputs._too_few_parents(workplace.params(changes), 100))


def test_respond_scores_the_whole_pool_and_answers_what_is_audited(workplace: Workplace) -> None:
    """No answer is written but for the audit, and `respond.limit` leaves none out."""
    tiny.folder(project.data("0", "student"))
    taught = [teacher.taught(row, Answer(row.id, RIGHT, "stop", "m")) for row in ROWS]
    jsonl.write(project.data("0", "cache_pool.jsonl"), taught)
    changes = {"review.judge": "likelihood", "respond.limit": 5, "answering.max_tokens": 3}
    respond.main(Work("respond", "1", workplace.params(changes)))
    rows = jsonl.read(project.data("1", "responses.jsonl"), Likelihood)
    assert [row.id for row in rows] == [row.id for row in ROWS]
    assert all(row.nll_nats and row.response is None for row in rows)
    audit = workplace.params({**changes, "review.audited_rows": 4, "review.ifd": True})
    respond.main(Work("respond", "1", audit))
    again = jsonl.read(project.data("1", "responses.jsonl"), Likelihood)
    assert sum(row.response is not None for row in again) == 4
    assert [row.nll_nats for row in again] == [row.nll_nats for row in rows]
    assert all(row.unprompted_nats for row in again)


def test_the_plan_has_no_call_but_for_audits(workplace: Workplace) -> None:
    small = {"seed.size": 100, "exam.size": 40, "review.judge": "likelihood"}
    for rows, calls in ((0, None), (6, 12)):
        settings = workplace.params(
            {**small, "review.audited_rows": rows, "review.second_order_margin": 1.0}
        )
        needs = plan.plan(settings, {"review@1", "teach@1"}, {}, plan.Prices({}))
        planned = {need.stage: (need.calls, need.precision) for need in needs}
        assert planned.get("review@1") == (None if calls is None else (calls, "exactly"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"split.stop_in_noise": True}, "split.stop_in_noise: "),
        ({"split.tau_noise": 2.0}, "split.tau_noise: "),
        ({"split.tau_noise": 2.0, "review.second_order_margin": 1.0}, "split.tau_noise: a like"),
        ({"split.min_hard": 0.1}, "split.min_hard: "),
        ({"review.judge": "referee", "tune.replay_choice": "forgotten"}, "replay_choice: "),
        (
            {
                "review.judge": "referee",
                "iterations": {
                    "1": {
                        "previous": "0",
                        "generate": {},
                        "tune": {"replay_choice": "forgotten"},
                    }
                },
            },
            "iterations.1.tune.replay_choice: ",
        ),
        ({"split.hard_share": 0.0}, "split.hard_share: "),
    ],
)
def test_what_does_not_go_together_is_refused(
    configure: Configure, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem):
        configure({"review.judge": "likelihood", **changes})


@pytest.mark.slow
def test_a_pipeline_runs_without_a_call_for_discrimination(ranking: "Future[Changed]") -> None:
    """Switching reruns discrimination and what follows: no base, and nothing is reviewed."""
    changed = ranking.result()
    assert changed.run.stages[0] == "respond@1"
    assert "base-evaluate" not in changed.run.stages
    assert "is empty" not in changed.run.output, "DVC warns of no file"
    asked = changed.project.record("review@1").asked
    assert sum(role.needed for role in asked.values()) == 0
    assert changed.project.metrics("1", SplitMetrics).hard_share == pytest.approx(0.3, abs=0.01)
    assert changed.project.rows("1/train_pool.jsonl")
    shown = changed.project.run(
        "lion.cli", "trace", changed.project.rows("0/cache_pool.jsonl")[0]["id"]
    )
    assert "nats a token" in shown.output, shown.output
    for command in (["table"], ["report"], ["show", "--hard"], ["diff", "0", "1"], ["plan"]):
        done = changed.project.run("lion.cli", *command)
        assert done.code == 0, done.output

"""What a large student takes here is said before anything is paid: hours, memory, dtype, rates."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fixtures import Workplace

from lion.cli import main
from lion.config.settings import Settings
from lion.metrics import files
from lion.metrics.files import RunRecord
from lion.metrics.pools import TuneMetrics
from lion.pipeline import machine_pace, tuning_needs
from lion.pipeline.checks import student_notices
from lion.pipeline.machine_pace import MachinePace
from lion.pipeline.tuning_needs import StudentSize
from lion.student import hub
from lion.training.learning_rates import usual_rate

GIGA = 1_000_000_000
# Qwen3-0.6B: 28 layers; q, k, v, o and the feed-forward layer's three matrices, hidden 1,024
QWEN3 = StudentSize(595_776_512, 440_401_920, 28, 28 * 27_648)
SMOLLM2 = StudentSize(134_515_008, 106_168_320, 30, 30 * 13_440)
TWO_CORES = MachinePace(None, {"float32": 200e9, "bfloat16": 900e9}, 64 * GIGA)
NO_BFLOAT16 = replace(TWO_CORES, flops={"float32": 200e9, "bfloat16": 30e9})
H200 = MachinePace("cuda", {"float32": 50e12, "bfloat16": 600e12}, 140 * GIGA)

REAL = {
    "student.model": "Qwen/Qwen3-0.6B",
    "tune.optimizer": "adamw",
    "tune.matrix_learning_rate": None,
    "tune.learning_rate": 5e-5,
    "tune.steps": 200,
    "tune.batch_size": 32,
    "base.tune": {},
}


@pytest.fixture
def notices(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a maker of the notices for changed params, a student's size and a machine."""

    def of(size: StudentSize | None, pace: MachinePace | None, **changes: Any) -> list[str]:
        monkeypatch.setattr(tuning_needs, "student_size", lambda *_, **__: size)
        monkeypatch.setattr(machine_pace, "measure", lambda _: pace)
        dotted = {name.replace("__", "."): value for name, value in changes.items()}
        return student_notices.student_notices(workplace.params({**REAL, **dotted}), ask_hub=False)

    return of


def test_a_student_of_600_million_without_a_gpu_is_said_with_the_hours(notices: Any) -> None:
    (work, dtype) = notices(QWEN3, TWO_CORES)
    assert "596 million parameters and no GPU" in work
    # 4 trainings x 200 steps x 32 rows x 80 tokens; 6 N FLOPs at 200 GFLOP/s, 1.7 times as long
    hours = 6 * 440_401_920 * 2_048_000 * 1.7 / 200e9 / 3600
    assert f"about {2_048_000:,} tokens to tune on" in work
    assert hours == pytest.approx(12.8, abs=0.1)
    assert ", 13 h" in work, "with the answers"
    assert "`tune.method: lora`" in work
    assert "about 1.8 times as fast" in dtype


def test_with_a_gpu_only_the_short_time_is_said(notices: Any) -> None:
    (work,) = notices(QWEN3, H200, student__dtype="bfloat16")
    assert "no GPU" not in work
    assert " s (by this machine's matrix products" in work
    assert "Shorter" not in work


def test_too_little_memory_is_said_before_it_is_needed(notices: Any) -> None:
    small = replace(TWO_CORES, memory_bytes=4 * GIGA)
    found = notices(QWEN3, small)
    (said,) = [words for words in found if words.startswith("tune: needs about ")]
    assert "4.0 GB are free" in said
    adapters = notices(SMOLLM2, small, tune__method="lora", tune__learning_rate=1e-3,
                       tune__batch_size=8)  # fmt: skip
    assert not any(words.startswith("tune: needs") for words in adapters)


def test_the_memory_of_smollm2_is_about_what_it_took(configured: Settings) -> None:
    """3.6 GB were measured with 16 rows of 44 tokens, 5.5 GB with 16 rows of 139."""
    tune = configured.tune_at("0").model_copy(update={"batch_size": 16, "max_length": 512})
    for length, measured in ((44, 3.56), (139, 5.54)):
        reckoned = tuning_needs._memory(tune, SMOLLM2, length, configured) / 1e9
        assert measured < reckoned < 1.4 * measured


@pytest.fixture
def configured(workplace: Workplace) -> Settings:
    return workplace.params(REAL)


def test_a_dtype_that_this_processor_emulates_is_said(notices: Any) -> None:
    assert any("Set float32" in words for words in notices(SMOLLM2, NO_BFLOAT16,
               student__dtype="bfloat16"))  # fmt: skip
    assert not any("student.dtype" in words for words in notices(SMOLLM2, NO_BFLOAT16))


@pytest.mark.parametrize(
    ("method", "rate", "said"),
    [
        ("full", 5e-3, "1e-4"),  # the embedded student's
        ("full", 1e-4, None),
        ("lora", 1e-3, None),
        ("lora", 1e-5, "0.001"),
    ],
)
def test_a_rate_far_from_what_suits_size_and_method_is_said(
    notices: Any, method: str, rate: float, said: str | None
) -> None:
    found = notices(SMOLLM2, TWO_CORES, tune__method=method, tune__learning_rate=rate)
    about = [words for words in found if "learning_rate" in words]
    assert len(about) == (said is not None)
    assert said is None or f"{usual_rate(SMOLLM2.parameters, method):.1g} is usual" in about[0]  # type: ignore[arg-type]  # full or lora


def test_usual_rates_go_through_what_was_measured_and_the_papers() -> None:
    assert usual_rate(135_000_000, "full") == pytest.approx(1e-4)
    assert usual_rate(7_000_000_000, "full") == pytest.approx(2e-5)
    assert usual_rate(135_000_000, "lora") == pytest.approx(1e-3)


def test_after_the_base_its_own_seconds_count(notices: Any) -> None:
    """The base: 200 steps in 2,000 s, an exam in 60; three more trainings of as many steps."""
    for stage, seconds in (("tune", 2000.0), ("evaluate", 60.0)):
        path = Path(".lion/runs") / f"{stage}@0.json"
        files.write_metrics(path, RunRecord(True, 0, seconds, {}))
    metrics = TuneMetrics(
        new_rows=4000, old_rows=0, dropped={}, truncated=0, steps=200, supervised_tokens=1,
        final_loss_nats=1.0,
    )  # fmt: skip
    files.write_metrics(Path("metrics/0/tune.json"), metrics)
    work = notices(QWEN3, TWO_CORES)[0]
    minutes = (4 * 2000 + 60 * (1 + 2 * 3)) / 60
    assert f"{minutes // 60:.0f} h {minutes % 60:02.0f} min (as the base took here)" in work


def test_nothing_is_said_of_a_small_student_or_an_unknown_one(notices: Any) -> None:
    assert notices(replace(QWEN3, parameters=1_000_000), TWO_CORES) == []
    assert notices(None, TWO_CORES) == []


def test_a_students_server_answers_elsewhere(notices: Any) -> None:
    served = {"base_url": "http://127.0.0.1:9/v1", "api_key_env": None, "send_seed": True,
              "request": {}}  # fmt: skip
    (work, _) = notices(QWEN3, TWO_CORES, student__endpoint=served)
    assert "tokens to tune on and 0 to read and answer" in work


def test_a_model_of_the_hub_is_downloaded_where_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.json"
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(config))
    assert hub.downloaded("some/model", None) is None, "a rehearsal leaves the config alone"
    (tmp_path / "model.safetensors").touch()
    assert hub.downloaded("some/model", None) == tmp_path


def test_without_a_measurement_the_tokens_are_said(notices: Any) -> None:
    (work,) = notices(QWEN3, None)
    assert "tokens to tune on" in work
    assert "matrix products" not in work


def test_the_check_says_it_and_passes(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lion.cli.check.student_notices", lambda *_, **__: ["a long time"])
    monkeypatch.setattr("lion.cli.check.repository_problems", list)
    workplace.params({})
    done = CliRunner().invoke(main, ["check", "--offline"])
    assert done.exit_code == 0, done.output
    assert "notice: a long time" in done.output


@pytest.mark.slow
def test_this_machine_is_measured() -> None:
    pace = machine_pace.measure(1)
    assert pace is not None
    assert pace.of("float32") > GIGA
    assert pace.of("float16") == pace.of("bfloat16")
    assert pace.memory_bytes > GIGA

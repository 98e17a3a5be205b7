"""Measures what the pipeline as a whole claims, in clones under a temporary folder.

    python bench/pipeline.py --profile default --seeds 11,12,13
    python bench/pipeline.py --profile ci --claims noop,identical

Needs the extra `test`.

Each claim prints a table with both sides, and as its last line one JSON object:
{"name", "ours", "others", "ratio", "unit"}. A claim that is missed prints MISSED; the exit status
is 0 all the same, for a measurement is no test. Claims:

gain        macro accuracy of the last student above the base student's, and the seconds of a run
before      profile `default` alone: calls and accuracies beside those of the settings before, which
            had fewer steps, less replay and a referee as judge, paired by seed; to
            bench/default.json
noop        a second `dvc repro`: its seconds, and the replies that it adds (none)
identical   two clones: the outputs whose MD5 differ (none)
fourth      one line more in params.yaml: the stages that run (its own seven, and the report)
crash       `kill -9` in teach, review and tune, then a restart: same outputs, nothing paid twice
edits       the referee's prompt, the last iteration's learning rate: the stages that run again
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil
import yaml

from lion.metrics.exams import EvaluateMetrics

# the script's own folder comes first in the path, and it is called `pipeline` itself
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pipeline import LOOP_STAGES, Project, Run, stage_process
from polling import suspend_holding
from trials import commits

ROOT = Path(__file__).parents[1]
DEFAULT = ROOT / "bench" / "default.json"
LEAST_ITERATIONS = 3  # the claims on single iterations speak of 1, 2 and 3
MOST_SECONDS = 300.0
MOST_SECONDS_OF_NOTHING = 3.0
LEAST_GAIN = {"default": 10.0, "lab": 12.0, "ci": 0.0}  # points
LEAST_SAVED = 3_500  # calls
BEFORE = {
    # the profile `default` up to commit d39b187
    "review.judge": "referee",
    "tune.steps": 220,
    "tune.replay": 1.0,
    "base.tune": {"steps": 220},
}
KILLS = (
    ("teach@1", "stages.teach"),
    ("review@2", "stages.review"),
    ("tune@3", "stages.tune"),
)


@dataclass
class Bench:
    """A folder for clones, and the finished runs, which claims may copy and do not change."""

    folder: Path
    profile: str
    seeds: tuple[int, ...]
    _finished: dict[tuple[int, int], tuple[Project, Run]] = field(default_factory=dict)
    _made: int = 0

    def fresh(
        self, seed: int, iterations: int = 0, changes: Mapping[str, object] | None = None
    ) -> Project:
        """Return a project that was not run, with at least so many iterations."""
        project = Project.of_working_tree(self._next(), self.profile, threads=None)
        project.edit({"random_seed": seed, **(changes or {})})
        names = list(project.settings()["iterations"])
        for number in range(len(names) + 1, iterations + 1):
            project.append_iteration(str(number), str(number - 1))
        project.commit()
        return project

    def run(self, seed: int, changes: Mapping[str, object]) -> tuple[Project, Run]:
        """Return a project with changed params, and its finished run."""
        project = self.fresh(seed, changes=changes)
        return project, finish(project)

    def finished(self, seed: int, iterations: int = 0) -> tuple[Project, Run]:
        """Return a finished run of the profile, or of its loop made so many iterations longer."""
        key = seed, max(iterations, self._declared())
        if key not in self._finished:
            project = self.fresh(seed, iterations)
            self._finished[key] = project, finish(project)
        return self._finished[key]

    def _declared(self) -> int:
        """Return how many iterations the profile itself has."""
        profile = Path(__file__).parents[1] / "profiles" / f"{self.profile}.yaml"
        return len(yaml.safe_load(profile.read_text(encoding="utf-8"))["iterations"])

    @property
    def first(self) -> Project:
        """The finished run of the first seed, with the iterations that the claims speak of."""
        return self.finished(self.seeds[0], LEAST_ITERATIONS)[0]

    @property
    def first_run(self) -> Run:
        """What that run was."""
        return self.finished(self.seeds[0], LEAST_ITERATIONS)[1]

    def copy(self) -> Project:
        """Return a copy of the finished run."""
        return self.first.copy(self._next())

    def clone(self) -> Project:
        """Return a `git clone` of the finished run's commit: nothing of its outputs."""
        return self.first.clone(self._next())

    def _next(self) -> Path:
        self._made += 1
        return self.folder / f"{self._made}"


def finish(project: Project) -> Run:
    """Run `dvc repro`; end the measurement where it fails."""
    run = project.repro()
    if run.code != 0:
        sys.exit(f"dvc repro failed in {project.root}:\n{run.output[-3000:]}")
    return run


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head, columns aligned."""
    lines = [[*map(str, head)], *([*map(str, row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(line, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())


def verdict(name: str, ours: float, others: float, unit: str, *, held: bool) -> None:
    """Print whether the claim held, and its line of JSON."""
    print(f"{name}: {'held' if held else 'MISSED'}")
    ratio = round(ours / others, 3) if others else None
    print(json.dumps({"name": name, "ours": ours, "others": others, "ratio": ratio, "unit": unit}))


# --- the claims ------------------------------------------------------------------------------


def gain(bench: Bench) -> None:
    """Print, per seed, what the loop brought and what it took."""
    rows, gains, seconds = [], [], []
    for seed in bench.seeds:
        project, run = bench.finished(seed)
        base, *_, last = accuracies(project)
        quality = [exam.quality_percent or 0.0 for exam in examined(project)]
        rises = "".join("+" if b > a else "-" for a, b in pairwise(quality))
        figures = [f"{base:.1f}", f"{last:.1f}", f"{last - base:+.1f}", rises]
        rows.append([seed, *figures, f"{run.seconds:.0f}", project.replies()])
        gains.append(last - base)
        seconds.append(run.seconds)
    table(["seed", "base %", "last %", "gain", "quality rose", "seconds", "replies"], rows)
    mean, claimed = statistics.fmean(gains), LEAST_GAIN[bench.profile]
    verdict("gain", round(mean, 2), claimed, "points", held=mean >= claimed)
    if bench.profile == "default":  # the only one that promises a time
        took = statistics.fmean(seconds)
        verdict("seconds", round(took, 1), MOST_SECONDS, "s", held=max(seconds) < MOST_SECONDS)


def before(bench: Bench) -> None:
    """Print, per seed, calls and accuracies, and those of the settings before with their referee.

    Steps and replay differ, too: it compares two profiles, not two judges. Both sides of each seed
    go to bench/default.json, from which README and docs quote.
    """
    seeds = []
    for seed in bench.seeds:
        sides = {"now": bench.finished(seed), "before": bench.run(seed, BEFORE)}
        figures = {
            name: {"calls": project.replies(), "seconds": round(run.seconds)}
            | {"accuracy_percent": [round(value, 2) for value in accuracies(project)]}
            for name, (project, run) in sides.items()
        }
        seeds.append({"seed": seed, **figures})
    DEFAULT.write_text(
        json.dumps({"commit": commits.described(), "seeds": seeds}) + "\n", encoding="utf-8"
    )
    keys = bench.first.settings()["iterations"]
    rows = [
        [seed["seed"], name, side["calls"], side["seconds"], *side["accuracy_percent"]]
        for seed in seeds
        for name, side in seed.items()
        if name != "seed"
    ]
    table(["seed", "settings", "calls", "seconds", "base %", *(f"{key} %" for key in keys)], rows)
    saved = [seed["before"]["calls"] - seed["now"]["calls"] for seed in seeds]
    ahead = [
        seed["now"]["accuracy_percent"][-1] - seed["before"]["accuracy_percent"][-1]
        for seed in seeds
    ]
    print(f"points ahead at the end: {', '.join(f'{value:+.1f}' for value in ahead)}")
    held = min(saved) >= LEAST_SAVED and statistics.fmean(ahead) >= 0
    verdict("fewer calls", min(saved), LEAST_SAVED, "calls", held=held)


def accuracies(project: Project) -> list[float]:
    """Return the macro accuracy in per cent of the base and of each iteration's student."""
    return [100 * (exam.accuracy_share or 0.0) for exam in examined(project)]


def examined(project: Project) -> list[EvaluateMetrics]:
    """Return the exam's metrics of the base and of each iteration's student."""
    keys = ["0", *project.settings()["iterations"]]
    return [project.metrics(key, EvaluateMetrics) for key in keys]


def noop(bench: Bench) -> None:
    """Print what a second `dvc repro` does."""
    project, first = bench.first, bench.first_run
    before = project.replies()
    again = finish(project)
    added = project.replies() - before
    head = ["run", "seconds", "stages", "replies"]
    rows = [
        ["first", f"{first.seconds:.1f}", len(first.stages), before],
        ["second", f"{again.seconds:.1f}", len(again.stages), added],
    ]
    table(head, rows)
    held = not again.stages and added == 0 and again.seconds < MOST_SECONDS_OF_NOTHING
    verdict("noop", round(again.seconds, 2), round(first.seconds, 2), "s", held=held)


def identical(bench: Bench) -> None:
    """Print the outputs in which two clones differ."""
    second = bench.clone()
    finish(second)
    differing = differences(bench.first, second)
    outs = len(bench.first.outs())
    table(["outputs", "that differ"], [[outs, ", ".join(differing) or "none"]])
    verdict("identical", len(differing), outs, "outputs that differ", held=not differing)


def fourth(bench: Bench) -> None:
    """Print the stages that one more line runs."""
    project = bench.copy()
    last = list(project.settings()["iterations"])[-1]
    key = str(int(last) + 1)
    project.append_iteration(key, last)
    run = finish(project)
    expected = [*(f"{stage}@{key}" for stage in LOOP_STAGES), "report"]
    everything = len(bench.first_run.stages) + len(LOOP_STAGES)
    rows = [["one line", len(run.stages), f"{run.seconds:.1f}", " ".join(run.stages)]]
    rows.append(["everything", everything, "", ""])
    table(["run", "stages", "seconds", ""], rows)
    verdict("fourth", len(run.stages), everything, "stages", held=run.stages == expected)


def crash(bench: Bench) -> None:
    """Print what kills in three stages changed, and what they cost in replies."""
    undisturbed = bench.first
    project = bench.clone()
    rows = [[name, *kill(project, undisturbed, name, module)] for name, module in KILLS]
    finish(project)
    table(["killed", "after s", "replies then"], rows)
    differing = differences(undisturbed, project)
    missing = undisturbed.requests() ^ project.requests()
    calls = [counted.calls("teach@1") for counted in (project, undisturbed)]
    sides = [
        ["undisturbed", undisturbed.replies(), undisturbed.failures(), calls[1]],
        ["killed", project.replies(), project.failures(), calls[0]],
    ]
    table(["run", "replies", "failed calls", "last calls of teach@1"], sides)
    print(f"outputs that differ: {', '.join(differing) or 'none'}; requests: {len(missing)}")
    held = not differing and not missing
    verdict("crash", project.replies(), undisturbed.replies(), "replies", held=held)


def kill(project: Project, undisturbed: Project, name: str, module: str) -> list[object]:
    """Kill a stage's process at half of what it took undisturbed; return when, and the replies."""
    half = undisturbed.record(name).seconds / 2
    with project.repro_in_background() as dvc:
        process = stage_process(dvc, module, name.partition("@")[2])
        started = when_started(project, name, process)
        before = project.replies()
        with suppress(psutil.TimeoutExpired):
            process.wait(max(0.0, started + half - time.monotonic()))
        after = time.monotonic() - started
        process.kill()
        dvc.wait(60)
    return [f"{after:.2f}", f"{project.replies()} ({project.replies() - before} since its start)"]


def when_started(project: Project, name: str, process: psutil.Process) -> float:
    """Wait until the stage holds its lock, which it takes after its imports; return when."""
    if suspend_holding(process, project.root / ".lion" / "locks" / f"{name}.lock"):
        process.resume()
    return time.monotonic()


def edits(bench: Bench) -> None:
    """Print the stages that two edits run again."""
    prompted, slower = bench.copy(), bench.copy()
    everything = len(bench.first_run.stages)
    prompt = prompted.root / "prompts" / "referee" / "user.txt"
    prompt.write_text("Be strict.\n" + prompt.read_text(encoding="utf-8"), encoding="utf-8")
    last = list(slower.settings()["iterations"])[-1]
    slower.edit({f"iterations.{last}.tune": {"learning_rate": 0.001}})
    ran = {"referee's prompt": finish(prompted).stages, f"rate of {last}": finish(slower).stages}
    table(["edit", "stages", ""], [[edit, len(ran[edit]), " ".join(ran[edit])] for edit in ran])
    costly = {"base-teach", "base-tune", "seed"}
    held = costly.isdisjoint(ran["referee's prompt"]) and "review@1" in ran["referee's prompt"]
    first = len(ran["referee's prompt"])
    verdict("edit of the referee's prompt", first, everything, "stages", held=held)
    ours = ran[f"rate of {last}"]
    expected = [f"tune@{last}", f"evaluate@{last}", "report"]
    verdict("edit of a learning rate", len(ours), everything, "stages", held=ours == expected)


def differences(one: Project, other: Project) -> list[str]:
    """Return the outputs whose MD5 differ, or that only one of the two has."""
    ours, theirs = one.outs(), other.outs()
    return sorted(path for path in ours | theirs if ours.get(path) != theirs.get(path))


CLAIMS: dict[str, Callable[[Bench], None]] = {
    "gain": gain,
    "before": before,
    "noop": noop,
    "identical": identical,
    "fourth": fourth,
    "crash": crash,
    "edits": edits,
}


# --- the command line ------------------------------------------------------------------------


def main() -> None:
    """Measure what the arguments name."""
    asked = arguments()
    with folder(asked.keep) as place:
        bench = Bench(place, asked.profile, asked.seeds)
        for name in asked.claims:
            print(f"\n== {name}, profile {asked.profile}, seeds {asked.seeds}", flush=True)
            CLAIMS[name](bench)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", choices=sorted(LEAST_GAIN), default="default")
    parser.add_argument(
        "--seeds", type=numbers, default=(11, 12, 13), help="of `gain`; the first of all others"
    )
    parser.add_argument(
        "--claims", type=claims, help=f"{','.join(CLAIMS)}; none: all of the profile"
    )
    parser.add_argument("--keep", type=Path, help="an empty folder for the clones, kept")
    asked = parser.parse_args()
    fitting = [name for name in CLAIMS if name != "before" or asked.profile == "default"]
    asked.claims = asked.claims or fitting
    if not set(asked.claims) <= set(fitting):
        parser.error("the claim `before` is of the profile default alone")
    return asked


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers with commas."""
    return tuple(int(part) for part in text.split(","))


def claims(text: str) -> tuple[str, ...]:
    """Read names of claims with commas."""
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in CLAIMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such claim: {', '.join(unknown)}")
    return names


@contextmanager
def folder(keep: Path | None) -> Iterator[Path]:
    """Yield the folder to clone into: the user's own, or one that is removed at the end."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as made:
        yield Path(made)


if __name__ == "__main__":
    main()

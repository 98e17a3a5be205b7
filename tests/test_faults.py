"""Faults done to asking and to a real `dvc repro`; bench/faults.py does many more of them."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from asking import Open, ask_for, kept, texts
from dvc.lock import Lock, LockError, make_lock
from fake_server import Behaviour, Call, ChatServer, says
from fake_server.lies import LIES
from fixtures import ROOT
from pipeline import stage_process
from polling import is_alive, suspend_holding, wait_for_end
from running import Finished

from lion import console
from lion.pipeline import dvc_project
from lion.records import jsonl, output_marks
from lion.student import checkpoint

# --- a teacher that lies ---------------------------------------------------------------------

REASONS = {
    "a page in the place of JSON": "malformed_reply",
    "200 with an error body": "broken_off",
    "10 MB of answer": "unreadable_reply",
    "10 MB of nothing": "unreadable_reply",
    "10 MB of refusal": "unreadable_reply",
    "invalid UTF-8": "malformed_reply",
    "deeply nested JSON": "malformed_reply",
    "an empty body": "malformed_reply",
    "a null answer": "empty_reply",
    "choices of the wrong type": "malformed_reply",
    "a zip bomb": "unreadable_reply",
    "a packing that nobody asked for": "unreadable_reply",
    "bytes that claim to be gzip": "connection",
    "half a body": "connection",
    "a reset connection": "connection",
    "a slow drip": "timeout",
    "silence": "timeout",
    "an endless stream": "unreadable_reply",
    "an endless slow stream": "timeout",
}
SETTLED = ("an event stream",)  # another try would bring the same


def test_every_lie_has_its_reason() -> None:
    assert {*REASONS, *SETTLED} == set(LIES)


def test_a_stream_that_was_not_requested_is_billed_once(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    """A server that streams will stream again: the row fails with its reason, after one call."""
    chat_server.answer = LIES["an event stream"](says("honest").body)
    with opened(tries=3) as client:
        assert texts(client.complete([ask_for(0)])) == ["! unreadable_content"]
    assert (len(chat_server.calls), kept(tmp_path)) == (1, 1)


@pytest.mark.parametrize(("name", "reason"), REASONS.items(), ids=REASONS)
def test_a_lie_is_asked_again_and_never_kept(
    chat_server: ChatServer, opened: Open, tmp_path: Path, name: str, reason: str
) -> None:
    """q0 is lied to once, q1 always: the one is answered, the other fails with its reason."""
    lie = LIES[name](says("honest").body)

    def answer(call: Call) -> Behaviour:
        first = call.question not in chat_server.questions[: call.number - 1]
        return lie if call.question == "q1" or first else says("honest")

    chat_server.answer = answer
    with opened(timeout=1.0 if reason == "timeout" else 60.0, tries=2) as client:
        assert texts(client.complete([ask_for(0), ask_for(1)])) == ["honest", f"! {reason}"]
    assert kept(tmp_path) == 1


def test_an_endless_reply_does_not_fill_the_memory(chat_server: ChatServer, opened: Open) -> None:
    chat_server.answer = Behaviour(body=b" " * (1 << 20), endless=True)
    before = psutil.Process().memory_info().rss
    with opened(timeout=3.0, tries=1) as client:
        client.complete([ask_for(number) for number in range(4)])
    assert psutil.Process().memory_info().rss - before < 300 << 20


# --- a full disk -----------------------------------------------------------------------------

_ASKING = """
import sys
from pathlib import Path
from lion import console
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.config.settings import Api, Endpoint, Modes
from lion.prompting.protocol import Request
endpoint = Endpoint(base_url=sys.argv[1], model="m-1", api_key_env=None, send_seed=True, request={})
api = Api(concurrency=4, timeout=60.0, tries=3, max_wait=1.0, max_request_seconds=600.0,
          requests_per_minute=None, tokens_per_minute=None, batch_least=1, batch_tail=0.0,
          mode=Modes(teacher="live", referee="live", generator="live"))
with console.error_boundary():
    with Ledger(Path(sys.argv[2])) as ledger, LLMClient(endpoint, api, ledger, 0) as client:
        client.complete([Request(({"role": "user", "content": f"q{n}"},)) for n in range(300)])
"""


@pytest.mark.slow
def test_a_full_disk_loses_what_is_in_flight_and_no_more(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    """A file that may not grow stands for the disk; the next run asks for the rest."""
    command = [sys.executable, "-c", _ASKING, chat_server.url, str(tmp_path / "ledger.sqlite")]

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=small)
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert "Make room on the disk and run again" in full.stderr
    before = kept(tmp_path)
    assert 0 < before < 300
    subprocess.run(command, check=True)
    assert kept(tmp_path) == chat_server.distinct == 300
    assert len(chat_server.calls) <= 300 + 4


@pytest.mark.parametrize(
    ("code", "way_out"), [(errno.ENOSPC, "Make room on the disk"), (errno.EACCES, "Let this user")]
)
def test_what_the_disk_refuses_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str], code: int, way_out: str
) -> None:
    with pytest.raises(SystemExit) as ended, console.error_boundary("The way back."):
        raise OSError(code, os.strerror(code), "data/1/verdicts.jsonl")
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert f"error: data/1/verdicts.jsonl: {os.strerror(code)}. {way_out}" in told
    assert "The way back." in told


def test_weights_that_find_no_room_are_told_without_a_traceback(tmp_path: Path) -> None:
    """By safetensors itself, which raises no OSError; the limit stands for a full disk."""
    code = (
        "import resource, signal, torch; from lion import console; "
        "from safetensors.torch import save_file; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "with console.error_boundary(): save_file({'a': torch.zeros(9999)}, 'a.safetensors')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {os.strerror(errno.EFBIG)}. Make room on the disk")
    assert "Traceback" not in done.stderr


def test_what_nobody_foresaw_keeps_its_traceback() -> None:
    with pytest.raises(ConnectionResetError), console.error_boundary():
        raise ConnectionResetError(errno.ECONNRESET, "reset")


# --- what a killed writer leaves --------------------------------------------------------------


def test_what_a_killed_writer_left_is_removed_and_no_others(tmp_path: Path) -> None:
    """Beside `metrics/`, on which `report` depends as a whole, a stray file would be an input."""
    for name in (".a.json.k3_9dq0x", ".b.json.k3_9dq0x", ".a.json.mine"):
        (tmp_path / name).write_bytes(b"half")
    jsonl.write_document(tmp_path / "a.json", {"whole": True})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".a.json.mine", ".b.json.k3_9dq0x", "a.json"]


def test_a_half_written_student_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".student.k3_9dq0x" / "new").mkdir(parents=True)
    with checkpoint.replacing_folder(tmp_path / "student") as folder:
        (folder / "config.json").write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


# --- dvc checkout during a stage ---------------------------------------------------------------


def test_an_output_that_somebody_changes_meanwhile_stops_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `dvc checkout` does: another file, or another folder, in the same place."""
    monkeypatch.chdir(tmp_path)
    output_marks.forget_outputs()
    metrics, folder = Path("metrics/1/split.json"), Path("data/1/student")
    jsonl.write_document(metrics, {"new": 1})
    jsonl.write_document(Path(".lion/runs/split@1.json"), {"new": 1})
    with checkpoint.replacing_folder(folder) as temporary:
        (temporary / "config.json").write_text("{}")
    Path(".lion/runs/split@1.json").unlink()
    assert output_marks.changed_outputs() == []
    older = tmp_path / "older"
    older.write_bytes(metrics.read_bytes())
    older.replace(metrics)
    (folder / "config.json").unlink()
    assert output_marks.changed_outputs() == [metrics, folder]
    metrics.unlink()
    assert output_marks.changed_outputs() == [metrics, folder]


def test_a_change_right_after_the_writing_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `dvc checkout` may come as soon as the name is there."""
    monkeypatch.chdir(tmp_path)
    output_marks.forget_outputs()
    rename = Path.replace

    def checked_out(path: Path, target: Path) -> Path:
        done = rename(path, target)
        target.unlink()
        target.write_text("older")
        return done

    monkeypatch.setattr(Path, "replace", checked_out)
    jsonl.write_document(Path("metrics/1/split.json"), {"new": 1})
    assert output_marks.changed_outputs() == [Path("metrics/1/split.json")]


def test_a_stage_waits_for_another_dvc_and_lets_none_begin_before_it_ends(tmp_path: Path) -> None:
    """By DVC's own lock, which another process holds first as `dvc checkout` does."""
    stage = (
        "from lion.records import output_marks; "
        "output_marks.keep_dvc_out(lambda: print('waiting', flush=True)); "
        "print('held', flush=True); input()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    lock = tmp_path / ".dvc/tmp/lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    other = Lock(str(lock))
    other.lock()
    with subprocess.Popen(
        [sys.executable, "-c", stage],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        other.unlock()
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LockError):
            other.lock()
        process.communicate("\n")
    other.lock()
    other.unlock()


def test_where_there_is_no_dvc_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output_marks.keep_dvc_out(lambda: pytest.fail("waited"))


# --- dvc.lock, cut off -----------------------------------------------------------------------

STAGE = {"cmd": "x", "outs": [{"path": "a", "md5": "0" * 32, "hash": "md5", "size": 1}]}
LOCK = json.dumps({"schema": "2.0", "stages": {"seed": STAGE}}).encode()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    dvc_project.PATH.write_bytes(LOCK)
    return tmp_path


@pytest.mark.parametrize("length", [0, 1, 20, len(LOCK) - 1])
@pytest.mark.usefixtures("elsewhere")
def test_a_lock_that_is_cut_off_is_put_back(length: int) -> None:
    dvc_project.keep_lock()
    dvc_project.PATH.write_bytes(LOCK[:length])
    dvc_project.keep_lock()  # a stage that starts meanwhile keeps no damaged one
    assert dvc_project.mend_lock()
    assert dvc_project.PATH.read_bytes() == LOCK
    assert not dvc_project.mend_lock()


@pytest.mark.parametrize("content", [b"", b'{"write": {"data', b"\xff"])
@pytest.mark.usefixtures("elsewhere")
def test_a_list_of_paths_in_use_that_is_cut_off_is_removed(content: bytes) -> None:
    path = Path(".dvc/tmp/rwlock")
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"write": {}, "read": {}}')
    assert not dvc_project.remove_cut_off_rwlock()
    path.write_bytes(content)
    with make_lock(f"{path}.lock", tmp_dir=".dvc/tmp"):  # a dvc at work may be about to write it
        assert not dvc_project.remove_cut_off_rwlock()
    assert path.exists()
    assert dvc_project.remove_cut_off_rwlock()
    assert not path.exists()
    assert not dvc_project.remove_cut_off_rwlock()


@pytest.mark.usefixtures("elsewhere")
def test_a_lock_of_which_nothing_is_kept_is_set_aside() -> None:
    dvc_project.PATH.write_bytes(b"")
    assert dvc_project.mend_lock()
    assert not dvc_project.PATH.exists()
    assert dvc_project.lock_is_whole()


@pytest.mark.usefixtures("elsewhere")
def test_a_lock_that_git_could_not_merge_is_left_to_its_reader() -> None:
    """The copy of the last stage's start would be a silent choice of one side, less a stage."""
    dvc_project.keep_lock()
    both = b"\n".join((b"<<<<<<< HEAD", LOCK, b"=======", LOCK, b">>>>>>> theirs", b""))
    dvc_project.PATH.write_bytes(both)
    assert not dvc_project.mend_lock()
    assert dvc_project.PATH.read_bytes() == both


def test_the_lock_of_an_experiment_elsewhere_is_not_kept(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(elsewhere / "main"))
    dvc_project.keep_lock()
    assert not list(elsewhere.rglob("main/.lion/*"))


@pytest.mark.slow
def test_lion_run_goes_on_where_dvc_was_killed_while_it_wrote_its_lock(
    finished: Finished, tmp_path: Path
) -> None:
    project = finished.project.copy(tmp_path / "project")
    (project.root / "dvc.lock").write_bytes(b"")  # as DVC leaves it before it writes
    assert project.repro("--dry").code != 0
    assert "`lion run` puts the last whole one back" in project.run("lion.cli", "check").output
    run = project.run("lion.cli", "run")
    assert run.code == 0, run.output
    assert set(run.stages) <= {"report"}  # written after the last copy was made
    assert project.outs() == finished.project.outs()


# --- an orphan beside a second dvc repro -----------------------------------------------------


def test_an_orphan_is_not_written_over_and_the_way_out_is_named(
    finished: Finished, tmp_path: Path
) -> None:
    """Killed -9, dvc leaves its stage running: halted here, so that both are there at once."""
    project = finished.project.copy(tmp_path / "project")
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", "split@1"]
    with subprocess.Popen(
        command, cwd=project.root, env=project.environment(), stdout=subprocess.DEVNULL
    ) as dvc:
        orphan = stage_process(dvc, "stages.split", "1")
        held = suspend_holding(orphan, project.root / ".lion" / "locks" / "split@1.lock")
        dvc.kill()
    try:
        assert held, "the stage ended before it was seen holding its lock"
        second = project.repro("--single-item", "--force", "split@1")
        assert second.code != 0
        assert "runs already in another process" in second.output
        orphan.resume()
        wait_for_end(orphan)
    finally:
        if is_alive(orphan):
            orphan.kill()
    assert project.repro("--single-item", "split@1").code == 0
    assert project.outs() == finished.project.outs()


# --- the campaign itself ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_short_campaign_survives_everything(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / "faults.py"), "--folder", str(tmp_path / "at")]
    families = ["kills", "orphans", "outputs", "two", "lies", "remotes"]
    command += ["--out", str(tmp_path / "out.md"), "--most", "2", "--families", *families]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["ours"] == figures["others"] > 10, done.stdout
    assert "| replies lost | 0 |" in (tmp_path / "out.md").read_text(encoding="utf-8")

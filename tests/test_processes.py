"""Local child processes: what they print, how they end, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook_engine.commands.output import Capture, last_line, lines_of
from runbook_engine.commands.processes import Cancellation, Finished, inherited_environment, run
from runbook_engine.errors import Refused, TargetError

# Each shape leaves processes that carry MARK in their command line.
SHAPES = {
    "a sleeper that ignores TERM": "trap '' TERM; python3 -c 'import time; time.sleep(300)' MARK; sleep 300",
    "a grandchild in a session of its own": "setsid python3 -c 'import time; time.sleep(300)' MARK & sleep 300",
    "a daemon by double fork": "(setsid python3 -c 'import time; time.sleep(300)' MARK </dev/null >/dev/null 2>&1 &); "
    "sleep 300",
    "a daemon without our environment": "(env -i setsid /usr/bin/python3 -c 'import time; time.sleep(300)' MARK "
    "</dev/null >/dev/null 2>&1 &); sleep 300",
    "a holder of the pipe": "python3 -c 'import time; time.sleep(300)' MARK & sleep 300",
    "endless output": "python3 -c 'while True: print(1)' MARK",
    "a zombie": "python3 -c 'import os, time; os.fork() or os._exit(0); time.sleep(300)' MARK",
    "a stopped process": "python3 -c 'import os, signal; os.kill(os.getpid(), signal.SIGSTOP)' MARK",
}


def marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in line:
                found.append(int(entry.name))
    return found


@pytest.fixture
def mark() -> Iterator[str]:
    value = f"mark-{uuid.uuid4().hex}"
    yield value
    for pid in marked(value):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def shell(script: str, deadline: float = 20.0, **more: object) -> Finished:
    return run(["sh", "-c", script], env=inherited_environment(), deadline=deadline, **more)  # type: ignore[arg-type]


def wait_for(mark: str, present: bool) -> bool:
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        if bool(marked(mark)) is present:
            return True
        time.sleep(0.02)
    return False


def test_an_answer_has_the_exit_code_and_both_streams() -> None:
    finished = shell("echo out; echo err >&2; exit 3")
    assert (finished.exit_code, finished.stdout, finished.stderr) == (3, "out\n", "err\n")


def test_an_end_by_a_signal_is_a_negative_exit_code() -> None:
    assert shell("kill -9 $$").exit_code == -9


def test_standard_input_is_what_was_given_and_else_empty() -> None:
    assert shell("cat", stdin=b"x" * 300_000).stdout_dropped == 300_000 - 256 * 1024
    assert shell("cat").stdout == ""


def test_a_program_that_does_not_exist_did_not_happen() -> None:
    with pytest.raises(TargetError) as caught:
        run(["no-such-program"], env=inherited_environment(), deadline=5)
    assert (caught.value.code, caught.value.happened) == ("not_found", "no")


def test_a_file_that_is_no_program_and_a_missing_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    with pytest.raises(TargetError) as caught:
        run([str(tmp_path / "plain")], env=inherited_environment(), deadline=5)
    assert caught.value.code == "not_allowed"
    with pytest.raises(TargetError, match="working folder") as caught:
        shell("true", cwd=str(tmp_path / "gone"))
    assert (caught.value.code, caught.value.happened) == ("not_found", "no")


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_words_that_no_command_can_take_are_refused(word: str) -> None:
    with pytest.raises(Refused):
        run(["echo", word], env=inherited_environment(), deadline=5)


def test_only_listed_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "canary")
    monkeypatch.setenv("LC_TIME", "C")
    seen = run(["env"], env=inherited_environment({"EXTRA": "1"}), deadline=5).stdout
    assert "canary" not in seen
    assert {"LC_TIME=C", "TERM=dumb", "EXTRA=1"} <= set(seen.splitlines())


@pytest.mark.parametrize("keep", [False, True], ids=["read", "write"])
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_survives_the_deadline(shape: str, keep: bool, mark: str) -> None:
    with pytest.raises(TargetError) as caught:
        shell(SHAPES[shape].replace("MARK", mark), deadline=0.6, keep=keep)
    assert (caught.value.code, caught.value.happened) == ("timeout", "unknown")
    assert marked(mark) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_survives_a_cancellation(shape: str, mark: str) -> None:
    bell = Cancellation()

    def ring() -> None:
        wait_for(mark, True)
        bell.ring()

    ringer = threading.Thread(target=ring)
    ringer.start()
    with pytest.raises(TargetError) as caught:
        shell(SHAPES[shape].replace("MARK", mark), deadline=30, cancellation=bell)
    ringer.join()
    bell.close()
    assert caught.value.code == "cancelled"
    assert marked(mark) == []


def engine(script: str, keep: bool) -> subprocess.Popen[bytes]:
    program = f"""
    from runbook_engine.commands.processes import inherited_environment
    from runbook_engine.commands.processes import run
    run(["sh", "-c", {script!r}], env=inherited_environment(), deadline=60, keep={keep})
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_read_does_not_survive_the_death_of_the_engine(shape: str, mark: str) -> None:
    process = engine(SHAPES[shape].replace("MARK", mark), keep=False)
    # The engine's own command line holds the mark as well, so its children are what is waited for.
    limit = time.monotonic() + 10
    while len(marked(mark)) < 3 and time.monotonic() < limit:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert wait_for(mark, False)


def test_a_write_finishes_after_the_death_of_the_engine(tmp_path: Path, mark: str) -> None:
    begun, done = tmp_path / "begun", tmp_path / "done"
    script = f"touch {begun}; sleep 1; for i in $(seq 20000); do echo {mark}; done; echo late >&2; touch {done}"
    process = engine(script, keep=True)
    limit = time.monotonic() + 10
    while not begun.exists() and time.monotonic() < limit:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert wait_for(mark, False)
    assert done.exists()


def test_what_a_write_starts_in_the_background_stays(mark: str) -> None:
    finished = shell(
        f"(setsid python3 -c 'import time; time.sleep(300)' {mark} </dev/null >/dev/null 2>&1 &); echo started",
        keep=True,
    )
    assert finished.stdout == "started\n"
    assert wait_for(mark, True)


def test_what_a_read_starts_in_the_background_is_ended(mark: str) -> None:
    shell(f"(setsid python3 -c 'import time; time.sleep(300)' {mark} </dev/null >/dev/null 2>&1 &); exit 0")
    assert wait_for(mark, False)


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_answer(mark: str) -> None:
    finished = shell(f"echo first; python3 -c 'import time; time.sleep(300)' {mark} & exit 4", keep=True, deadline=30)
    assert (finished.exit_code, finished.stdout) == (4, "first\n")


def test_a_hundred_million_bytes_stay_within_the_cap_and_are_counted() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    finished = shell("printf first; head -c 100000000 /dev/zero; printf last")
    assert finished.stdout.startswith("first") and finished.stdout.endswith("last")
    assert finished.stdout_dropped == 100_000_009 - 256 * 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_a_cancellation_before_the_start_is_not_lost(tmp_path: Path) -> None:
    bell = Cancellation()
    bell.ring()
    with pytest.raises(TargetError) as caught:
        shell(f"touch {tmp_path / 'canary'}", cancellation=bell)
    assert (caught.value.code, caught.value.happened) == ("cancelled", "no")
    assert shell("echo again", cancellation=bell).stdout == "again\n"
    assert list(tmp_path.iterdir()) == []
    bell.close()
    bell.ring()


def test_no_descriptor_is_left_open() -> None:
    shell("true")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        shell("true")
        with pytest.raises(TargetError):
            run(["no-such-program"], env=inherited_environment(), deadline=5)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_capture_keeps_head_and_tail_whatever_the_chunks(step: int) -> None:
    data = bytes(range(32, 127)) * 40
    capture = Capture(cap=300, head=100)
    for start in range(0, len(data), step):
        capture.add(data[start : start + step])
    head, note, tail = capture.text().split("\n")
    assert head.encode() == data[:100] and tail.encode() == data[-200:]
    assert note == f"[{len(data) - 300} bytes left out]" and capture.dropped == len(data) - 300


def test_a_capture_within_its_cap_is_unchanged() -> None:
    capture = Capture(cap=10, head=4)
    capture.add(b"abcdefghij")
    assert (capture.text(), capture.dropped) == ("abcdefghij", 0)


def test_lines_are_split_at_line_feeds_alone() -> None:
    assert lines_of("a\r\nb\x0cc\u2028d\n\n") == ["a", "b\x0cc\u2028d", ""]
    assert lines_of("") == []
    assert last_line("one\n two \n\n") == "two"

"""What the command line loads, says and returns: light help, honest mistakes, documented exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import RUNBOOK, Place, run_id

from runbook_engine import __version__, cli
from runbook_engine.cli import COMMANDS
from runbook_engine.errors import UsageError
from runbook_engine.redaction import Redactor

HEAVY = ["pydantic", "jinja2", "yaml", "psycopg", "redis", "paramiko", "rich", "sqlite3", "asyncio", "ssl"]
SLOW = """
runbook: 1
name: slow
title: A probe that takes its time
targets: {here: local}
inputs:
  file: {type: string, default: here, help: made when the probe begins}
  queue: {type: string, optional: true, pattern: "^[a-z]+$"}
  most: {type: integer, default: 5, maximum: 9}
symptoms:
  - id: wait
    title: Wait
    shell: [PYTHON, probe.py, "${{ file }}"]
    effect: read
    timeout: 40s
    facts: {ended: exit_code}
    present: ended != 0
resolution:
  - {id: mend, title: Mend, effect: disruptive, shell: ["true"], verify: {until: ended == 0, within: 1s, hold: 1s}}
"""
ENVIRONMENTS = """
environments:
  here: {targets: {here: {kind: local}}}
  there: {targets: {here: {kind: local}}}
default: here
"""
PROBE = "import pathlib, sys, time\npathlib.Path(sys.argv[1]).touch()\ntime.sleep(30)\n"
QUICK = """
runbook: 1
name: quick
title: Is the file there
targets: {here: local}
symptoms:
  - {id: look, title: Look, shell: [ls, /], effect: read, facts: {ended: exit_code}, present: ended != 0}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A working folder with playbooks and two environments."""
    folder = tmp_path / "work"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "playbooks" / "slow.yaml").write_text(
        SLOW.replace("PYTHON", sys.executable).replace("probe.py", str(folder / "probe.py"))
    )
    (folder / "probe.py").write_text(PROBE)
    (folder / "playbooks" / "quick.yaml").write_text(QUICK)
    (folder / "runbook.yaml").write_text(ENVIRONMENTS)
    return Place(folder, tmp_path / "state", {"XDG_CONFIG_HOME": str(tmp_path / "config")})


def loaded_by(*words: str, **environ: str) -> tuple[str, list[str]]:
    """What a command printed, and which heavy packages it imported on the way."""
    code = (
        f"import sys, atexit\nsys.argv = {['runbook', *words]!r}\n"
        f"atexit.register(lambda: print([n for n in {HEAVY!r} if n in sys.modules], file=sys.stderr))\n"
        "from runbook_engine.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environ}, check=False
    )
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stderr.splitlines()[-1].replace("'", '"'))
    return done.stdout, names


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version",)])
def test_help_and_version_load_click_and_nothing_heavier(words: tuple[str, ...]) -> None:
    shown, heavy = loaded_by(*words)
    assert heavy == []
    assert __version__ in shown if words == ("--version",) else "Exit codes" in shown


def complete(words: str, at: int) -> tuple[str, list[str]]:
    return loaded_by(_RUNBOOK_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(at))


@pytest.mark.parametrize(
    ("words", "at", "wanted"),
    [
        ("runbook re", 1, ["plain,report", "plain,resume"]),
        ("runbook run queue-b", 2, ["plain,queue-backlog"]),
        ("runbook run --out", 2, ["plain,--output"]),
        ("runbook run --output j", 3, ["plain,json"]),
        ("runbook sandbox he", 2, ["plain,heal"]),
        ("runbook report --fo", 2, ["plain,--format"]),
    ],
)
def test_completion_loads_click_and_nothing_heavier(words: str, at: int, wanted: list[str]) -> None:
    shown, heavy = complete(words, at)
    assert sorted(shown.splitlines()) == wanted
    assert heavy == []


def commands() -> list[tuple[str, ...]]:
    sandbox = ("up", "down", "status", "faults", "break", "heal", "matrix")
    return [*((name,) for name in COMMANDS), *(("sandbox", name) for name in sandbox)]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    from runbook_engine.cli import group

    assert group.main([*command, "--help"], standalone_mode=False, prog_name="runbook") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: runbook {' '.join(command)}") and len(shown.splitlines()) > 4


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("run", "queue-backlg"), "did you mean 'queue-backlog'"),
        (("run", "no-such-thing-at-all"), "runbook list"),
        (("run", "missing/file.yaml"), "missing/file.yaml cannot be read"),
        (("run", "slow", "-i", "queue=UPPER"), "queue"),
        (("run", "slow", "-i", "most=many"), "most"),
        (("run", "slow", "-i", "most=10"), "9"),
        (("run", "slow", "-i", "mst=1"), "did you mean 'most'"),
        (("run", "slow", "-i", "most"), "name=value"),
        (("run", "slow", "--env", "her"), "did you mean 'here'"),
        (("run", "slow", "--env", "elsewhere"), "here"),
        (("run", "slow", "--approve", "mnd"), "did you mean 'mend'"),
        (("run", "slow", "--approve", "wait"), "mend"),
        (("run", "slow", "--budget", "soon"), "soon"),
        (("run", "slow", "--output", "xml"), "xml"),
        (("run", "slow", "--plan", "--diagnose"), "--plan"),
        (("report", "R-NONE"), "R-NONE"),
        (("resume", "R-NONE"), "R-NONE"),
        (("undo", "R-NONE"), "R-NONE"),
        (("demo", "--fault", "F99"), "F99"),
        (("sandbox", "break", "F32", "--folder", "nowhere"), "sandbox up"),
        (("frobnicate",), "frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_of_the_caller_is_2_and_says_how_to_mend_it(place: Place, words: tuple[str, ...], hint: str) -> None:
    finished = place.run(*words)
    assert (finished.code, finished.stdout) == (2, ""), finished.said
    assert hint in finished.stderr and "Traceback" not in finished.stderr
    assert len(finished.stderr.splitlines()) <= 6


def test_an_invalid_playbook_is_65_with_every_position(place: Place) -> None:
    broken = QUICK.replace("present: ended", "present: endet").replace("effect: read", "effect: raed")
    for text, wanted in ((broken, ":7:"), (QUICK.replace("title: Is", "titel: Is"), ":4:1: RB101")):
        (place.folder / "playbooks" / "quick.yaml").write_text(text)
        finished = place.run("run", "quick", "--output", "json")
        assert (finished.code, finished.stdout) == (65, "")
        assert f"playbooks/quick.yaml{wanted}" in finished.stderr and "did you mean" in finished.stderr
        assert "nothing was run" in finished.stderr and not (place.state / "journal.db").exists()


def test_an_environment_file_that_is_wrong_is_told_with_its_position(place: Place) -> None:
    (place.folder / "runbook.yaml").write_text(ENVIRONMENTS.replace("targets", "tragets", 1))
    finished = place.run("run", "quick")
    assert finished.code in (2, 65) and "runbook.yaml:3:" in finished.stderr and "Traceback" not in finished.stderr


@pytest.fixture
def slow_run(place: Place) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begins the slow playbook, and waits until its probe is under way."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def begin(*words: str) -> subprocess.Popen[str]:
            mark = place.folder / "begun"
            process = stack.enter_context(place.begun("run", "slow", "-i", f"file={mark}", *words))
            for _ in range(600):
                if mark.exists():
                    return process
                assert process.poll() is None, process.communicate()
                signal.sigtimedwait([], 0.05)
            raise AssertionError("the probe never began")

        yield begin


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_its_code(
    place: Place, slow_run: Callable[..., subprocess.Popen[str]], number: signal.Signals, code: int
) -> None:
    process = slow_run("--output", "json")
    process.send_signal(number)
    output, said = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert json.loads(output)["outcome"] == "interrupted" and json.loads(output)["exit_code"] == code
    assert "Traceback" not in said and place.problems_of("last") == []


def test_a_journal_that_cannot_be_made_is_74_and_nothing_is_done(place: Place) -> None:
    place.state.write_text("a file where the folder should be")
    mark = place.folder / "begun"
    finished = place.run("run", "slow", "-i", f"file={mark}")
    assert finished.code == 74, finished.said
    assert str(place.state) in finished.stderr and "Traceback" not in finished.said
    assert not mark.exists()


@pytest.mark.parametrize("blocks", [0, 8, 40, 64])
def test_a_journal_that_cannot_grow_is_74_and_nothing_is_done(place: Place, blocks: int) -> None:
    """As on a full disk: writes fail, at once or behind the first few."""
    mark = place.folder / "begun"
    finished = place.run("-c", f"ulimit -f {blocks}; exec {RUNBOOK} run slow -i file={mark}", program="bash")
    assert finished.code == 74, finished.said
    assert str(place.state) in finished.stderr and "Traceback" not in finished.said
    assert len(finished.stderr.splitlines()) == 1 and not mark.exists()


@pytest.mark.parametrize(
    "words", ["list", "show queue-backlog", "schema", "--help", "run quick", "run quick --output events"]
)
def test_a_reader_that_leaves_early_is_no_mistake(place: Place, words: str) -> None:
    finished = place.run("-c", f"{RUNBOOK} {words} | head -c 1", program="bash")
    assert finished.code == 0 and finished.stderr.count("Traceback") == 0
    assert "Error" not in finished.stderr and "Exception" not in finished.stderr, finished.stderr


@pytest.mark.parametrize("output", ["text", "json", "events"])
def test_a_run_whose_reader_left_is_still_whole_in_the_journal(place: Place, output: str) -> None:
    line = f"{RUNBOOK} run quick --output {output} | true; exit ${{PIPESTATUS[0]}}"
    finished = place.run("-c", line, program="bash")
    assert finished.code == 0
    assert "Traceback" not in finished.stderr
    report = place.run("report", "last", "--format", "json")
    assert report.document["outcome"] == "healthy", finished.said


def test_what_was_run_can_be_listed_and_reported(place: Place) -> None:
    finished = place.run("run", "quick")
    run = run_id(finished.said)
    assert finished.code == 0 and run in place.run("runs").stdout
    assert place.run("report", run).code == 0


def test_an_error_and_a_bug_report_show_no_known_secret(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(cli, "_hiding", [])
    cli.hide(Redactor({"redis.password": "correct-horse"}))
    cli._say(UsageError("correct-horse was refused"))
    assert cli._bug(ValueError("correct-horse")) == 70
    (report,) = tmp_path.iterdir()
    assert "horse" not in report.read_text() + capsys.readouterr().err

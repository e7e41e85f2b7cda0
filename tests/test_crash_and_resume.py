"""Killed at every interesting moment, and gone on with: the effect happens at most once, and what is not known is
called unknown. The world is an HTTP server that counts what it was really asked to do."""

from __future__ import annotations

import http.server
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from commands import Place, run_id

PLAYBOOK = """
runbook: 1
name: mend
title: The service is broken
targets: {api: http}
symptoms:
  - id: state
    title: The service says that it is broken
    http: /state
    facts: {broken: json.broken}
    present: broken
diagnosis:
  - {id: details, title: Details, http: /details, timeout: 60s, facts: {why: json.why}}
causes:
  - {id: it-broke, title: It broke, needs: why == 'broken', fix: [fix]}
resolution:
  - id: fix
    title: Mend the service
    effect: disruptive
    guard: broken
    http: {post: /mend}
    timeout: 60s
    verify: {until: not broken, within: 5s, hold: 1s}
"""
PROMPT = r"fix: go on\? \[y/N\] "


@dataclass
class World:
    """A service that is broken until it is asked to mend. `hold` names a path whose answer is held back."""

    mended: int = 0
    asked: list[str] = field(default_factory=list)
    hold: str = ""
    deaf: bool = False  # takes the request, and does nothing about it
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> dict[str, object]:
        self.asked.append(path)
        if path == "/mend" and not self.deaf:
            self.mended += 1
        if path == self.hold:
            self.released.wait(60)
        return {"broken": self.mended == 0, "why": "broken"}

    def wait_for(self, path: str) -> None:
        for _ in range(3000):
            if path in self.asked:
                return
            time.sleep(0.01)
        raise AssertionError(f"{path} was never asked, only {self.asked}")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def place(world: World, tmp_path: Path) -> Iterator[Place]:
    """A working folder with the playbook, and an environment whose only target is the world."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(world.answer(self.path)).encode()
            try:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - names of the standard library

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    folder = tmp_path / "work"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "playbooks" / "mend.yaml").write_text(PLAYBOOK)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    environments = {"environments": {"here": {"pace": 0.1, "targets": {"api": {"kind": "http", "url": url}}}}}
    (folder / "runbook.yaml").write_text(json.dumps(environments))
    try:
        yield Place(folder, tmp_path / "state")
    finally:
        world.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def kill_at(place: Place, world: World, path: str, *words: str) -> str:
    """Begin the playbook, and kill the engine outright while this request is under way. Returns the run."""
    world.hold = path
    with place.begun("run", "mend", *words) as process:
        world.wait_for(path)
        process.kill()
        process.communicate()
    world.hold = ""
    world.released.set()
    assert process.returncode == -9
    return run_id(place.run("runs").stdout)


@pytest.fixture
def unknown(place: Place, world: World) -> str:
    """A run whose engine was killed between the intent and the result of its one write, which did happen."""
    run = kill_at(place, world, "/mend", "--approve", "fix")
    assert world.mended == 1
    return run


def test_a_write_without_a_result_is_unknown_and_nothing_is_sent(place: Place, world: World, unknown: str) -> None:
    asked = list(world.asked)
    for words in ((), ("--approve", "fix"), ("--output", "json")):
        finished = place.run("resume", unknown, *words)
        assert finished.code == 6, finished.said
        assert "UNKNOWN" in finished.stderr and "POST" in finished.stderr and "/mend" in finished.stderr
        assert "--approve fix" in finished.stderr, "who confirmed it is shown"
        assert "--settle happened|not-happened" in finished.stderr
    assert (finished.document["run"], finished.document["exit_code"]) == (unknown, 6)
    assert finished.document["outcome"] == "unknown"
    assert [action["status"] for action in finished.document["actions"]] == ["unknown"]
    assert world.asked == asked and world.mended == 1
    assert place.problems_of(unknown) == []


def test_settled_as_happened_it_goes_on_to_the_verification(place: Place, world: World, unknown: str) -> None:
    finished = place.run("resume", unknown, "--settle", "happened", "--output", "json")
    assert finished.code == 0, finished.said
    assert (finished.document["outcome"], finished.document["run"]) == ("fixed", unknown)
    assert [(action["status"], action["verified"]) for action in finished.document["actions"]] == [("done", True)]
    assert world.mended == 1 and place.problems_of(unknown) == []
    again = place.run("resume", unknown, "--settle", "not-happened", "--approve", "fix")
    assert again.code == 0 and "over" in again.stderr
    assert world.mended == 1


def test_settled_as_not_happened_it_asks_anew(place: Place, world: World) -> None:
    """The engine was killed after it had sent the request, and the service had done nothing about it."""
    world.deaf = True
    run = kill_at(place, world, "/mend", "--approve", "fix")
    world.deaf = False
    finished = place.run("resume", run, "--settle", "not-happened", "--output", "json")
    assert (finished.code, finished.document["outcome"], world.mended) == (5, "refused", 0), finished.said
    assert world.asked.count("/mend") == 1 and place.problems_of(run) == []


def test_settled_as_not_happened_and_confirmed_anew_it_is_sent_once_more(place: Place, world: World) -> None:
    world.deaf = True
    run = kill_at(place, world, "/mend", "--approve", "fix")
    world.deaf = False
    with place.at_a_terminal("resume", run, "--settle", "not-happened") as screen:
        screen.see(PROMPT)
        assert world.mended == 0
        screen.type("y\r")
        assert screen.end() == 0
    assert "FIXED" in screen.shown and world.mended == 1
    assert world.asked.count("/mend") == 2 and place.problems_of(run) == []


def test_it_happened_after_all_and_the_guard_keeps_it_from_happening_twice(
    place: Place, world: World, unknown: str
) -> None:
    """A person is wrong about what became of it, and approves again: the world is looked at before it is acted on."""
    words = ("--settle", "not-happened", "--approve", "fix", "--output", "json")
    finished = place.run("resume", unknown, *words)
    assert (finished.document["outcome"], world.mended) == ("refused", 1), finished.said
    assert "guard" in finished.document["reason"]


def test_settled_at_the_terminal_with_a_typed_word(place: Place, world: World, unknown: str) -> None:
    with place.at_a_terminal("resume", unknown) as screen:
        screen.see(r"\[h\].*\[n\].*\[a\][^\n]*: ")
        screen.type("\r")
        screen.see(r"\[h\].*\[n\].*\[a\][^\n]*: ")
        screen.type("h\r")
        assert screen.end() == 0
    assert "FIXED" in screen.shown and world.mended == 1


def test_ctrl_c_leaves_it_unknown(place: Place, world: World, unknown: str) -> None:
    with place.at_a_terminal("resume", unknown) as screen:
        screen.see(r"\[h\].*\[n\].*\[a\][^\n]*: ")
        screen.type("\x03")
        assert screen.end() in (6, 130)
    assert world.mended == 1
    assert place.run("resume", unknown).code == 6


def test_killed_during_the_diagnosis_it_asks_on(place: Place, world: World) -> None:
    run = kill_at(place, world, "/details")
    finished = place.run("resume", run, "--approve", "fix", "--output", "json")
    assert (finished.code, finished.document["outcome"], finished.document["run"]) == (0, "fixed", run), finished.said
    assert world.mended == 1 and place.problems_of(run) == []
    assert world.asked.count("/details") == 2


def test_killed_at_the_gate_it_asks_again(place: Place, world: World) -> None:
    with place.at_a_terminal("run", "mend") as screen:
        screen.see(PROMPT)
        screen.child.kill(9)
        assert screen.end() == -9
    run = run_id(screen.shown + place.run("runs").stdout)
    assert world.mended == 0
    with place.at_a_terminal("resume", run) as screen:
        screen.see(PROMPT)
        assert world.mended == 0
        screen.type("y\r")
        assert screen.end() == 0
    assert "FIXED" in screen.shown and world.mended == 1 and place.problems_of(run) == []


def test_killed_at_the_gate_and_nobody_is_there_to_confirm(place: Place, world: World) -> None:
    with place.at_a_terminal("run", "mend") as screen:
        screen.see(PROMPT)
        screen.child.kill(9)
        assert screen.end() == -9
    assert place.run("resume", "last").code == 5
    assert world.mended == 0


def test_consent_that_was_not_acted_on_is_void(place: Place, world: World, tmp_path: Path) -> None:
    """Cut at every record of a finished run: only the verification goes on by itself, a write is asked for anew."""
    finished = place.run("run", "mend", "--approve", "fix", "--output", "json")
    assert finished.code == 0 and world.mended == 1
    run = finished.document["run"]
    kinds = kinds_of(place, run)
    asked_at, answered = kinds.index("GateRequested"), kinds.index("GateAnswered")
    intent = next(n for n in range(answered, len(kinds)) if kinds[n] == "CallRequested" and is_write(place, run, n))
    result = next(n for n in range(intent, len(kinds)) if kinds[n] == "CallFinished")
    cuts = {1: 5, asked_at: 5, asked_at + 1: 5, answered + 1: 5, intent: 5, intent + 1: 6, result: 6, result + 1: 0}
    for records, code in cuts.items():
        world.mended = 0 if records <= intent else 1
        before = world.mended
        copy = cut(place, run, records, tmp_path / f"cut-{records}")
        assert copy.problems_of(run) == []
        resumed = copy.run("resume", run, "--output", "json")
        assert (records, resumed.code) == (records, code), resumed.said
        assert world.mended == before, f"sent again when cut behind {records} records"
        assert copy.problems_of(run) == []


def kinds_of(place: Place, run: str) -> list[str]:
    with sqlite3.connect(place.state / "journal.db") as database:
        rows = database.execute("select kind from records where run = ? order by seq", (run,)).fetchall()
    database.close()
    return [kind for (kind,) in rows]


def is_write(place: Place, run: str, number: int) -> bool:
    database = sqlite3.connect(place.state / "journal.db")
    (data,) = database.execute(
        "select data from records where run = ? order by seq limit 1 offset ?", (run, number)
    ).fetchone()
    database.close()
    return '"mode":"write"' in re.sub(r"\s", "", data)


def cut(place: Place, run: str, records: int, state: Path) -> Place:
    """A copy of the journal as a crash behind so many records of the run would have left it."""
    state.mkdir(mode=0o700)
    source, copy = sqlite3.connect(place.state / "journal.db"), sqlite3.connect(state / "journal.db")
    source.backup(copy)
    copy.execute("drop trigger records_kept")
    copy.execute(
        "delete from records where run = ? and seq > (select min(seq) from records where run = ?) + ?",
        (run, run, records - 1),
    )
    copy.commit()
    source.close()
    copy.close()
    return Place(place.folder, state, place.more)


def test_a_run_that_still_lives_cannot_be_resumed_nor_undone(place: Place, world: World) -> None:
    world.hold = "/mend"
    with place.begun("run", "mend", "--approve", "fix", "--output", "json") as process:
        world.wait_for("/mend")
        words = (("resume", "last", "--settle", "not-happened", "--approve", "fix"), ("undo", "last"))
        refused = [place.run(*each) for each in words]
        world.released.set()
        output, _ = process.communicate()
    for finished in refused:
        assert finished.code == 2 and f"pid {process.pid}" in finished.stderr, finished.said
    assert json.loads(output)["outcome"] == "fixed" and world.mended == 1
    assert place.problems_of("last") == []
    assert len(list((place.state / "locks").iterdir())) == 1, "only the key of the playbook and its environment stays"

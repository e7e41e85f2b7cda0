"""What the driver promises: intent before act, nobody waits for a hanging session, and no effect happens twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_executor import World, interpreted, load, started, this_module

from runbook_engine.driver import Driver
from runbook_engine.errors import JournalError, Refused, TargetError
from runbook_engine.events import (
    ActionFinished,
    ActionProgressed,
    CallFinished,
    CallRequested,
    CancelRequested,
    Event,
    GateRequested,
    Interrupted,
    QuestionRequested,
    RunFinished,
    StepFinished,
    WaitRequested,
    encode,
    kind_of,
)
from runbook_engine.executor import Target
from runbook_engine.journal import Journal
from runbook_engine.redaction import Redactor
from runbook_engine.replay import before_unknown, effective, open_intent, replay, usable
from runbook_engine.sessions import READERS, Sessions, oddity

PLAYBOOK = """
runbook: 1
name: store-full
title: The store fills up
targets: {store: redis}
symptoms:
  - {id: backlog, fake: [GET, backlog], facts: {backlog: result}, present: backlog >= 100}
diagnosis:
  - {id: paused, fake: [GET, paused], facts: {paused: result}}
causes: [{id: halted, title: It is paused, needs: paused, fix: [unpause]}]
resolution:
  - id: unpause
    effect: reversible
    guard: paused
    fake: [DEL, paused]
    snapshot: {since: {fake: [GET, since]}}
    undo: {fake: [SET, paused, "${{ before.since }}"]}
    verify: {until: not paused, within: 5s}
"""


class Anna:
    """Says yes to everything, after `first`."""

    def __init__(self, verdict: str = "yes", first: Callable[[], None] = lambda: None) -> None:
        self.verdict, self.first = verdict, first

    def consent(self, gate: GateRequested) -> Any:
        self.first()
        return self.verdict, "anna", "typed"

    def answer(self, question: QuestionRequested) -> Any:
        return None, "nobody", ""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal.open(tmp_path / "state")) as opened:
        yield opened


def store(**values: Any) -> World:
    made = World({"paused": True, "since": "monday", **values})
    made.values.setdefault("backlog", lambda now: 500 if made.values["paused"] else 3)
    return made


def driver_for(
    journal: Journal, world: World, person: Any = None, secrets: Mapping[str, str] | None = None, **settings: Any
) -> Driver:
    """A driver that is less patient than the real one."""
    redactor = Redactor(secrets or {})
    run = journal.start("store-full", "test", time.time())
    target = Target("store", "redis", {"world": world, **settings})
    sessions = Sessions(lambda name, overrides: target, {"fake": this_module()}, redactor.json)
    return Driver(run, journal, sessions, person or Anna(), redactor, grace=0.2)


def drive(driver: Driver, text: str = PLAYBOOK, **start: Any) -> RunFinished:
    loaded = load(text)
    return driver.drive(interpreted(loaded, started(loaded, run=driver.run, **start)))


def recorded(driver: Driver) -> list[Event]:
    return effective((record.kind, record.data) for record in driver.journal.records(driver.run))


def of(driver: Driver, kind: type[Any]) -> list[Any]:
    return [event for event in recorded(driver) if isinstance(event, kind)]


def test_every_event_is_in_the_journal_before_it_is_shown(journal: Journal) -> None:
    driver = driver_for(journal, store())
    shown: list[int] = []
    driver.listeners = (lambda event: shown.append(len(journal.records(driver.run))),)
    assert drive(driver).outcome == "fixed"
    assert shown == list(range(1, len(shown) + 1))
    assert journal.verify(driver.run) == []


def test_a_recorded_run_can_be_gone_through_again(journal: Journal) -> None:
    driver = driver_for(journal, store())
    drive(driver)
    events = recorded(driver)
    loaded = load(PLAYBOOK)
    for kept in range(len(events)):
        replay(interpreted(loaded, started(loaded, run=driver.run)), events[:kept])


def test_a_journal_that_cannot_be_written_sends_nothing(journal: Journal) -> None:
    world = store()
    driver = driver_for(journal, world)

    def full(event: Event) -> None:
        if isinstance(event, CallRequested) and event.title == "before: since":
            journal._connection.execute("pragma query_only = on")

    driver.listeners = (full,)
    with pytest.raises(JournalError):
        drive(driver)
    assert world.sent == []


def test_a_hanging_read_is_cancelled_after_its_deadline(journal: Journal) -> None:
    driver = driver_for(journal, store())
    finished = drive(driver, PLAYBOOK.replace("fake: [GET, paused]", "timeout: 200ms, fake: [HANG, paused]"))
    assert finished.outcome == "inconclusive"
    assert of(driver, StepFinished)[-1].unknown == {"paused": "cancelled"}


def scripted(*events: Event) -> Any:
    """A run that asks for these things and remembers what it is told."""
    heard: list[Any] = []

    def run() -> Any:
        for event in events:
            heard.append((yield event))
        end = RunFinished("healthy", 0, "")
        yield end
        return end

    return run(), heard


def call(name: str, *request: Any, mode: str = "read", **more: Any) -> CallRequested:
    return CallRequested(name, name, name, "fake", "store", {}, mode, "read", list(request), **more)  # type: ignore[arg-type]


def test_a_session_that_cannot_be_cancelled_is_given_up_and_its_late_result_dropped(journal: Journal) -> None:
    opened: list[Any] = []
    driver = driver_for(journal, store(), stubborn=True, opened=opened)
    hung = call("a", "HANG", "x", mode="write", deadline=0.1)

    def late() -> None:
        opened[0].cancelled.set()
        time.sleep(0.2)

    driver.person = Anna(first=late)
    gate = GateRequested("g", "a", "", "", "read", False, "", {}, (), "", None, (), None, "", "", False, "d")
    run, heard = scripted(
        hung, WaitRequested(("a",), 10.0), gate, call("b", "GET", "since"), WaitRequested(("b",), 10.0)
    )
    driver.drive(run)
    assert (heard[1].error["code"], heard[1].happened) == ("timeout", "unknown")
    assert heard[4].id == "b"
    assert [event.id for event in of(driver, CallFinished)] == ["a", "b"]
    assert opened[0].closed


def test_cancelling_a_stubborn_session_ends_within_its_grace(journal: Journal) -> None:
    driver = driver_for(journal, store(), stubborn=True)
    run, heard = scripted(call("a", "HANG", "x", mode="write"), CancelRequested("a"))
    driver.drive(run)
    assert (heard[1].error["code"], heard[1].happened) == ("cancelled", "unknown")


def test_a_result_that_comes_while_another_is_waited_for_is_kept(journal: Journal) -> None:
    driver = driver_for(journal, store())
    requests = call("write", "SET", "x", 1, mode="write"), call("read", "GET", "since")
    waits = WaitRequested((), 0.3), WaitRequested(("read",), 10.0), WaitRequested(("write",), 10.0)
    run, heard = scripted(*requests, *waits)
    driver.drive(run)
    assert [event.id for event in heard[3:5]] == ["read", "write"]


def test_a_result_that_came_before_its_cancellation_is_the_result(journal: Journal) -> None:
    driver = driver_for(journal, store())
    run, heard = scripted(call("write", "SET", "x", 1, mode="write"), WaitRequested((), 0.3), CancelRequested("write"))
    driver.drive(run)
    assert heard[2].error is None


def test_a_call_cancelled_while_its_session_still_connects_is_never_sent(journal: Journal) -> None:
    world, go = store(), threading.Event()
    opened: list[Any] = []
    driver = driver_for(journal, world, connecting=lambda mode: go.wait(10), opened=opened)

    def connected() -> None:
        go.set()
        while not (opened and opened[0].closed):
            time.sleep(0.01)

    driver.person = Anna(first=connected)
    gate = GateRequested("g", "a", "", "", "read", False, "", {}, (), "", None, (), None, "", "", False, "d")
    run, _ = scripted(call("a", "SET", "x", 1, mode="write"), CancelRequested("a"), gate)
    driver.drive(run)
    assert world.sent == []


def test_somebody_else_at_the_target_after_the_gate_gets_nothing(journal: Journal) -> None:
    world = store()

    def swapped() -> None:
        world.identity = {"run_id": "two"}

    driver = driver_for(journal, world, Anna(first=swapped))
    finished = drive(driver)
    assert (finished.outcome, finished.exit_code, world.sent) == ("refused", 5, [])
    assert "somebody else answers at store" in finished.reason


def test_an_identity_that_holds_a_secret_still_matches_itself(journal: Journal) -> None:
    world = store()
    world.identity = {"user": "hunter2-secret"}
    driver = driver_for(journal, world, secrets={"password": "hunter2-secret"})
    assert drive(driver).outcome == "fixed"
    assert world.sent == [["DEL", "paused"]]


def test_secrets_are_masked_in_the_journal_and_for_listeners(journal: Journal, tmp_path: Path) -> None:
    shown: list[str] = []
    driver = driver_for(journal, store(paused="hunter2-secret"), secrets={"password": "hunter2-secret"})
    driver.listeners = (lambda event: shown.append(repr(event)),)
    drive(driver)
    written = json.dumps([record.data for record in journal.records(driver.run)])
    assert "hunter2" not in written
    assert "hunter2" not in "".join(shown)
    assert "[secret password]" in written


def test_ctrl_c_at_a_prompt_is_an_answer(journal: Journal) -> None:
    def pressed() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    world = store()
    driver = driver_for(journal, world, Anna(first=pressed))
    finished = drive(driver)
    assert (finished.outcome, finished.exit_code, world.sent) == ("interrupted", 130, [])


def test_sigterm_at_a_prompt_ends_with_its_own_code(journal: Journal) -> None:
    def ended() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    finished = drive(driver_for(journal, store(), Anna(first=ended)))
    assert (finished.outcome, finished.exit_code) == ("interrupted", 143)


@pytest.mark.parametrize("settle", ["happened", "not-happened"])
def test_from_every_record_a_run_goes_on_and_nothing_is_sent_twice(journal: Journal, settle: str) -> None:
    first = driver_for(journal, store())
    drive(first)
    whole = recorded(first)
    sent = next(place for place, event in enumerate(whole) if getattr(event, "mode", "") == "write")
    loaded = load(PLAYBOOK)
    for length in range(1, len(whole)):
        events = whole[:length]
        intent = open_intent(events)
        happened = length > sent and (intent is None or settle == "happened")
        world = store(paused=not happened)
        driver = driver_for(journal, world)
        kept = before_unknown(events) if intent else events[: usable(events)]
        run = interpreted(loaded, started(loaded, run=first.run))
        finished = driver.drive_on(run, replay(run, kept), kept, settled_as(intent, happened) if intent else None)
        assert finished.outcome == "fixed"
        # What a person says did not happen is asked for anew, at a gate of its own.
        assert world.sent == ([["DEL", "paused"]] if length <= sent or (intent and not happened) else [])


def settled_as(intent: CallRequested, happened: bool) -> CallFinished:
    if happened:
        return CallFinished(intent.id, 0.0, 0.0, answer={})
    return CallFinished(intent.id, 0.0, 0.0, error={"code": "settled", "message": "it did not"}, happened="no")


def test_a_write_is_settled_also_when_its_progress_was_being_asked(journal: Journal) -> None:
    text = PLAYBOOK + "    progress: {fake: [GET, done], every: 100ms, says: '${{ result }}'}\n"
    hung = text.replace("[DEL, paused]", "[HANG, paused]").replace("effect: reversible", "effect: destructive")
    world = store()
    first = driver_for(journal, world)
    first.listeners = (lambda event: first.inbox.put(Interrupted(3, first.now(), 0.0)) if told(event) else None,)
    assert drive(first, hung).exit_code == 6
    events = recorded(first)
    intent = open_intent(events)
    assert intent is not None
    world.values["paused"] = False
    progress = next(place for place, event in enumerate(events) if "/progress/" in getattr(event, "id", ""))
    loaded = load(hung)
    for length in (progress + 1, progress + 2, progress + 3, len(events)):
        kept = before_unknown(events[:length])
        run = interpreted(loaded, started(loaded, run=first.run))
        driver = driver_for(journal, world)
        assert driver.drive_on(run, replay(run, kept), kept, settled_as(intent, True)).outcome == "fixed"


@pytest.mark.parametrize("happened", [True, False])
def test_what_is_settled_too_late_is_written_down_and_not_acted_on(journal: Journal, happened: bool) -> None:
    world = store()
    world.faults["DEL paused"] = [TargetError("reset", "cut", "unknown")]
    first = driver_for(journal, world)
    assert drive(first).exit_code == 6
    events = recorded(first)
    intent, kept, loaded = open_intent(events), before_unknown(events), load(PLAYBOOK)
    assert intent is not None
    run = interpreted(loaded, started(loaded, run=first.run))
    driver = driver_for(journal, world)
    settled = settled_as(intent, happened)
    assert driver.drive_on(run, replay(run, kept), kept, settled, stop=True).outcome == "interrupted"
    assert open_intent([*kept, *recorded(driver)]) is None
    assert [event for event in recorded(driver) if isinstance(event, CallRequested)] == []


def told(event: Event) -> bool:
    return isinstance(event, ActionProgressed)


# Sessions


def sessions_of(world: World, **settings: Any) -> tuple[Sessions, list[Any]]:
    opened: list[Any] = []
    target = Target("store", "redis", {"world": world, "opened": opened, **settings})
    return Sessions(lambda name, overrides: target, {"fake": this_module()}), opened


def test_a_target_gets_no_more_readers_at_once_than_it_may(journal: Journal) -> None:
    pool, opened = sessions_of(store())
    calls = [call(f"c{number}", "HANG", "x") for number in range(READERS + 2)]
    threads = [threading.Thread(target=pool.perform, args=(each,)) for each in calls]
    for thread in threads:
        thread.start()
    while len(pool.busy) < READERS:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(opened) == READERS
    for each in calls:
        pool.cancel(each.id)
    for thread in threads:
        thread.join(10)
    assert len(opened) == READERS


def test_a_session_is_used_again_and_closed_at_the_end() -> None:
    pool, opened = sessions_of(store())
    for number in range(3):
        assert pool.perform(call(f"c{number}", "GET", "since")).error is None
    assert (len(opened), opened[0].closed) == (1, False)
    pool.close()
    assert opened[0].closed


@pytest.mark.parametrize(("error", "kept"), [(TargetError("reset", "cut"), False), (TargetError("OOM", "full"), True)])
def test_a_broken_session_is_not_used_again(error: TargetError, kept: bool) -> None:
    world = store()
    world.faults["GET since"] = [error]
    pool, opened = sessions_of(world)
    assert pool.perform(call("a", "GET", "since")).error is not None
    assert pool.perform(call("b", "GET", "since")).error is None
    assert (len(opened), opened[0].closed) == ((1, False) if kept else (2, True))


@pytest.mark.parametrize("error", [TargetError("timeout", "slow", "unknown"), ValueError("what")])
def test_a_write_that_fails_before_it_is_sent_did_not_happen(error: Exception) -> None:
    def failing(mode: str) -> None:
        raise error

    pool, _ = sessions_of(store(), connecting=failing)
    assert pool.perform(call("a", "SET", "x", 1, mode="write")).happened == "no"


def test_whatever_an_executor_raises_is_a_finished_call() -> None:
    world = store()
    world.faults["SET x"] = [ZeroDivisionError("oh"), Refused("too many rows")]
    pool, _ = sessions_of(world)
    first, second = (pool.perform(call(name, "SET", "x", 1, mode="write")) for name in "ab")
    assert (first.happened, first.made_by) == ("unknown", "target")
    assert (second.happened, second.made_by) == ("no", "engine")


# Killed between intent and result, in a process of its own, over the command line


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A working folder with a playbook, an environment and the fake executor as an installed one."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "values.json").write_text(json.dumps({"backlog": 500, "paused": True, "since": "monday"}))
    (tmp_path / "installed" / "fake-1.0.dist-info").mkdir(parents=True)
    info = tmp_path / "installed" / "fake-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[runbook_engine.executors]\nfake = fake_executor\n")
    gone = "present: backlog >= 100 and paused == true"
    playbook = PLAYBOOK.replace("present: backlog >= 100", gone).replace("symptoms:\n", "symptoms:\n" + SECOND)
    (tmp_path / "store-full.yaml").write_text(playbook.replace(DIAGNOSIS, ""))
    world = json.dumps(str(tmp_path / "store"))
    (tmp_path / "runbook.yaml").write_text(
        f"environments:\n  test: {{targets: {{store: {{kind: redis, world: {world}}}}}}}\n"
    )
    return tmp_path


SECOND = "  - {id: paused, fake: [GET, paused], facts: {paused: result}, present: paused == true}\n"
DIAGNOSIS = "diagnosis:\n  - {id: paused, fake: [GET, paused], facts: {paused: result}}\n"


def runbook(desk: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ,
        "RUNBOOK_STATE": str(desk / "state"),
        "PYTHONPATH": os.pathsep.join([str(desk / "installed"), str(Path(__file__).parent)]),
        "HOME": str(desk),
    }
    return subprocess.run(
        [sys.executable, "-m", "runbook_engine", *words],
        cwd=desk,
        env=environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        timeout=60,
        check=False,
    )


RUN = ("run", "./store-full.yaml", "--approve", "unpause", "--output", "json")


def ledger(desk: Path) -> list[Any]:
    path = desk / "store" / "ledger"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def die(desk: Path, when: str) -> None:
    (desk / "store" / "die").write_text(when)


def test_an_installed_executor_of_a_third_party_runs_from_the_command_line(desk: Path) -> None:
    done = runbook(desk, *RUN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcome"] == "fixed"
    assert ledger(desk) == [["DEL", "paused"]]


@pytest.mark.parametrize(
    ("when", "settle", "code", "outcome"),
    [("after", "happened", 0, "fixed"), ("before", "not-happened", 5, "refused")],
)
def test_killed_between_intent_and_result_the_effect_happens_at_most_once(
    desk: Path, when: str, settle: str, code: int, outcome: str
) -> None:
    die(desk, when)
    killed = runbook(desk, *RUN)
    assert killed.returncode == -signal.SIGKILL
    before = ledger(desk)
    asked = runbook(desk, "resume", "last")
    assert asked.returncode == 6
    assert "--settle happened|not-happened" in asked.stderr
    assert ledger(desk) == before
    settled = runbook(desk, "resume", "last", "--settle", settle, "--output", "json")
    assert settled.returncode == code, settled.stderr
    document = json.loads(settled.stdout)
    assert (document["outcome"], document["playbook"]) == (outcome, "store-full")
    assert ledger(desk) == before
    assert len(before) == (1 if when == "after" else 0)


def test_a_settled_run_is_over_and_can_be_undone(desk: Path) -> None:
    die(desk, "after")
    runbook(desk, *RUN)
    runbook(desk, "resume", "last", "--settle", "happened")
    over = runbook(desk, "resume", "last")
    assert (over.returncode, "is over: fixed" in over.stderr) == (0, True)
    undone = runbook(desk, "undo", "last", "--approve", "unpause:undo")
    assert undone.returncode == 0, undone.stderr
    assert ledger(desk) == [["DEL", "paused"], ["SET", "paused", "monday"]]


def test_a_write_that_was_cut_off_is_settled_and_verified(desk: Path) -> None:
    (desk / "store" / "fail").touch()
    cut = runbook(desk, *RUN)
    assert cut.returncode == 6, cut.stderr
    (desk / "store" / "fail").unlink()
    values = {"backlog": 3, "paused": False, "since": "monday"}
    (desk / "store" / "values.json").write_text(json.dumps(values))
    settled = runbook(desk, "resume", "last", "--settle", "happened", "--output", "json")
    assert settled.returncode == 0, settled.stderr
    assert json.loads(settled.stdout)["actions"][0]["status"] == "done"
    assert ledger(desk) == []


def test_a_run_stopped_at_any_record_goes_on_and_writes_at_most_once(desk: Path) -> None:
    """Every prefix of a journal, as a kill would leave it, resumed with a consent of its own."""
    assert runbook(desk, *RUN).returncode == 0
    with closing(Journal.open(desk / "state")) as journal:
        whole = journal.records(journal.find("last"))
    intent = next(index for index, record in enumerate(whole) if record.data.get("mode") == "write") + 1
    for kept in (2, 5, intent - 6, intent - 1, intent, len(whole) - 1):
        values = {"backlog": 500, "paused": kept < intent, "since": "monday"}
        (desk / "store" / "values.json").write_text(json.dumps(values))
        (desk / "store" / "ledger").unlink(missing_ok=True)
        with closing(Journal.open(desk / "state")) as journal:
            run = journal.start("store-full", "test", time.time())
            for record in whole[:kept]:
                named = {"run": run} if record.kind == "RunStarted" else {}
                journal.append(run, record.kind, {**record.data, **named}, record.at)
        settle = ("--settle", "happened") if kept == intent else ()
        resumed = runbook(desk, "resume", run, "--approve", "unpause", *settle, "--output", "json")
        assert resumed.returncode == 0, (kept, resumed.stderr)
        assert json.loads(resumed.stdout)["run"] == run
        assert ledger(desk) == ([["DEL", "paused"]] if kept < intent else [])


def test_a_sensitive_input_is_in_no_journal_and_cannot_be_resumed_from_it(desk: Path) -> None:
    path = desk / "store-full.yaml"
    path.write_text(path.read_text().replace("targets:", "inputs: {token: {sensitive: true}}\ntargets:"))
    path.write_text(path.read_text().replace("fake: [DEL, paused]", 'fake: [DEL, paused, "${{ token }}"]'))
    die(desk, "before")
    done = runbook(desk, *RUN, "-i", "token=tr0ub4dor")
    assert done.returncode == -signal.SIGKILL, done.stderr
    with closing(Journal.open(desk / "state")) as journal:
        written = json.dumps([record.data for record in journal.records(journal.find("last"))])
    assert "[secret input token]" in written
    assert "tr0ub4dor" not in written + done.stdout + done.stderr
    refused = runbook(desk, "resume", "last", "--settle", "not-happened")
    assert refused.returncode == 2
    assert "does not hold its sensitive input token" in refused.stderr


def test_the_actions_of_a_driven_run_are_told_in_full(journal: Journal) -> None:
    driver = driver_for(journal, store())
    drive(driver)
    done = of(driver, ActionFinished)[0]
    assert (done.status, done.decision["by"], done.target) == ("done", "anna", "store")
    assert {kind_of(event) for event in recorded(driver)} >= {"RunStarted", "GateAnswered", "RunFinished"}
    assert encode(done)["affected"] == 1


@pytest.mark.parametrize("answer", [float("inf"), float("nan"), {"a": [float("-inf")]}])
def test_an_answer_that_is_no_json_is_told_and_ends_nothing(answer: Any) -> None:
    assert "infinite" in oddity(answer)


def test_an_answer_nested_without_end_is_told_and_ends_nothing() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert "nested" in oddity(deep)
    assert oddity({"rows": [{"n": 1.5, "text": "x"}]}) == ""


THREE = PLAYBOOK.replace("fake: [DEL, paused]", 'each: "[1, 2, 3]"\n    fake: [DEL, "job-${{ item }}"]')
TWO_STEPS = PLAYBOOK.replace(
    "    fake: [DEL, paused]\n",
    "    steps:\n"
    "      - {id: one, fake: [SET, one, 1], undo: {fake: [DEL, one]}}\n"
    "      - {id: two, fake: [DEL, paused], undo: {fake: [SET, paused, 1]}}\n",
)
BATCH = THREE[: THREE.index("    snapshot:")].replace("effect: reversible", "effect: disruptive") + (
    "    verify: {until: backlog > 0, within: 200ms}\n"
)


def resumed(journal: Journal, text: str, events: list[Event], world: World, person: Any, **more: Any) -> Driver:
    intent, loaded = open_intent(events), load(text)
    kept = before_unknown(events) if intent else events[: usable(events)]
    driver = driver_for(journal, world, person)
    run = interpreted(loaded, started(loaded, run="R-TEST1"))
    settled = settled_as(intent, more.pop("happened", True)) if intent else None
    driver.drive_on(run, replay(run, kept), kept, settled, **more)
    return driver


def jobs(**values: Any) -> World:
    """A store that is well again once the last job of the list is gone: no verification has to wait in vain."""
    made = store(**values)
    made.values["backlog"] = lambda now: 3 if ["DEL", "job-3"] in made.sent or ["DEL", "paused"] in made.sent else 500
    return made


def whole_run(journal: Journal, text: str) -> list[Event]:
    driver = driver_for(journal, jobs())
    loaded = load(text)
    driver.drive(interpreted(loaded, started(loaded, run="R-TEST1")))
    return recorded(driver)


def writes_in(events: list[Event]) -> list[int]:
    return [place for place, event in enumerate(events) if getattr(event, "mode", "") == "write"]


@pytest.mark.parametrize("beyond", [0, 1, 2, 3, 4])
def test_the_rest_of_a_plan_is_asked_for_anew_after_a_resume(journal: Journal, beyond: int) -> None:
    """Killed from the intent of the second item on to the intent of the third: consent ended with its process."""
    whole = whole_run(journal, BATCH)
    events = whole[: writes_in(whole)[1] + beyond]
    world = jobs()
    driver = resumed(journal, BATCH, events, world, Anna("none"))
    assert world.sent == []
    assert len(of(driver, GateRequested)) == 1
    assert "the rest was not confirmed" in of(driver, RunFinished)[0].reason
    world = jobs()
    driver = resumed(journal, BATCH, events, world, Anna())
    left = [["DEL", "job-2"], ["DEL", "job-3"]] if beyond == 0 else [["DEL", "job-3"]]
    assert world.sent == left
    assert of(driver, GateRequested)[0].total is None or len(of(driver, GateRequested)[0].requests) == len(left)


def test_the_guard_is_asked_again_before_the_rest_of_a_plan(journal: Journal) -> None:
    whole = whole_run(journal, BATCH)
    world = jobs(paused=False)
    driver = resumed(journal, BATCH, whole[: writes_in(whole)[1]], world, Anna())
    assert world.sent == []
    assert "the guard of the rest does not hold" in of(driver, RunFinished)[0].reason


def test_a_stale_resume_takes_nothing_back(journal: Journal) -> None:
    """Its second act was settled as not happened: the first stays, with its way back, and nothing is sent."""
    whole = whole_run(journal, TWO_STEPS)
    events = whole[: writes_in(whole)[1] + 1]
    world = store()
    driver = resumed(journal, TWO_STEPS, events, world, Anna(), happened=False, stop=True)
    assert (world.sent, of(driver, RunFinished)[0].outcome) == ([], "interrupted")
    assert "runbook undo R-TEST1" in of(driver, RunFinished)[0].next


def test_a_second_act_that_did_not_happen_is_asked_for_anew(journal: Journal) -> None:
    whole = whole_run(journal, TWO_STEPS)
    events = whole[: writes_in(whole)[1] + 1]
    world = store()
    driver = resumed(journal, TWO_STEPS, events, world, Anna(), happened=False)
    assert (world.sent, of(driver, RunFinished)[0].outcome) == ([["DEL", "paused"]], "fixed")
    assert len(of(driver, GateRequested)) == 1


def test_an_interrupt_during_a_cancellation_is_heard_after_it(journal: Journal) -> None:
    driver = driver_for(journal, store(), stubborn=True)
    driver.inbox.put(Interrupted(1, 0.0, 0.0, "SIGTERM"))
    run, heard = scripted(call("a", "HANG", "x"), CancelRequested("a"), WaitRequested((), 5.0))
    driver.drive(run)
    assert isinstance(heard[2], Interrupted)
    assert heard[2].signal == "SIGTERM"


def test_a_password_that_is_a_plain_word_changes_no_playbook_and_no_field(journal: Journal) -> None:
    world = store(backlog=500)
    driver = driver_for(journal, world, secrets={"password": "result", "other": "backlog"})
    assert drive(driver, PLAYBOOK.replace("within: 5s", "within: 1s")).outcome == "not_fixed"
    first = recorded(driver)[0]
    assert getattr(first, "text", "") == PLAYBOOK.replace("within: 5s", "within: 1s")
    assert "[secret" not in json.dumps(encode(first))
    assert of(driver, StepFinished)[0].facts == {"backlog": 500}


def test_a_short_sensitive_input_is_written_down_by_its_name(journal: Journal) -> None:
    text = PLAYBOOK.replace("targets:", "inputs: {pin: {sensitive: true, default: x}}\ntargets:")
    driver = driver_for(journal, store())
    driver.sensitive = frozenset({"pin"})
    drive(driver, text, inputs={"pin": "1234"})
    assert getattr(recorded(driver)[0], "inputs", {}) == {"pin": "[secret input pin]"}


def test_an_undo_that_was_killed_is_not_sent_by_another_undo(desk: Path) -> None:
    assert runbook(desk, *RUN).returncode == 0
    with closing(Journal.open(desk / "state")) as journal:
        run = journal.find("last")
    die(desk, "after")
    assert runbook(desk, "undo", run, "--approve", "unpause:undo").returncode == -signal.SIGKILL
    before = ledger(desk)
    again = runbook(desk, "undo", run, "--approve", "unpause:undo")
    assert again.returncode == 2
    assert "has already sent undo writes" in again.stderr
    assert "runbook resume R-" in again.stderr
    assert ledger(desk) == before == [["DEL", "paused"], ["SET", "paused", "monday"]]


def test_a_run_with_a_needed_input_can_be_undone(desk: Path) -> None:
    path = desk / "store-full.yaml"
    path.write_text(path.read_text().replace("targets:", "inputs: {who: {}}\ntargets:", 1))
    path.write_text(path.read_text().replace("title: The store fills up", 'title: "${{ who }}"'))
    path.write_text(path.read_text().replace("guard: paused", "guard: paused and who == 'anna'"))
    assert runbook(desk, *RUN, "-i", "who=anna").returncode == 0
    undone = runbook(desk, "undo", "last", "--approve", "unpause:undo")
    assert undone.returncode == 0, undone.stderr
    assert ledger(desk)[-1] == ["SET", "paused", "monday"]


@pytest.mark.parametrize(
    ("declared", "value", "said"),
    [
        ("{sensitive: true}", "1234", "fewer than 6 characters"),
        ("{sensitive: true, type: integer}", "123456", "only a string can be sensitive"),
        ("{sensitive: true, pattern: '^x+$'}", "Hunter2Secret", "does not fit its pattern"),
    ],
)
def test_a_sensitive_input_that_cannot_be_used_is_refused_without_being_shown(
    desk: Path, declared: str, value: str, said: str
) -> None:
    path = desk / "store-full.yaml"
    path.write_text(path.read_text().replace("targets:", f"inputs: {{pin: {declared}}}\ntargets:", 1))
    refused = runbook(desk, *RUN, "-i", f"pin={value}")
    assert refused.returncode == 2
    assert said in refused.stderr
    assert value not in refused.stdout + refused.stderr

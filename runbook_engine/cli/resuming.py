"""Going on with a run, and undoing one, from what its journal says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

import click

from ..acting import SETTLED
from ..errors import UsageError
from ..events import CallFinished, CallRequested, Event, RunFinished, RunStarted, decode
from ..executor import Call, Effect
from ..executors import find
from ..journal import Journal
from ..loader import LoadedPlaybook, load_playbook
from ..prompt import ask_choice, open_tty
from ..replay import MAX_AGE, before_interrupt, before_unknown, effective, last_time, open_intent, usable
from ..runner import Setting, begin, command_line, execute, go_on
from ..safe_text import safe_text
from ..units import format_duration
from .run import Output, load_env, open_journal

Json = Any
UNKNOWN = 6
CHOICES = {"h": "it happened, go on", "n": "it did not happen", "a": "leave it, look first"}


def resume(run: str, *, settle: str | None, approve: tuple[str, ...], environment: str | None, out: Output) -> int:
    """Settle the open intent, then go on; start afresh when the evidence is too old to act on."""
    with closing(open_journal()) as journal, ExitStack() as alone:
        run = journal.find(run)
        alone.enter_context(journal.lease(run, passing=True))  # a run that still lives is nobody else's to go on with
        start, events = _recorded(journal, run)
        if start.mode == "undo":
            alone.enter_context(journal.lease(start.follows, passing=True))
            _refuse_twice(journal, start.follows, start.playbook, but=run)
        intent = open_intent(events)
        end = events[-1]
        stopped = before_interrupt(events)
        if intent is None and isinstance(end, RunFinished) and (end.outcome != "interrupted" or stopped is None):
            return _over(run, end)
        setting = out.setting(load_env(environment or _named(start.environment)), journal)
        loaded = _loaded(start)
        settled = None
        if intent is not None:
            _show_intent(start, intent, events)
            settled = _settled(intent, settle)
            if settled is None:
                return _still_unknown(run, out, journal)
        person = command_line(setting, approved=approve, planned=start.mode == "plan")
        age = time.time() - last_time(events)[1]
        with person.stack:
            kept = before_unknown(events) if intent else stopped or events[: usable(events)]
            if age > MAX_AGE:
                if settled is not None:
                    go_on(start, loaded, setting, person, kept, settled, stop=True)
                return _afresh(start, loaded, setting, person, out, age)
            finished = go_on(start, loaded, setting, person, kept, settled)
        return out.end(finished.exit_code, journal, run)


def _recorded(journal: Journal, run: str) -> tuple[RunStarted, list[Event]]:
    records = journal.records(run)
    problems = journal.verify(run)
    if problems:
        raise UsageError(f"the journal of {run} was changed by somebody, it is not acted on: {problems[0]}")
    if not records:
        raise UsageError(f"{run} has no records: it was stopped before it began. Run the playbook again")
    events = effective((record.kind, record.data) for record in records)
    start = decode(records[0].kind, records[0].data)
    assert isinstance(start, RunStarted)
    return start, events


def _named(environment: str) -> str | None:
    return environment


def _loaded(start: RunStarted) -> LoadedPlaybook:
    """The playbook as it was: its text is in the journal."""
    libraries = {_library_name(text): (path, text) for path, text in start.libraries.items()}
    return load_playbook(start.text, start.path, libraries=libraries)


def _library_name(text: str) -> str:
    from ..catalog import LIBRARY

    found = LIBRARY.search(text)
    return found[1] if found else ""


def _over(run: str, end: RunFinished) -> int:
    click.echo(f"{run} is over: {end.outcome}, {safe_text(end.reason)}. Nothing to resume.", err=True)
    return end.exit_code


def _show_intent(start: RunStarted, intent: CallRequested, events: Sequence[Event]) -> None:
    """What it was going to do, on what, when, who confirmed, and what is known since."""
    call = Call(intent.id, intent.request, intent.bindings, intent.idents, intent.autocommit, Effect[intent.effect])
    request = find(intent.executor).show(call)
    gates = [event for event in events if type(event).__name__ == "GateAnswered"]
    by = f"confirmed by {gates[-1].by} ({gates[-1].how})" if gates else "confirmed by nobody we know"  # type: ignore[union-attr]  # by its name it is a GateAnswered
    ends = [event for event in events if isinstance(event, CallFinished) and event.id == intent.id]
    known = str((ends[-1].error or {}).get("message", "")) if ends else "no result was recorded"
    age = format_duration(max(0.0, time.time() - last_time(events)[1]))
    lines = (
        f"UNKNOWN  {intent.title} ({intent.effect}) on {intent.target} was started {age} ago; {known}.",
        f"         request    {request}",
        f"         {by}",
        f"         run {start.run} of {start.playbook} in {start.environment}",
        "         It is not run again by itself: look at the target, then say what became of it.",
    )
    for line in lines:
        click.echo(safe_text(line), err=True)


def _settled(intent: CallRequested, settle: str | None) -> CallFinished | None:
    """A person's word, typed or given; None when nobody can tell."""
    if settle is None:
        terminal = open_tty()
        choice = ask_choice("What became of it?", CHOICES, terminal) if terminal is not None else None
        settle = {"h": "happened", "n": "not-happened"}.get(choice or "")
    if settle == "happened":
        return CallFinished(intent.id, 0.0, 0.0, answer={"settled": "happened"}, happened="yes")
    if settle == "not-happened":
        error = {"code": SETTLED, "message": "it did not happen, a person said"}
        return CallFinished(intent.id, 0.0, 0.0, error=error, happened="no")
    return None


def _still_unknown(run: str, out: Output, journal: Journal) -> int:
    click.echo(f"{run} stays unknown. When you know: runbook resume {run} --settle happened|not-happened", err=True)
    out.document(journal, run)
    return UNKNOWN


def _afresh(start: RunStarted, loaded: LoadedPlaybook, setting: Setting, person: Any, out: Output, age: float) -> int:
    old = format_duration(age)
    click.echo(f"the evidence of {start.run} is {old} old: it is not acted on, a fresh run begins", err=True)
    mode = start.mode if start.mode != "undo" else "run"
    fresh = begin(loaded, setting, inputs=start.inputs, mode=mode, budget=start.budget, follows=start.run)
    finished = execute(fresh, loaded, setting, person)
    return out.end(finished.exit_code, setting.journal, fresh.run)


def undo(run: str, *, approve: tuple[str, ...], environment: str | None, out: Output) -> int:
    """Run the stored way back of a run's last acts, behind a gate of its own."""
    from dataclasses import replace

    with closing(open_journal()) as journal, ExitStack() as alone:
        run = journal.find(run)
        alone.enter_context(journal.lease(run, passing=True))
        start, events = _recorded(journal, run)
        if open_intent(events) is not None:
            click.echo(f"the outcome of {run} is not known: settle it first, runbook resume {run}", err=True)
            return UNKNOWN
        acts = stored_undos(events)
        if not acts:
            raise UsageError(f"{run} changed nothing that can be undone")
        _refuse_twice(journal, run, start.playbook)
        setting = out.setting(load_env(environment or _named(start.environment)), journal)
        loaded = _loaded(start)
        fresh = begin(loaded, setting, inputs=start.inputs, mode="run", budget=start.budget, follows=run)
        fresh = replace(fresh, mode="undo", undo=acts)
        person = command_line(setting, approved=approve)
        with person.stack:
            finished = execute(fresh, loaded, setting, person)
        return out.end(finished.exit_code, journal, fresh.run)


def _refuse_twice(journal: Journal, run: str, playbook: str, but: str = "") -> None:
    """What another run has begun to undo is not undone by this one: the world has moved on since."""
    for other in journal.runs(limit=-1):
        if other.id == run:  # newest first: nothing older follows it
            return
        if other.playbook != playbook or other.id == but:
            continue
        records = journal.records(other.id)
        began = records[0].data if records else {}
        if (began.get("mode"), began.get("follows")) != ("undo", run):
            continue
        if _sent(effective((record.kind, record.data) for record in records)):
            command = "resume" if other.outcome in (None, "unknown") else "report"
            ended = other.outcome or "it did not end"
            raise UsageError(
                f"{other.id} has already sent undo writes for {run} ({ended}), and they are not sent twice. "
                f"see `runbook {command} {other.id}`"
            )


def _sent(events: Sequence[Event]) -> bool:
    """Whether a write may have left: all but what is known not to have happened."""
    never = {event.id for event in events if isinstance(event, CallFinished) and event.happened == "no"}
    return any(isinstance(event, CallRequested) and event.mode == "write" and event.id not in never for event in events)


def stored_undos(events: Sequence[Event]) -> tuple[dict[str, Json], ...]:
    """The rendered undo of each write that is known to have happened and is not undone yet, last first."""
    happened = {event.id for event in events if isinstance(event, CallFinished) and event.error is None}
    writes = [event for event in events if isinstance(event, CallRequested) and event.mode == "write"]
    undone = {act_of(event) for event in writes if ":undo" in event.id and event.id in happened}
    found = [
        {"action": event.step, "title": event.title, **event.undo}
        for event in writes
        if event.undo and event.id in happened and act_of(event) not in undone
    ]
    return tuple(reversed(found))


def act_of(write: CallRequested) -> str:
    """The act a write or its undo belongs to: `start/start/1` of `start/start/1:undo/2`."""
    return write.id.rpartition("/")[0].partition(":undo")[0]

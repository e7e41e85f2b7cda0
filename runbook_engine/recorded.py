"""What a recorded run was asked, against what a playbook asks now: nothing that changed passes in silence. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from .cases import Case, StoryError
from .cassette import Cassette, Recorded, question_of
from .events import CallRequested, without_own_ids
from .loader import LoadedPlaybook
from .loading.positions import Loc, find_node

Json = Any
BEFORE, SHOWN = 24, 72  # characters of a text: before the first that differs, and in all
AGAIN = "record it again with `runbook run --record DIR`, or give the step a reply"
PARTS = {"bindings": "with", "overrides": "target"}  # of a question: how the playbook calls them


def compare(cassette: Cassette, recorded: Recorded, request: CallRequested) -> None:
    """Raises StoryError where the playbook asks something else than was recorded."""
    run = str(cassette.header["run"])
    now, then = question_of(request), recorded.asked
    for part, asked in now.items():
        if asked == then.get(part):
            continue
        was, is_ = (_without_ids(run, value) for value in (then.get(part), asked))
        if was != is_:
            path, before, after = first_difference(was, is_, part)
            said = f"step {request.step!r} asks something else than was recorded: {path} was {before}, is {after}"
            raise StoryError(request.step, f"{said}. {AGAIN}", part, request.id)


def unanswered(cassette: Cassette | None, request: CallRequested, digest: str) -> StoryError:
    """Why nobody answers a step: it may be newer than the recording."""
    said = f"nobody answers step {request.step!r}"
    if cassette is None:
        return StoryError(request.step, f"{said}: give it a reply", call=request.id)
    if any(each.step == request.step for each in cassette.calls.values()):
        why = "it was asked less often when this was recorded"
    elif digest and cassette.header.get("digest") != digest:
        why = "it is new since the recording, or was not asked then"
    else:
        why = "it was not asked when this was recorded"
    return StoryError(request.step, f"{said}: {why}. {AGAIN}", call=request.id)


def no_longer_asked(loaded: LoadedPlaybook, cassette: Cassette, case: Case, asked: Collection[str]) -> Iterator[str]:
    """Recorded steps that the playbook has no more, or that a test which changes nothing does not ask any more."""
    known = {probe.id for probe in loaded.playbook.probes()}
    own = {"name", "cassette", "expect"}
    unchanged = case.model_fields_set <= own
    answered = [each for each in cassette.calls.values() if each.asked.get("request") is not None]
    for step in dict.fromkeys(each.step for each in answered):
        if step not in asked and place_of(loaded, step) is None:
            yield f"recorded step {step!r} is not asked any more: the playbook has no such step"
        elif step not in asked and unchanged and step in known:
            yield f"recorded step {step!r} is not asked any more: look at its `when`, and record the run again"


def first_difference(was: Json, now: Json, path: str) -> tuple[str, str, str]:
    """The way to the first part that differs, and both of it, as much as a person can compare."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in was if key not in now)]:
            if key not in was or key not in now or was[key] != now[key]:
                return first_difference(was.get(key), now.get(key), f"{path}.{key}")
    if isinstance(was, list) and isinstance(now, list):
        for number, (old, new) in enumerate(zip(was, now, strict=False)):
            if old != new:
                return first_difference(old, new, f"{path}[{number}]")
    if isinstance(was, str) and isinstance(now, str):
        pairs = enumerate(zip(was, now, strict=False))
        same = next((n for n, (old, new) in pairs if old != new), min(len(was), len(now)))
        return path, _cut(was, same), _cut(now, same)
    before, after = (_cut(json.dumps(value, ensure_ascii=False), 0, quoted=False) for value in (was, now))
    return path, before, after


def _cut(text: str, at: int, *, quoted: bool = True) -> str:
    start = max(0, at - BEFORE) if len(text) > SHOWN else 0
    shown = text[start : start + SHOWN]
    shown = f"{'…' if start else ''}{shown}{'…' if start + SHOWN < len(text) else ''}"
    return repr(shown) if quoted else shown


def _without_ids(run: str, value: Json) -> Json:
    return json.loads(without_own_ids(run, json.dumps(value, sort_keys=True)))


def place_of(loaded: LoadedPlaybook, step: str, part: str = "request", call: str = "") -> tuple[str, int, int] | None:
    """Where the playbook asks it: path, line, column. None when it has no such step."""
    loc = _loc_of(loaded, step, call)
    if loc is None:
        return None
    for last in (PARTS.get(part, part), "request"):
        if find_node(loaded.root, (*loc, last), loaded.executor_names).complete:
            return loaded.position((*loc, last), key=True)
    return loaded.position(loc)


def _loc_of(loaded: LoadedPlaybook, step: str, call: str) -> Loc | None:
    playbook = loaded.playbook
    name, _, undo = step.partition(":")
    for section, steps in (("symptoms", playbook.symptoms), ("diagnosis", playbook.diagnosis)):
        for number, probe in enumerate(steps):
            if probe.id == step:
                return (section, number)
    for number, action in enumerate(playbook.resolution):
        if action.id == name:
            sub = call.split("/")[1] if call.count("/") > 1 else ""
            inner = [("steps", n) for n, part in enumerate(action.steps) if part.id == sub.partition(":")[0]]
            return ("resolution", number, *(inner[0] if inner else ()), *(("undo",) if undo else ()))
        if step in action.snapshot:
            return ("resolution", number, "snapshot", step)
    return None

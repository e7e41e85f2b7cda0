"""A run as a file that it can be rehearsed from: what was asked, what was answered, what the person said. Pure.

JSON lines: a header, then one line for each call, gate and question. It is made of the journal's records, so whatever
is masked there is masked here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import UsageError
from .events import (
    CallFinished,
    CallRequested,
    CausesRanked,
    Event,
    GateAnswered,
    GateRequested,
    QuestionAnswered,
    RunFinished,
    RunStarted,
    with_taken_facts,
)
from .redaction import Redactor
from .rehearsal import Line

Json = Any
VERSION = 1
HEADER = (
    *("run", "playbook", "digest", "inputs", "environment", "targets", "places"),
    *("policy", "baselines", "pace", "budget", "mode", "wall"),
)
QUESTION = ("effect", "executor", "target", "overrides", "request", "bindings", "idents")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One call: what was asked, and what came back."""

    step: str
    asked: Mapping[str, Json]
    line: Line


@dataclass(frozen=True, slots=True)
class Cassette:
    """A recorded run. `calls` by their id, in the order in which they were sent."""

    header: Mapping[str, Json]
    calls: Mapping[str, Recorded] = field(default_factory=dict)
    gates: Mapping[str, Literal["yes", "no", "none"]] = field(default_factory=dict)  # by action
    answers: Mapping[str, Json] = field(default_factory=dict)
    end: Mapping[str, Json] | None = None  # outcome and causes of the live run, to compare a replay with


def question_of(request: CallRequested) -> dict[str, Json]:
    """What makes two calls the same question, as plain JSON."""
    asked: dict[str, Json] = json.loads(json.dumps({name: getattr(request, name) for name in QUESTION}, default=str))
    return asked


def write_cassette(events: Iterable[Event]) -> str:
    """The text of a cassette. A call whose end nobody saw has no reply: the run went on without it."""
    lines: list[dict[str, Json]] = []
    asked: dict[str, CallRequested] = {}
    ended: set[str] = set()
    ranked: Sequence[Mapping[str, Json]] = ()
    actions: dict[str, str] = {}
    for event in with_taken_facts(list(events)):
        match event:
            case RunStarted():
                # The journal keeps inputs as they were given, so that a run can be resumed. A cassette is handed round.
                inputs = Redactor({}).json(dict(event.inputs))
                header = {**{name: getattr(event, name) for name in HEADER}, "inputs": inputs}
                lines.append({"cassette": VERSION, **header})
            case CallRequested():
                asked[event.id] = event
            case CallFinished() if event.id in asked:
                ended.add(event.id)
                lines.append(_call_line(asked[event.id], event))
            case GateRequested():
                actions[event.id] = event.action
            case GateAnswered() if event.verdict in ("yes", "no", "none"):
                lines.append({"gate": actions.get(event.id, event.id), "verdict": event.verdict})
            case QuestionAnswered() if event.value is not None:
                lines.append({"question": event.id, "value": event.value})
            case CausesRanked():
                ranked = event.causes
            case RunFinished():
                lines.append({"end": {"outcome": event.outcome, "causes": ranking_of(ranked)}})
            case _:
                pass
    open_ones = [request for request in asked.values() if request.id not in ended]
    lines += [{"call": each.id, "step": each.step, "asked": question_of(each), "reply": None} for each in open_ones]
    return "".join(json.dumps(line, ensure_ascii=True, default=str) + "\n" for line in lines)


def ranking_of(causes: Iterable[Mapping[str, Json]]) -> list[Json]:
    """What two runs must have in common to have found the same: id, verdict and score, best first."""
    return [[cause["id"], cause["verdict"], cause["score"]] for cause in causes]


def _call_line(request: CallRequested, finished: CallFinished) -> dict[str, Json]:
    reply: dict[str, Json] = {"seconds": round(finished.seconds, 4)}
    usual = {"answer": None, "error": None, "happened": "yes", "made_by": "target", "identity": None, "dropped": False}
    for name, expected in usual.items():
        value = getattr(finished, name)
        if value != expected:
            reply[name] = value
    return {"call": request.id, "step": request.step, "asked": question_of(request), "reply": reply}


def read_cassette(text: str, where: str) -> Cassette:
    """The recorded run in a file. A line that cannot be read is an error with its number."""
    header: Mapping[str, Json] = {}
    calls: dict[str, Recorded] = {}
    gates: dict[str, Literal["yes", "no", "none"]] = {}
    answers: dict[str, Json] = {}
    end: Mapping[str, Json] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        try:
            line = json.loads(raw)
            if not isinstance(line, dict):
                raise ValueError("it is no object")
            if "cassette" in line and header:
                raise ValueError("a second header")
            if "cassette" in line:
                header = _header(line, where)
            elif "call" in line:
                reply = Line(seconds=math.inf) if line["reply"] is None else Line(**line["reply"])
                calls[line["call"]] = Recorded(line["step"], line["asked"], reply)
            elif "end" in line:
                end = {"outcome": line["end"]["outcome"], "causes": line["end"]["causes"]}
            elif line.get("verdict") in ("yes", "no", "none"):
                gates[line["gate"]] = line["verdict"]
            else:
                answers[line["question"]] = line["value"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UsageError(f"{where}:{number}: this is no line of a cassette ({error}); record it again") from None
    if not header:
        raise UsageError(f"{where}: a cassette begins with its header; record it with `runbook run --record`")
    return Cassette(header, calls, gates, answers, end)


def _header(line: Mapping[str, Json], where: str) -> Mapping[str, Json]:
    if line["cassette"] != VERSION:
        raise UsageError(f"{where} is a cassette of version {line['cassette']}; this engine reads {VERSION}")
    return {name: line[name] for name in HEADER}

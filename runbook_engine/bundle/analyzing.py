"""Goes through the playbooks of a bundle again, with what its targets answered then. Asks nobody anything.

The playbook may be the one of then or the one of now: the same questions get the recorded answers, a question that
nobody asked then is unknown. It must never make evidence up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..asking import question
from ..catalog import LIBRARY
from ..errors import PlaybookError, UsageError
from ..events import (
    BudgetSpent,
    CallFinished,
    CallRequested,
    CallStarted,
    CancelRequested,
    CausesRanked,
    Event,
    GateAnswered,
    GateRequested,
    QuestionAnswered,
    QuestionRequested,
    Reply,
    RunFinished,
    RunStarted,
    SymptomsJudged,
    WaitElapsed,
    WaitRequested,
    encode,
    kind_of,
)
from ..interpreter import interpret
from ..loader import LoadedPlaybook, load_playbook
from ..loading.inputs import resolve_inputs
from ..model import Playbook
from ..runner import used_executors
from ..triage import Finding, in_order
from .collecting import COLLECTOR
from .reading import Bundle, RecordedRun

Json = Any


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one playbook makes of the evidence. `problem` is set when it could not be gone through."""

    playbook: str
    title: str
    outcome: str
    reason: str
    symptoms: tuple[Mapping[str, Json], ...] = ()
    causes: tuple[Mapping[str, Json], ...] = ()
    after: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    problem: str = ""


@dataclass(slots=True)
class Evidence:
    """Every answer of a bundle by its question: of the playbook's own run first, else of any other."""

    own: dict[str, dict[str, list[CallFinished]]] = field(default_factory=dict)
    begun: dict[str, set[str]] = field(default_factory=dict)
    answers: dict[str, Mapping[str, Json]] = field(default_factory=dict)

    def add(self, run: RecordedRun) -> None:
        asked = {event.id: event for event in run.events if isinstance(event, CallRequested)}
        own = self.own.setdefault(run.playbook, {})
        self.begun[run.playbook] = {question(run.start.run, event) for event in asked.values()}
        for event in run.events:
            if isinstance(event, CallFinished) and event.id in asked:
                own.setdefault(question(run.start.run, asked[event.id]), []).append(event)

    def take(self, playbook: str, asked: str, number: int) -> CallFinished | None:
        """The answer to the question when it is asked for the `number`th time."""
        found = self.own.get(playbook, {}).get(asked)
        if found is None and asked in self.begun.get(playbook, ()):
            return None
        found = found or next((own[asked] for own in self.own.values() if asked in own), [])
        return found[number] if number < len(found) else None


@dataclass(slots=True)
class Recording:
    """Replies as the driver gave them then; the clock is that of the recorded run."""

    run: RecordedRun
    evidence: Evidence
    now: float = 0.0
    asked: dict[str, int] = field(default_factory=dict)
    pending: dict[str, CallFinished | None] = field(default_factory=dict)

    def reply(self, event: Event) -> Reply | None:
        match event:
            case CallRequested():
                return self._begin(event)
            case WaitRequested():
                return self._wait(event)
            case CancelRequested():
                return self.pending.pop(event.id, None) or self._unanswered(event.id, "it was cancelled")
            case QuestionRequested():
                return self._answered(event)
            case GateRequested():
                return GateAnswered(event.id, event.digest, "none", "", "", self.now, self._wall())
        return None

    def _wall(self) -> float:
        return self.run.start.wall + self.now

    def _begin(self, request: CallRequested) -> CallStarted:
        asked = question(self.run.start.run, request)
        number = self.asked[asked] = self.asked.get(asked, -1) + 1
        found = self.evidence.take(self.run.playbook, asked, number)
        if found is None and asked not in self.evidence.begun.get(self.run.playbook, ()):
            found = self._unanswered(request.id, "it was not asked when the bundle was collected")
        elif found is not None:
            found = replace(found, id=request.id, at=max(self.now, found.wall - self.run.start.wall))
        self.pending[request.id] = found
        return CallStarted(request.id, self.now, self._wall())

    def _unanswered(self, call: str, why: str) -> CallFinished:
        error = {"code": "not_collected", "message": why}
        return CallFinished(call, self.now, self._wall(), error=error, made_by="engine", happened="no")

    def _wait(self, wait: WaitRequested) -> Reply:
        """What came first then: an answer, the time, or the end of the budget."""
        answers = [found for call in wait.ids if (found := self.pending.get(call)) is not None]
        first = min(answers, key=lambda found: found.at, default=None)
        until = None if wait.seconds is None else self.now + wait.seconds
        spent = None if wait.budget is None else self.now + wait.budget
        ends = [end for end in (until, spent) if end is not None]
        if first is not None and first.at <= min(ends, default=first.at):
            del self.pending[first.id]
            self.now = max(self.now, first.at)
            return first
        self.now = min(ends, default=self.now)
        if until is not None and self.now == until:
            return WaitElapsed(self.now, self._wall())
        return BudgetSpent(self.now, self._wall())

    def _answered(self, asked: QuestionRequested) -> QuestionAnswered:
        given = next(
            (event for event in self.run.events if isinstance(event, QuestionAnswered) and event.id == asked.id),
            None,
        )
        value = given.value if given else None
        return QuestionAnswered(asked.id, value, "given" if given else "nobody", "", self.now, self._wall())


def analyze(bundle: Bundle, current: Mapping[str, LoadedPlaybook] | None = None) -> list[Analysis]:
    """Every playbook of the bundle, most upstream first; with `current` as it is written now."""
    evidence = Evidence()
    for run in bundle.runs:
        evidence.add(run)
    judged: list[Analysis] = []
    playbooks: list[Playbook] = []
    for run in bundle.runs:
        if run.playbook == COLLECTOR:
            continue
        try:
            loaded = _playbook(run, current)
            playbooks.append(loaded.playbook)
            judged.append(_judge(run, loaded, evidence))
        except (PlaybookError, UsageError, KeyError) as error:
            judged.append(Analysis(run.playbook, "", "error", "", problem=str(error)))
    return _ordered(judged, playbooks)


def _playbook(run: RecordedRun, current: Mapping[str, LoadedPlaybook] | None) -> LoadedPlaybook:
    if current is not None:
        if run.playbook not in current:
            raise UsageError(f"no playbook is called {run.playbook} now")
        return current[run.playbook]
    start = run.start
    libraries = {
        (found[1] if (found := LIBRARY.search(text)) else ""): (path, text) for path, text in start.libraries.items()
    }
    return load_playbook(start.text, start.path, libraries=libraries)


def _judge(run: RecordedRun, loaded: LoadedPlaybook, evidence: Evidence) -> Analysis:
    events = again(run, loaded, evidence)
    end = next((event for event in events if isinstance(event, RunFinished)), None)
    symptoms = next((event.symptoms for event in reversed(events) if isinstance(event, SymptomsJudged)), ())
    causes = next((event.causes for event in reversed(events) if isinstance(event, CausesRanked)), ())
    outcome, reason = (end.outcome, end.reason) if end else ("unknown", "it did not come to an end")
    return Analysis(run.playbook, loaded.playbook.title, outcome, reason, symptoms, causes, events=tuple(events))


def again(run: RecordedRun, loaded: LoadedPlaybook, evidence: Evidence) -> list[Event]:
    """The events of the playbook over the recorded answers."""
    start = _start(run.start, loaded)
    going = interpret(start, loaded.playbook, loaded.needs, used_executors(loaded))
    recording = Recording(run, evidence)
    events: list[Event] = []
    reply: Reply | None = None
    try:
        while True:
            event = going.send(reply)
            events.append(event)
            reply = recording.reply(event)
            if reply is not None:
                events.append(reply)
    except StopIteration:
        return events


def _start(start: RunStarted, loaded: LoadedPlaybook) -> RunStarted:
    """Inputs are those of then; what has become an input since has its default."""
    if loaded.text == start.text:
        return start
    known = resolve_inputs(loaded.playbook, {}, start.pace)
    inputs = {**known, **{name: value for name, value in start.inputs.items() if name in known}}
    return replace(start, text=loaded.text, digest=loaded.digest, libraries=dict(loaded.libraries), inputs=inputs)


def _ordered(judged: Sequence[Analysis], playbooks: Sequence[Playbook]) -> list[Analysis]:
    findings = [Finding(each.playbook, each.title, _verdict(each)) for each in judged]
    by_name = {each.playbook: each for each in judged}
    return [replace(by_name[found.playbook], after=found.after) for found in in_order(findings, playbooks)]


def _verdict(analysis: Analysis) -> Any:
    if analysis.outcome == "healthy":
        return "clear"
    return "applies" if any(symptom["present"] for symptom in analysis.symptoms) else "unknown"


def records_of(analysis: Analysis) -> list[tuple[str, dict[str, Json]]]:
    """The events as a journal would have them, for a report."""
    return [(kind_of(event), encode(event)) for event in analysis.events]

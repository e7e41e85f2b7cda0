"""Asks the symptoms of many playbooks at once, what they share only once, and says which apply, most upstream first.

Each playbook is interpreted as in a run of its own; only what performs is shared. It reads, and changes nothing.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, Literal

from .asking import Asking, Memory, Nobody, OneRun, Turns
from .driver import Driver
from .errors import UsageError
from .events import Event, RunStarted, SymptomsJudged
from .interpreter import interpret
from .journal import Journal
from .loader import LoadedPlaybook
from .model import Playbook
from .runner import Setting, begin, used_executors
from .sessions import Sessions
from .targets import Environment

Json = Any
AFTERWARDS = 4.0  # seconds beyond the budget until a thread that still hangs is left behind
Verdict = Literal["applies", "clear", "unknown", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What the symptoms of one playbook say. `after` names playbooks that apply too and bring this problem about."""

    playbook: str
    title: str
    verdict: Verdict
    symptoms: tuple[Mapping[str, Json], ...] = ()
    because: str = ""
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Triaged:
    """All findings; how many questions there were, were sent to targets, and were answered by one."""

    findings: tuple[Finding, ...]
    asked: int
    sent: int
    answered: int


Heard = Callable[[Finding, int], None]


def why_not(playbook: Playbook, targets: Mapping[str, str]) -> str:
    """Why a playbook is not for triage: it is entered by a person, or cannot be asked without one."""
    if playbook.area in ("emergency", "help"):
        return f"a person decides to enter it ({playbook.area})"
    needed = [name for name, each in playbook.inputs.items() if each.default is None and not each.optional]
    if needed:
        return f"it needs -i {' -i '.join(f'{name}=…' for name in needed)}"
    if any(probe.ask for probe in playbook.symptoms):
        return "it asks a person"
    missing = [
        name
        for name, use in playbook.targets.items()
        if use.kind and not use.optional and name not in targets and use.kind not in targets.values()
    ]
    return f"the environment has no target {', '.join(missing)}" if missing else ""


def triage(
    playbooks: Sequence[LoadedPlaybook],
    environment: Environment,
    past: Journal | None,
    *,
    budget: float,
    heard: Heard = lambda _finding, _left: None,
) -> Triaged:
    """The findings in the order in which to look at them. `heard` is told each as it comes, and how many are left."""
    kinds = environment.kinds()
    reasons = {each.playbook.name: why_not(each.playbook, kinds) for each in playbooks}
    chosen = [each for each in playbooks if not reasons[each.playbook.name]]
    executors = {name: found for each in chosen for name, found in used_executors(each).items()}
    ends = time.monotonic() + budget
    asking = Asking(Sessions(environment.target, executors, environment.redactor.json, "triage"), Turns(ends))
    found: dict[str, Finding] = {}
    stamp = f"T-{uuid.uuid4().hex[:8]}"
    memories = {each.playbook.name: Memory(f"{stamp}-{n}", past) for n, each in enumerate(chosen)}
    # Here and not on the threads: the journal that baselines come from is this thread's.
    starts = []
    for each in chosen:
        try:
            starts.append((each, _begin(each, environment, memories[each.playbook.name], budget)))
        except UsageError as error:
            found[each.playbook.name] = Finding(each.playbook.name, each.playbook.title, "unknown", because=str(error))
    arrived: SimpleQueue[Finding | None] = SimpleQueue()
    for each, start in starts:
        given = (each, start, environment, asking, memories[each.playbook.name], arrived)
        threading.Thread(target=_look, args=given, daemon=True).start()
    for finding in _until(ends + AFTERWARDS, arrived, len(starts)):
        found[finding.playbook] = finding
        heard(finding, len(chosen) - len(found))
    for each in chosen:
        name = each.playbook.name
        late = Finding(name, each.playbook.title, "unknown", because="it did not end within the budget")
        found.setdefault(name, late)
    skipped = [
        Finding(each.playbook.name, each.playbook.title, "skipped", because=reasons[each.playbook.name])
        for each in playbooks
        if reasons[each.playbook.name]
    ]
    ordered = in_order([found[each.playbook.name] for each in chosen], [each.playbook for each in playbooks])
    return Triaged((*ordered, *skipped), asking.asked, asking.sent, asking.answered)


def _until(deadline: float, arrived: SimpleQueue[Finding | None], looking: int) -> Iterator[Finding]:
    """The findings as they come, until all who look have ended or the time is over."""
    while looking:
        try:
            finding = arrived.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            return
        if finding is None:
            looking -= 1
        else:
            yield finding


def _begin(loaded: LoadedPlaybook, environment: Environment, memory: Memory, budget: float) -> RunStarted:
    return begin(loaded, Setting(environment, memory), mode="symptoms", budget=budget)


def _look(
    loaded: LoadedPlaybook,
    start: RunStarted,
    environment: Environment,
    asking: Asking,
    memory: Memory,
    arrived: SimpleQueue[Finding | None],
) -> None:
    """The symptoms of one playbook, as its own run would ask and judge them; None says that no more will come."""
    judged: list[Mapping[str, Json]] = []

    def listen(event: Event) -> None:
        if isinstance(event, SymptomsJudged):
            judged.extend(event.symptoms)

    try:
        run = interpret(start, loaded.playbook, loaded.needs, used_executors(loaded))
        sessions = OneRun(asking, start.run, rank=0)
        # A call may wait for its turn; how long the target may take, the session still sees to.
        Driver(start.run, memory, sessions, Nobody(), environment.redactor, (listen,), grace=start.budget).drive(run)
        arrived.put(_finding(loaded.playbook, judged, environment.kinds()))
    finally:
        arrived.put(None)


def _finding(playbook: Playbook, judged: Sequence[Mapping[str, Json]], targets: Mapping[str, str]) -> Finding:
    """What cannot be known as the environment does not have an optional target is no reason to worry."""
    absent = {name for name, use in playbook.targets.items() if use.optional and name not in targets}
    unasked = {probe.id for probe in playbook.symptoms if probe.target in absent}
    present = [symptom for symptom in judged if symptom["present"] is True]
    unknown = [symptom for symptom in judged if symptom["present"] is None and symptom["id"] not in unasked]
    verdict: Verdict = "applies" if present else "unknown" if unknown else "clear"
    if judged and not present and all(symptom["id"] in unasked for symptom in judged):
        verdict = "skipped"
        return Finding(playbook.name, playbook.title, verdict, because=f"no target {', '.join(sorted(absent))}")
    because = "; ".join(str(symptom["because"]) for symptom in present or unknown)
    return Finding(playbook.name, playbook.title, verdict, tuple(judged), because)


_RANK = {"applies": 0, "unknown": 1, "clear": 2, "skipped": 3}


def in_order(findings: Sequence[Finding], playbooks: Sequence[Playbook]) -> list[Finding]:
    """What applies first, and of that what others bring about last; else in the order of the playbooks' names."""
    explains = {playbook.name: set(playbook.explains) for playbook in playbooks}
    applying = {finding.playbook for finding in findings if finding.verdict == "applies"}
    after = {
        name: tuple(sorted(other for other in applying if other != name and name in _reach(other, explains)))
        for name in applying
    }
    told = [replace(finding, after=after.get(finding.playbook, ())) for finding in findings]
    return sorted(told, key=lambda each: (_RANK[each.verdict], len(each.after), each.playbook))


def _reach(name: str, explains: Mapping[str, set[str]]) -> set[str]:
    """Every playbook that this one's problem brings about, also by way of others."""
    reached: set[str] = set()
    ahead = set(explains.get(name, ()))
    while ahead:
        reached |= ahead
        ahead = {each for other in ahead for each in explains.get(other, ())} - reached
    return reached

"""Puts a run together: playbook, environment, journal and person become one driven generator."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

from . import __version__
from .consent import CommandLine, user
from .driver import Driver, Person, masked_data
from .errors import UsageError
from .events import CallFinished, Event, GateRequested, RunFinished, RunResumed, RunStarted
from .executor import Executor
from .executors import find
from .history import baselines, recent_actions
from .interpreter import interpret
from .journal import Journal
from .loader import LoadedPlaybook, executors_of
from .loading.inputs import resolve_inputs
from .policy import Policy
from .prompt import Terminal
from .redaction import Redactor
from .replay import Replayed, last_time, replay
from .sessions import Sessions
from .targets import Environment

Json = Any
Listener = Callable[[Event], None]
BUDGET = 60.0
_MASK = re.compile(r"\[secret [^\]]+\]")


@dataclass(frozen=True, slots=True)
class Setting:
    """What every run of one invocation shares."""

    environment: Environment
    journal: Journal
    listeners: tuple[Listener, ...] = ()
    tick: Callable[[float], None] = lambda now: None
    seen: Callable[[GateRequested, Terminal], None] = lambda gate, terminal: None
    hide: Callable[[Redactor], None] = lambda redactor: None  # told of what a run must not show, errors included


def used_executors(loaded: LoadedPlaybook) -> dict[str, Executor]:
    """Only the executors a playbook mentions, third parties' among them: the others are not imported."""
    return {name: find(name) for name in sorted(executors_of(loaded.playbook))}


def begin(
    loaded: LoadedPlaybook,
    setting: Setting,
    *,
    given: Mapping[str, Json] | None = None,
    inputs: Mapping[str, Json] | None = None,
    mode: Literal["run", "plan", "diagnose", "symptoms"] = "run",
    budget: float = BUDGET,
    follows: str = "",
    repeat: str = "",
    where: str = "",
) -> RunStarted:
    """The first record of a new run. What was `given` is checked before the run gets its number.

    `inputs` are those of an earlier run, checked and shortened already.
    """
    environment, playbook = setting.environment, loaded.playbook
    resolved = dict(inputs) if inputs is not None else resolve_inputs(playbook, given or {}, environment.pace)
    now = time.time()
    window = environment.policy.loop.window
    return RunStarted(
        run=setting.journal.start(playbook.name, environment.name, now),
        playbook=playbook.name,
        digest=loaded.digest,
        text=loaded.text,
        path=loaded.path,
        libraries=dict(loaded.libraries),
        inputs=resolved,
        environment=environment.name,
        targets=environment.kinds(),
        places=environment.places(),
        policy=environment.policy.model_dump(),
        baselines=baselines(setting.journal, playbook, environment.name),
        history=recent_actions(setting.journal, environment.name, now, window),
        pace=environment.pace,
        budget=budget,
        mode=mode,
        engine=__version__,
        wall=time.time(),  # after what was looked up: the clock of the run begins about now, and a replay adds the two
        by=user(),
        follows=follows,
        repeat=repeat or playbook.name,
        where=where,
    )


def execute(start: RunStarted, loaded: LoadedPlaybook, setting: Setting, person: Person) -> RunFinished:
    """Drive a run from its beginning to its end. Meanwhile nobody can resume or undo it."""
    _refuse_masked_inputs(start, loaded)
    run = interpret(start, loaded.playbook, loaded.needs, used_executors(loaded))
    with setting.journal.lease(start.run, passing=True):
        return driver_of(start, loaded, setting, person).drive(run)


def go_on(
    start: RunStarted,
    loaded: LoadedPlaybook,
    setting: Setting,
    person: Person,
    kept: Sequence[Event],
    settled: CallFinished | None,
    *,
    stop: bool = False,
) -> RunFinished:
    """Drive a run on from the events of its journal that are kept; with `stop` only as far as what was settled."""
    _refuse_masked_inputs(start, loaded)
    run = interpret(start, loaded.playbook, loaded.needs, used_executors(loaded))
    driver = driver_of(start, loaded, setting, person)
    replayed: Replayed = replay(run, kept, lambda event: masked_data(driver.redactor, event, driver.sensitive))
    driver.origin = time.monotonic() - last_time(kept)[0]
    for event in kept:  # who looks on now has not seen them: a gate is answered only after it was drawn
        driver.show(event)
    driver.record(RunResumed(len(kept), driver.now(), time.time(), user()))
    return driver.drive_on(run, replayed, kept, settled, stop=stop)


def driver_of(start: RunStarted, loaded: LoadedPlaybook, setting: Setting, person: Person) -> Driver:
    environment = setting.environment
    sensitive = _sensitive(start, loaded)
    redactor = environment.hiding(sensitive, (start.text, *start.libraries.values()))
    setting.hide(redactor)
    names = frozenset(name.removeprefix("input ") for name in sensitive)
    sessions = Sessions(environment.target, used_executors(loaded), redactor.json, start.run)
    driver = Driver(start.run, setting.journal, sessions, person, redactor, setting.listeners, setting.tick)
    driver.sensitive = names
    return driver


def _sensitive(start: RunStarted, loaded: LoadedPlaybook) -> dict[str, str]:
    """What a person gave and nobody else may see."""
    wanted = [name for name, item in loaded.playbook.inputs.items() if item.sensitive]
    return {f"input {name}": str(start.inputs[name]) for name in wanted if start.inputs.get(name) is not None}


def _refuse_masked_inputs(start: RunStarted, loaded: LoadedPlaybook) -> None:
    masks = {name: (f"[secret {name}]", "***") for name in _sensitive(start, loaded)}
    hidden = [name.removeprefix("input ") for name, value in _sensitive(start, loaded).items() if value in masks[name]]
    # The value of another one may be somebody's password all the same.
    also = [name for name, value in start.inputs.items() if name not in hidden and _MASK.search(str(value))]
    if (hidden or also) and start.mode != "undo":
        raise UsageError(
            f"{start.run} cannot go on: the journal does not hold its sensitive input {', '.join([*hidden, *also])}. "
            f"run {start.playbook} again"
        )


def command_line(
    setting: Setting,
    *,
    approved: Sequence[str] = (),
    yes: bool = False,
    planned: bool = False,
    answers: Mapping[str, str] | None = None,
) -> CommandLine:
    """The person at this command line; two of them do not act on the same target at once."""

    def exclusive(stack: ExitStack, targets: frozenset[str]) -> None:
        for target in sorted(targets):
            stack.enter_context(setting.journal.lease(f"{setting.environment.name}/{target}"))

    policy: Policy = setting.environment.policy
    return CommandLine(policy, frozenset(approved), yes, planned, answers or {}, exclusive, seen=setting.seen)

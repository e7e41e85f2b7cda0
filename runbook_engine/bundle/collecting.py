"""Asks everything at once: what `collect-diagnostics` lists, and the diagnosis of every other playbook.

It reads, and changes nothing. It must come to its end in time, whatever hangs: what has not answered by then is left
behind and said so.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..asking import Asking, Memory, Nobody, OneRun, Turns
from ..commands.processes import inherited_environment, run
from ..driver import Driver
from ..errors import TargetError
from ..events import RunStarted
from ..interpreter import interpret
from ..journal import Journal, Record
from ..loader import LoadedPlaybook
from ..runner import Setting, begin, used_executors
from ..services.mappings import compose, mapped
from ..sessions import Sessions
from ..targets import Environment
from ..triage import why_not
from .scrubbing import compose_settings, scrubbed

Json = Any
COLLECTOR = "collect-diagnostics"
LEFT_BEHIND = 4.0  # seconds beyond the budget until a thread that still hangs is left behind
COMPOSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Collected:
    """What was recorded, playbook by playbook, and what was not asked and why."""

    runs: tuple[tuple[LoadedPlaybook, tuple[Record, ...]], ...]
    left_out: Mapping[str, str]
    extras: Mapping[str, Json]
    hits: Mapping[str, int]
    interrupted: bool = False


def collect(
    playbooks: Sequence[LoadedPlaybook], environment: Environment, past: Journal | None, seconds: float
) -> Collected:
    """Everything that answered within so many seconds, or until Ctrl-C: what has answered by then is kept."""
    ends = time.monotonic() + seconds
    kinds = environment.kinds()
    reasons = {each.playbook.name: _why_not(each, kinds) for each in playbooks}
    chosen = [each for each in playbooks if not reasons[each.playbook.name]]
    executors = {name: found for each in chosen for name, found in used_executors(each).items()}
    asking = Asking(
        Sessions(environment.target, executors, environment.redactor.json, "collect"), Turns(ends), scrubbed
    )
    before = Counter(environment.redactor.hits)
    stamp = f"C-{uuid.uuid4().hex[:8]}"
    journals = {each.playbook.name: Memory(f"{stamp}-{n}", past) for n, each in enumerate(chosen)}
    starts = [(each, _begin(each, environment, journals[each.playbook.name], seconds)) for each in chosen]
    extras: dict[str, Json] = {}
    threads = [
        threading.Thread(target=_diagnose, args=(each, start, environment, asking, journals[each.playbook.name]))
        for each, start in starts
    ]
    threads.append(threading.Thread(target=_compose_files, args=(environment, extras)))
    for thread in threads:
        thread.daemon = True
        thread.start()
    interrupted = _joined_before_interrupt(threads, ends + LEFT_BEHIND)
    runs = tuple((each, tuple(journals[each.playbook.name].taken)) for each in chosen)
    hits = Counter(environment.redactor.hits) - before + asking.hits
    return Collected(runs, {name: why for name, why in reasons.items() if why}, dict(extras), dict(+hits), interrupted)


def _joined_before_interrupt(threads: Sequence[threading.Thread], until: float) -> bool:
    try:
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
    except KeyboardInterrupt:
        return True
    return False


def _why_not(loaded: LoadedPlaybook, kinds: Mapping[str, str]) -> str:
    return "" if loaded.playbook.name == COLLECTOR else why_not(loaded.playbook, kinds)


def _begin(loaded: LoadedPlaybook, environment: Environment, journal: Memory, seconds: float) -> RunStarted:
    """Earlier actions are nobody's business elsewhere; the baselines of earlier runs are only numbers."""
    start = begin(loaded, Setting(environment, journal), mode="diagnose", budget=seconds)
    return replace(start, history=())


def _diagnose(
    loaded: LoadedPlaybook, start: RunStarted, environment: Environment, asking: Asking, journal: Memory
) -> None:
    """What tells causes goes first: a server in trouble may not have time for everything."""
    going = interpret(start, loaded.playbook, loaded.needs, used_executors(loaded))
    sessions = OneRun(asking, start.run, rank=int(loaded.playbook.name == COLLECTOR))
    # A call may wait for its turn; how long the target may take, the session still sees to.
    Driver(start.run, journal, sessions, Nobody(), environment.redactor, grace=start.budget).drive(going)


def _compose_files(environment: Environment, extras: dict[str, Json]) -> None:
    """What the compose projects are made of, variables not filled in."""
    for target in environment.targets.values():
        if target.kind != "service" or not target.settings.get("compose"):
            continue
        words = [*compose(mapped(target.name, target.settings)), "config", "--no-interpolate", "--format", "json"]
        name = f"compose-{target.settings['compose'].get('project') or target.name}"
        if name not in extras:
            extras[name] = environment.redactor.json(_compose_file(words, target.settings.get("cwd")))


def _compose_file(words: list[str], cwd: str | None) -> Json:
    try:
        finished = run(words, env=inherited_environment(), deadline=COMPOSE_SECONDS, cwd=cwd, output_cap=1 << 20)
    except TargetError as error:
        return {"error": error.message}
    with suppress(ValueError, RecursionError):
        if finished.exit_code == 0:
            return compose_settings(json.loads(finished.stdout))
    return {"error": f"exit {finished.exit_code}: {finished.stderr[-500:]}"}

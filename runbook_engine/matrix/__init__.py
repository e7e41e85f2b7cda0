"""Measures the playbooks: every fault of the sandbox several times with jitter, healthy runs, two faults at once.

Beside each answer stands what the guide's own commands would have concluded: the baseline to beat.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RunbookError, UsageError
from ..journal import Journal
from ..sandbox import control
from ..sandbox.doubles import DOUBLES
from ..targets import load_environment
from .summary import summarise, table
from .trials import Bench, double, healthy, load, single, spoilt_double, spoilt_single

__all__ = ["Setup", "load", "run_matrix", "table"]

Json = Any
Log = Callable[[str], None]
Trial = Callable[[Bench], tuple[str, dict[str, Json]]]


@dataclass(frozen=True, slots=True)
class Setup:
    """How the trials are made. With `plan` the first offer is only looked at; without it, it is carried out."""

    folder: Path | None
    pace: float
    seed: int
    log: Log
    plan: bool = False
    record: Path | None = None  # a folder for the cassettes of the runs
    jobs: int = 1  # sandboxes side by side


def run_matrix(setup: Setup, *, only: Sequence[str], repeat: int, quiet: int, doubles: int) -> dict[str, Json]:
    """`quiet` healthy runs, playbook by playbook, each fault `repeat` times, `doubles` pairs of faults."""
    faults = [fault for fault in control.faults() if not only or fault.id in only]
    unknown = set(only) - {fault.id for fault in faults}
    if unknown:
        raise UsageError(f"no fault is called {', '.join(sorted(unknown))}; `runbook sandbox faults` lists them")
    if setup.folder is not None and setup.jobs > 1:
        raise UsageError("--folder names one sandbox; with --jobs each has a folder of its own")
    # A playbook that a person enters has no healthy run.
    playbooks = sorted({fault.playbook for fault in faults if fault.group != "recovery"})
    trials: list[Trial] = [_healthy(playbooks[n % len(playbooks)]) for n in range(quiet if playbooks else 0)]
    trials += [_single(fault, setup.seed + round_) for fault in faults for round_ in range(repeat)]
    trials += [_double(pair, setup.seed) for pair in DOUBLES[:doubles]]
    return summarise(_measure(setup, trials), setup.pace, setup.seed)


def _healthy(playbook: str) -> Trial:
    return lambda bench: ("healthy", healthy(bench, playbook))


def _single(fault: Any, seed: int) -> Trial:
    return lambda bench: ("faults", _or_spoilt(bench, lambda: single(bench, fault, seed), spoilt_single(fault, seed)))


def _double(pair: Any, seed: int) -> Trial:
    return lambda bench: ("doubles", _or_spoilt(bench, lambda: double(bench, pair, seed), spoilt_double(pair, seed)))


def _or_spoilt(bench: Bench, trial: Callable[[], dict[str, Json]], spoilt: dict[str, Json]) -> dict[str, Json]:
    """A sandbox that could not be broken or mended spoils one trial, not the others."""
    try:
        return trial()
    except RunbookError as error:
        bench.log(f"FAIL {spoilt.get('fault') or '+'.join(spoilt['faults'])}: {error}")
        return spoilt | {"reason": str(error)}


def _measure(setup: Setup, trials: Sequence[Trial]) -> dict[str, list[dict[str, Json]]]:
    """All trials, in their order on one sandbox, or shared out among several."""
    waiting: queue.SimpleQueue[tuple[int, Trial]] = queue.SimpleQueue()
    for numbered in enumerate(trials):
        waiting.put(numbered)
    rows: dict[int, tuple[str, dict[str, Json]]] = {}
    failures: list[BaseException] = []
    replays: list[tuple[str, tuple[str, ...]]] = []

    def work(number: int) -> None:
        try:
            with _bench(setup, setup.seed + number) as bench:
                bench.replays = replays
                while not failures and not waiting.empty():
                    index, trial = waiting.get_nowait()
                    rows[index] = trial(bench)
        except queue.Empty:
            return
        except BaseException as error:  # told to whoever waits for us, on their own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, min(setup.jobs, len(trials)))]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    found: dict[str, list[dict[str, Json]]] = {"healthy": [], "faults": [], "doubles": []}
    for _, (kind, row) in sorted(rows.items()):
        found[kind].append(row)
    found["replays"] = [{"run": run, "differences": list(differences)} for run, differences in replays]
    return found


@contextmanager
def _bench(setup: Setup, seed: int) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="runbook-matrix-") as scratch:
        place = setup.folder or Path(scratch) / "sandbox"
        state = control.up(place, pace=setup.pace, seed=seed, log=setup.log, tied=True)
        try:
            environment = load_environment(None, environ={}, folders=[], file=state.folder / "runbook.yaml")
            with closing(Journal.open(Path(scratch) / "state")) as journal:
                yield Bench(state, environment, journal, setup.log, "plan" if setup.plan else "run", setup.record)
        finally:
            control.down(place)

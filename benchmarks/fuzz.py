"""What each file of the hostile corpus costs: processor time and growth of memory, each in a process of its own.

    python benchmarks/fuzz.py [PART OF A LABEL]…

Figures, not assertions on a clock: a slow machine shows larger ones. What goes beyond the limits is listed.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from hostile import FAMILIES, Hostile, corpus  # noqa: E402 - the corpus belongs to the tests
from hostile.answering import forget  # noqa: E402
from hostile.answering import told as answer_to  # noqa: E402

MOST_SECONDS = 0.1
MOST_MEMORY = 50 << 20
PATIENCE = 10  # seconds of processor time until a file counts as endless
ROUNDS = 5  # the best of so many, where the first is too slow: a busy machine is no fault of the file


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one file. `ended` is empty, or how the process died instead of answering."""

    file: Hostile
    seconds: float
    memory: int
    complaints: int = 0
    ended: str = ""

    @property
    def beyond(self) -> bool:
        return bool(self.ended) or self.seconds > MOST_SECONDS or self.memory > MOST_MEMORY

    @property
    def hopeless(self) -> bool:
        return bool(self.ended) or self.seconds > 10 * MOST_SECONDS


def main(parts: Sequence[str]) -> int:
    for file in sorted((ROOT / "playbooks").rglob("*.yaml")):  # so that everything is imported
        answer_to(Hostile("warm", file.stem, file.read_bytes()))
    forget()
    chosen = [file for file in corpus() if any(each in file.label for each in parts)]
    gc.collect()
    gc.freeze()
    costs = [_cost(file) for file in chosen]
    for _ in range(ROUNDS - 1):  # each after all others: what keeps a machine busy goes on for seconds
        costs = [_better(cost) if cost.beyond else cost for cost in costs]
    for line in _table(costs):
        sys.stdout.write(line + "\n")
    return 1 if any(cost.ended for cost in costs) else 0


def _cost(file: Hostile) -> Cost:
    cost = _once(file)
    if cost.hopeless:
        sys.stderr.write(f"{_figures(cost.seconds, cost.memory)}   {file.label} {cost.ended}\n")
    return cost


def _better(cost: Cost) -> Cost:
    again = cost if cost.hopeless else _once(cost.file)
    return again if again.seconds < cost.seconds else cost


def _once(file: Hostile) -> Cost:
    """One answer in a child that has everything imported and nothing remembered."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _measure(file, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read()
    _, status = os.waitpid(child, 0)
    if not told:
        return Cost(file, PATIENCE, 0, ended=f"killed by {signal.Signals(os.WTERMSIG(status)).name}")
    return Cost(file, **json.loads(told))


def _measure(file: Hostile, writer: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE + 1))
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    before, began, found, ended = _peak(anew=True), time.process_time(), 0, ""
    try:
        found = len(answer_to(file).complaints)
    except BaseException as error:
        ended = f"{type(error).__name__}: {error}"[:200]
    seconds = time.process_time() - began
    told = {"seconds": seconds, "memory": max(0, _peak() - before), "complaints": found, "ended": ended}
    os.write(writer, json.dumps(told).encode())
    os._exit(0)


def _peak(*, anew: bool = False) -> int:
    """The most memory this process ever held, or since now."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if anew:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))


def _table(costs: Sequence[Cost]) -> Iterator[str]:
    yield f"{'family':16} {'files':>5} {'worst':>8} {'memory':>9}   the worst file"
    for family in FAMILIES:
        theirs = [cost for cost in costs if cost.file.family == family]
        if theirs:
            slow, big = max(theirs, key=lambda cost: cost.seconds), max(theirs, key=lambda cost: cost.memory)
            yield f"{family:16} {len(theirs):5} {_figures(slow.seconds, big.memory)}   {slow.file.name}"
    beyond = sorted((cost for cost in costs if cost.beyond), key=lambda cost: -cost.seconds)
    yield f"{len(costs)} files; {len(beyond)} beyond {MOST_SECONDS * 1000:.0f} ms or {MOST_MEMORY >> 20} MB"
    for cost in beyond:
        said = cost.ended or f"{cost.complaints} complaints about {len(cost.file.content)} bytes"
        yield f"  {_figures(cost.seconds, cost.memory)}   {cost.file.label}: {said}"


def _figures(seconds: float, memory: int) -> str:
    return f"{seconds * 1000:5.0f} ms {memory / (1 << 20):6.1f} MB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [""]))

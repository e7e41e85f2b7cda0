"""How long `runbook validate` takes for thousands of files: the first time, and again when nothing has changed.

    python benchmarks/validate.py [FILES]

Figures are ratios beside reading and hashing the same files, so that they mean the same on every machine.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUNBOOK = str(Path(sys.executable).with_name("runbook"))
ROUNDS = 5
SMALL = """runbook: 1
name: small-NUMBER
title: Jobs wait in queue NUMBER
targets: {redis: redis, db: postgres}
inputs:
  backlog: {type: integer, default: 1000, minimum: 1, help: pending jobs that count as a backlog}
symptoms:
  - id: waiting
    title: Jobs wait
    asynq: {inspect: queue-NUMBER}
    facts: {pending: pending, paused: paused, oldest: oldest_pending}
    present: pending >= backlog or oldest > duration('5m')
diagnosis:
  - id: blockers
    title: Sessions wait for locks
    sql: select count(*) as waiting from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > NUMBER
    facts: {blocked: row.waiting}
causes:
  - id: queue-paused
    needs: paused
    for:
      - {when: blocked == 0, weight: weak, says: no session waits}
    against:
      - {when: blocked > 0, says: "${{ blocked }} sessions wait"}
    fix: [unpause]
resolution:
  - id: unpause
    title: Resume queue-NUMBER
    effect: reversible
    guard: paused
    impact: {count: pending, of: waiting jobs start}
    asynq: {resume: queue-NUMBER}
    limit: {affected: 1}
    undo: {asynq: {pause: queue-NUMBER}}
    verify: {until: not paused, within: 15s, hold: 10s}
"""


def generate(folder: Path, files: int) -> int:
    """Nine small playbooks for one that is as large as those we ship, each with a text of its own; the bytes made."""
    chance = random.Random(7)  # the same files in every run
    shipped = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "playbooks").glob("*/*.yaml"))]
    large = [text for text in shipped if re.search(r"^runbook:", text, re.MULTILINE)]
    size = 0
    for number in range(files):
        text = SMALL.replace("NUMBER", str(number))
        if number % 10 == 0:
            text = chance.choice(large).replace("title: ", f"title: {number} ", 1)
        path = folder / "playbooks" / f"area-{number % 40}" / f"{number}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        size += path.write_text(text, encoding="utf-8")
    return size


def read_and_hash(folder: Path) -> None:
    for path in sorted(folder.rglob("*.yaml")):
        hashlib.sha256(path.read_bytes()).digest()


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median, so that one stall of the machine does not count."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main(files: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = generate(folder, files)
        environ = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HOME": name}

        def validate(*words: str) -> None:
            done = subprocess.run(
                [RUNBOOK, "validate", *words], cwd=folder, env=environ, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                sys.exit(done.stdout[:2000] + done.stderr[:2000])

        base = seconds(lambda: read_and_hash(folder / "playbooks"))
        start = seconds(lambda: subprocess.run([RUNBOOK, "--version"], env=environ, capture_output=True, check=True))
        anew = seconds(lambda: validate("--no-cache"), 1)
        first = seconds(validate, 1)
        again = seconds(validate)
    say = sys.stdout.write
    say(f"{files} files, {size / 1e6:.1f} MB; reading and hashing them: {base * 1000:.0f} ms; an empty command: ")
    say(f"{start * 1000:.0f} ms\n")
    for label, taken in (("without the memory", anew), ("first run", first), ("second run", again)):
        say(f"{label:20} {taken:7.2f} s  {files / taken:7.0f} files/s  {taken / base:6.1f} x reading and hashing\n")
    say(f"the second run is {first / again:.0f} times as fast as the first\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)

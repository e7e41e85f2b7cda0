"""Our own playbooks, tests and settings with something changed by chance: always the same chance."""

from __future__ import annotations

import random
import re
from pathlib import Path

from .files import Made

ROOT = Path(__file__).parent.parent.parent
SOURCES = (
    "playbooks/worker/queue-backlog.yaml",
    "playbooks/worker/job-failures.yaml",
    "playbooks/database/lock-contention.yaml",
    "playbooks/redis/redis-memory-full.yaml",
    "playbooks/emergency/database-recovery.yaml",
    "playbooks/library/linkflow.yaml",
    "playbooks/help/debug-mode.test.yaml",
    "examples/runbook.yaml",
)
_TOKEN = re.compile(r"\s+|[A-Za-z_][\w-]*|[0-9.]+|.", re.DOTALL)
_STRANGE = (
    "&a ",
    "*a",
    "!!x ",
    "${{ ",
    " }}",
    "[",
    "]",
    "{",
    "}",
    "|",
    ">",
    "<<: ",
    "- ",
    ": ",
    "'",
    '"',
    "\t",
    "#",
    "? ",
    "\0",
    "\u202e",
    "%",
)


def of_bytes() -> Made:
    """One to forty bytes changed, lost, doubled or put somewhere else."""
    for source in SOURCES:
        original = (ROOT / source).read_bytes()
        for seed in range(12):
            chance = random.Random(f"{source} {seed}")
            made = bytearray(original)
            for _ in range(chance.choice((1, 3, 40))):
                _change(made, chance)
            yield f"{Path(source).stem}-{seed:02}", bytes(made)


def _change(made: bytearray, chance: random.Random) -> None:
    at, length = chance.randrange(len(made)), chance.choice((1, 2, 20))
    match chance.randrange(5):
        case 0:
            made[at] = chance.randrange(256)
        case 1:
            del made[at : at + length]
        case 2:
            made[at:at] = made[at : at + length] * chance.choice((1, 2, 50))
        case 3:
            made[at] ^= 1 << chance.randrange(8)
        case _:
            piece = made[at : at + length]
            there = chance.randrange(len(made))
            made[there:there] = piece


def of_tokens() -> Made:
    """Words swapped, lost, doubled or taken from elsewhere; signs of YAML where none belong; another indentation."""
    words = {token for source in SOURCES for token in _tokens(source) if token[0].isalpha()}
    for source in SOURCES:
        for seed in range(15):
            chance = random.Random(f"tokens {source} {seed}")
            made = _tokens(source)
            for _ in range(chance.choice((1, 5, 30))):
                _replace(made, sorted(words), chance)
            yield f"{Path(source).stem}-{seed:02}", "".join(made)


def _tokens(source: str) -> list[str]:
    return _TOKEN.findall((ROOT / source).read_text(encoding="utf-8"))


def _replace(made: list[str], words: list[str], chance: random.Random) -> None:
    at = chance.randrange(len(made))
    match chance.randrange(6):
        case 0:
            made[at] = chance.choice(_STRANGE)
        case 1:
            made[at] = chance.choice(words)
        case 2:
            made.pop(at)
        case 3:
            there = chance.randrange(len(made))
            made[at], made[there] = made[there], made[at]
        case 4:
            made.insert(at, chance.choice(_STRANGE))
        case _:
            made[at] += "\n" + " " * chance.randrange(12)


def of_lines() -> Made:
    """Lines cut out, moved, doubled; the file broken off; two files in one."""
    for source in SOURCES:
        lines = (ROOT / source).read_text(encoding="utf-8").split("\n")
        chance = random.Random(f"lines {source}")
        for seed in range(4):
            made = list(lines)
            for _ in range(chance.choice((1, 4, 12))):
                made.insert(chance.randrange(len(made)), made.pop(chance.randrange(len(made))))
            yield f"{Path(source).stem}-moved-{seed}", "\n".join(made)
        yield f"{Path(source).stem}-cut", "\n".join(lines)[: sum(map(len, lines)) * 2 // 3]
        yield f"{Path(source).stem}-doubled", "\n".join([*lines, *lines])
        yield f"{Path(source).stem}-flat", "\n".join(line.lstrip() for line in lines)
        yield f"{Path(source).stem}-deep", "\n".join(" " * number + line for number, line in enumerate(lines[:1_000]))
        yield f"{Path(source).stem}-one-line", " ".join(lines)
        yield f"{Path(source).stem}-backwards", "\n".join(reversed(lines))
        yield f"{Path(source).stem}-half", "\n".join(lines[len(lines) // 2 :])

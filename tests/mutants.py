"""How good are the tests of our playbooks? A mutant is a playbook with one thing changed that somebody could get wrong.

A mutant is killed when `validate` refuses it or warns of it, when a test of the playbook fails, or when its proof
breaks where that of the playbook does not. `make mutants` makes them, and prints what survived:
`python tests/mutants.py [PLAYBOOK…] [--most N] [--all] [--no-proofs]`.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import multiprocessing
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runbook_engine import linter
from runbook_engine.cases import Cases
from runbook_engine.catalog import TESTS, folders, libraries_for
from runbook_engine.cli.testing import _cassette, _prepare
from runbook_engine.errors import PlaybookError
from runbook_engine.loader import LoadedPlaybook, load_playbook
from runbook_engine.playing import play
from runbook_engine.proving import prove
from runbook_engine.runner import used_executors

Json = Any
Loc = tuple[Any, ...]
PLAYBOOKS = Path(__file__).parent.parent / "playbooks"
MOST = 240
DROPPED = ("guard", "limit", "verify", "undo", "impact", "when", "snapshot", "recovering", "batch")
EXPRESSIONS = frozenset({"present", "recovering", "needs", "when", "guard", "until", "count", "proceed", "affected"})
FLIPPED = {">=": "<", "<=": ">", ">": "<=", "<": ">=", "==": "!=", "!=": "=="}
SIGN = re.compile(r"(?<![<>=!])(>=|<=|==|!=|>|<)(?!=)")
NUMBER = re.compile(r"(?<![\w.'\"\[])(\d+(?:\.\d+)?)(?![\w.'\"\]%])")
WORD = re.compile(r"\b(and|or|not)\b ?")
MILDER = {"destructive": "disruptive", "disruptive": "reversible", "reversible": "touch"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: its kind, where it is, what it says there now, and the text of the whole playbook."""

    kind: str
    loc: Loc
    says: str
    text: str


@dataclass(frozen=True, slots=True)
class Fate:
    playbook: str
    kind: str
    place: str  # file:line
    says: str
    killed_by: str  # validate, test, prove; empty when it survived


def mutants(data: Json) -> Iterator[Mutant]:
    """Every mutant of a parsed playbook, in the order of the file."""

    def made(kind: str, loc: Loc, says: str, change: Callable[[Json, Any], None]) -> Mutant:
        changed = copy.deepcopy(data)
        place = changed
        for part in loc[:-1]:
            place = place[part]
        change(place, loc[-1])
        return Mutant(kind, loc, says, written(changed))

    def put(value: Json) -> Callable[[Json, Any], None]:
        return lambda place, key: place.__setitem__(key, value)

    for loc, value in _walk(data):
        key = loc[-1]
        if key in DROPPED and loc[0] in ("symptoms", "diagnosis", "resolution"):
            yield made(f"drop {key}", loc, f"no {key}", lambda place, key: place.pop(key))
        if isinstance(value, str) and (key in EXPRESSIONS or "facts" in loc[:-1]):
            for kind, says in expression_mutants(value):
                yield made(kind, loc, says, put(says))
        if loc[0] == "inputs" and key == "default" and (changed := _other(value)) is not None:
            yield made("change a default", loc, f"default {changed}", put(changed))
        if loc[0] == "causes" and len(loc) == 4 and loc[2] in ("for", "against", "explains"):
            yield made(f"drop one of {loc[2]}", loc, f"without {_short(value)}", lambda place, key: place.pop(key))
        if loc[0] == "resolution" and len(loc) == 3 and key == "effect" and value in MILDER:
            yield made("lower an effect", loc, f"effect: {MILDER[value]}", put(MILDER[value]))
        if loc[0] == "causes" and key == "fix" and len(value) > 1:
            yield made("turn fix round", loc, f"fix: {value[::-1]}", put(value[::-1]))
    for number in range(len(data.get("causes", ())) - 1):
        one, other = (data["causes"][number + n]["needs"] for n in (0, 1))
        changed = copy.deepcopy(data)
        changed["causes"][number]["needs"], changed["causes"][number + 1]["needs"] = other, one
        says = f"needs of {data['causes'][number]['id']} and {data['causes'][number + 1]['id']} swapped"
        yield Mutant("swap needs", ("causes", number, "needs"), says, written(changed))


def written(data: Json) -> str:
    """The text of a playbook, without its comments."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10**6)


def expression_mutants(text: str) -> Iterator[tuple[str, str]]:
    """The text with one sign, number or word changed: kind, and the new text."""
    for match in SIGN.finditer(text):
        yield "flip a comparison", text[: match.start()] + FLIPPED[match[1]] + text[match.end() :]
    for match in NUMBER.finditer(text):
        changed = _other(float(match[1]) if "." in match[1] else int(match[1]))
        yield "change a threshold", f"{text[: match.start()]}{changed}{text[match.end() :]}"
    for match in WORD.finditer(text):
        other = {"and": "or ", "or": "and ", "not": ""}[match[1]]
        yield f"change {match[1]}", text[: match.start()] + other + text[match.end() :]


def _walk(value: Json, loc: Loc = ()) -> Iterator[tuple[Loc, Json]]:
    pairs: Iterable[tuple[Any, Json]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, inner in pairs:
        yield (*loc, key), inner
        yield from _walk(inner, (*loc, key))


def _other(value: Json) -> Json:
    """Another number or duration, far enough away to matter; None for what is neither."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if abs(value) <= 1 else value * 2
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d|KiB|MiB|GiB)", value) if isinstance(value, str) else None
    return f"{int(match[1]) * 2}{match[2]}" if match else None


def _short(value: Json) -> str:
    text = str(value.get("when", value)) if isinstance(value, dict) else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


@dataclass(frozen=True, slots=True)
class Subject:
    """A playbook, its tests, and what validation says of it as it is."""

    loaded: LoadedPlaybook
    files: tuple[tuple[Path, Cases], ...]
    warnings: frozenset[tuple[str, str]]
    broken: frozenset[tuple[str, str]] | None  # what its proof says; None: mutants are not proved

    def fate(self, mutant: Mutant) -> str:
        try:
            loaded = _load(mutant.text, self.loaded)
        except PlaybookError:
            return "validate"
        if _warnings(loaded) - self.warnings:
            return "validate"
        executors = used_executors(loaded)
        for path, cases in self.files:
            for case in cases.tests:
                kept = _cassette(path, case.cassette, loaded.playbook.name)
                result, _ = play(loaded, cases, case, kept, executors)
                if not result.passed:
                    return "test"
        return "prove" if self.broken is not None and broken(loaded) - self.broken else ""


def subjects(names: Sequence[str], *, proofs: bool) -> Iterator[Subject]:
    by_playbook: dict[str, list[tuple[Path, LoadedPlaybook, Cases]]] = {}
    for path in sorted(each for each in PLAYBOOKS.rglob("*") if each.name.endswith(TESTS)):
        prepared = _prepare(path)
        by_playbook.setdefault(prepared[1].playbook.name, []).append(prepared)
    for name, found in by_playbook.items():
        if not names or name in names:
            loaded = found[0][1]
            files = tuple((path, cases) for path, _, cases in found)
            yield Subject(loaded, files, warnings(loaded), broken(loaded) if proofs else None)


def _load(text: str, like: LoadedPlaybook) -> LoadedPlaybook:
    places = folders(dict(os.environ), Path.cwd())
    return load_playbook(text, like.path, libraries=libraries_for(text, places, Path(like.path)))


def warnings(loaded: LoadedPlaybook) -> frozenset[tuple[str, str]]:
    """Of the playbook, with and without its comments: a mutant has lost them, and what they ignore is not its fault."""
    return _warnings(loaded) | _warnings(_load(written(yaml.safe_load(loaded.text)), loaded))


def _warnings(loaded: LoadedPlaybook) -> frozenset[tuple[str, str]]:
    return frozenset((each.code, each.message) for each in (*loaded.warnings, *linter.run(loaded)))


def broken(loaded: LoadedPlaybook) -> frozenset[tuple[str, str]]:
    return frozenset((each.claim, each.what) for each in prove(loaded, used_executors(loaded)).failures)


def chosen(found: Sequence[Mutant], most: int) -> list[Mutant]:
    """So many of them, evenly over the kinds, and of each kind evenly over the file."""
    by_kind: dict[str, list[Mutant]] = {}
    for each in found:
        by_kind.setdefault(each.kind, []).append(each)
    spread = [
        [kept[n] for n in sorted(range(len(kept)), key=lambda n: _halving(n, len(kept)))] for kept in by_kind.values()
    ]
    rounds = itertools.zip_longest(*spread)
    return [each for row in rounds for each in row if each is not None][:most]


def _halving(place: int, length: int) -> int:
    """Orders places so that any beginning of the order is spread: the bits of the place, turned round."""
    bits = max(1, (length - 1).bit_length())
    return int(f"{place:0{bits}b}"[::-1], 2)


_subjects: list[Subject] = []


def _judge(number: int, mutant: Mutant) -> Fate:
    subject = _subjects[number]
    path, line, _ = subject.loaded.position(mutant.loc)
    return Fate(subject.loaded.playbook.name, mutant.kind, f"{path}:{line}", mutant.says, subject.fate(mutant))


def judged(names: Sequence[str], most: int | None, *, proofs: bool = True) -> list[Fate]:
    """The fates of the mutants of these playbooks, of all when none is named."""
    _subjects[:] = list(subjects(names, proofs=proofs))
    share = -(-most // max(1, len(_subjects))) if most is not None else None
    work = []
    for number, subject in enumerate(_subjects):
        found = list(mutants(yaml.safe_load(subject.loaded.text)))
        work += [(number, mutant) for mutant in (found if share is None else chosen(found, share))]
    with ProcessPoolExecutor(os.cpu_count() or 1, multiprocessing.get_context("fork")) as pool:
        return list(pool.map(_judge, *zip(*work, strict=True), chunksize=4))


def report(fates: Sequence[Fate]) -> Iterator[str]:
    for title in ("kind", "playbook"):
        total = Counter(getattr(fate, title) for fate in fates)
        killed = Counter(getattr(fate, title) for fate in fates if fate.killed_by)
        yield f"{title:30} killed"
        yield from (f"{name:30} {killed[name]:4} of {total[name]}" for name in sorted(total))
        yield ""
    by = Counter(fate.killed_by for fate in fates)
    for fate in fates:
        if not fate.killed_by:
            yield f"SURVIVED {fate.place}: {fate.kind}: {fate.says}"
    dead = len(fates) - by[""]
    share = f"{dead / len(fates):.1%}" if fates else "none"
    by_what = f"by validate {by['validate']}, by tests {by['test']}, by prove {by['prove']}"
    yield f"killed {dead} of {len(fates)} ({share}): {by_what}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("playbooks", nargs="*")
    parser.add_argument("--most", type=int, default=MOST, help=f"so many mutants over all playbooks; default {MOST}")
    parser.add_argument("--all", action="store_true", help="every mutant there is")
    parser.add_argument("--no-proofs", action="store_true", help="validate and tests alone, which is quicker")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT", help="fail below this")
    options = parser.parse_args()
    fates = judged(options.playbooks, None if options.all else options.most, proofs=not options.no_proofs)
    for line in report(fates):
        sys.stdout.write(f"{line}\n")
    killed = sum(bool(fate.killed_by) for fate in fates)
    return int(killed * 100 < options.at_least * len(fates))


if __name__ == "__main__":
    sys.exit(main())

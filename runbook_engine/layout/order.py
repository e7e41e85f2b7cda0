"""In which order the keys of a playbook stand: as a reader asks. What no line below speaks of stays where it was.

Only keys of the language are ever moved; facts, inputs and bindings are somebody's own, and facts read one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ..executors import names

Path = tuple[str, ...]  # of a mapping: keys, and `-` for an item of a list
REQUEST = "(request)"  # whichever executor is asked

_PLAYBOOK = ("runbook name title area about not_for notes inputs targets symptoms diagnosis causes resolution",)
_PROBE = (
    f"id title target {REQUEST} sample with facts present recovering",
    f"title effect {REQUEST}",
    f"title when {REQUEST}",
    "id use facts",
    "title ask facts",
    "timeout facts",
)
_CAUSE = ("id title needs weight for against explains fix", "needs explains see", "needs advice")
_ACT = f"id title about effect guard impact each as target {REQUEST} with undo verify"
_ACTION = (
    _ACT,
    "title manual undo",
    f"{REQUEST} snapshot undo",
    "impact steps undo",
    "limit undo",
    "timeout verify",
    "impact batch",
)
_EVIDENCE = ("when weight says",)
_TEST = ("name cassette inputs mode replies after expect", "name gates expect", "name answers expect")
_CHAINS: dict[str, dict[Path, tuple[str, ...]]] = {
    "runbook": {
        (): _PLAYBOOK,
        ("inputs", "*"): ("type default help", "type optional", "type minimum maximum help", "type pattern help"),
        ("symptoms", "-"): _PROBE,
        ("diagnosis", "-"): _PROBE,
        ("causes", "-"): _CAUSE,
        ("causes", "-", "for", "-"): _EVIDENCE,
        ("causes", "-", "against", "-"): _EVIDENCE,
        ("resolution", "-"): _ACTION,
        ("resolution", "-", "impact"): ("count of items",),
        ("resolution", "-", "verify"): ("until within hold",),
        ("resolution", "-", "batch"): ("canary size proceed",),
        ("resolution", "-", "steps", "-"): (f"id title {REQUEST} undo",),
        ("resolution", "-", "undo"): (f"{REQUEST} with verify", "guard verify"),
        ("resolution", "-", "undo", "verify"): ("until within hold",),
    },
    "library": {(): ("library about targets probes",), ("probes", "*"): _PROBE},
    "cases": {(): ("cases targets replies tests",), ("tests", "-"): _TEST},
    "environments": {(): ("environments default",), ("environments", "*"): ("about pace policy targets",)},
}
STEPS = {("symptoms",), ("diagnosis",), ("causes",), ("resolution",)}
"""Lists whose items stand apart, by an empty line, where one of two takes several lines."""


def ordered(kind: str, path: Path, keys: Sequence[str]) -> list[int]:
    """Places of `keys` in their canonical order. The first key that nothing has to stand before comes first."""
    left = list(range(len(keys)))
    found: list[int] = []
    before = _before(kind, path)
    while left:
        words = {index: _word(keys[index]) for index in left}
        waiting = set(words.values())
        free = next((index for index in left if not before.get(words[index], frozenset()) & waiting), left[0])
        found.append(free)
        left.remove(free)
    return found


def _word(key: str) -> str:
    return REQUEST if key in names() else key


@cache
def _before(kind: str, path: Path) -> dict[str, frozenset[str]]:
    """Each key and all that stand before it."""
    chains = next((value for place, value in _CHAINS.get(kind, {}).items() if _fits(place, path)), ())
    found: dict[str, set[str]] = {}
    for chain in chains:
        seen: set[str] = set()
        for word in chain.split():
            found.setdefault(word, set()).update(seen)
            seen.add(word)
    return {word: frozenset(earlier) for word, earlier in found.items()}


def _fits(place: Path, path: Path) -> bool:
    return len(place) == len(path) and all(one in ("*", other) for one, other in zip(place, path, strict=True))

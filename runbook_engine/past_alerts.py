"""Past alerts against all playbooks: alerts that none is for, and playbooks that none of them would ever call. Pure.

Alerts of one name that fare alike are told once, however many there were.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from .alerts import Labels, Matched, closeness, compared, match
from .model import Playbook

Fate = Literal["one", "several", "none", "ignored"]


@dataclass(slots=True)
class Kind:
    """Past alerts of one name that fare alike: for one playbook, for several alike, or for none."""

    alertname: str
    fate: Fate
    playbooks: tuple[str, ...]
    why: str  # what decided; where none matches, what stands against the nearest
    place: str  # of the first
    times: int = 0
    unfit: tuple[str, ...] = ()  # labels whose value the playbook does not take


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a playbook's `alerts:`. `why`: what stands against it where it never matched or never decided."""

    playbook: str
    index: int
    matched: int  # past alerts
    chosen: int  # of those, where no other playbook names more labels
    why: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What past alerts tell of the playbooks."""

    kinds: Sequence[Kind]
    entries: Sequence[Entry]
    without: Sequence[str] = ()  # playbooks that are for no alert at all

    @property
    def unanswered(self) -> list[Kind]:
        return [kind for kind in self.kinds if kind.fate in ("none", "several")]

    @property
    def never(self) -> Mapping[str, list[Entry]]:
        """The playbooks that no past alert would have called, with all their entries."""
        by_playbook: dict[str, list[Entry]] = {}
        for entry in self.entries:
            by_playbook.setdefault(entry.playbook, []).append(entry)
        return {name: each for name, each in by_playbook.items() if not any(entry.chosen for entry in each)}

    @property
    def idle(self) -> list[Entry]:
        """Entries that never decide, of playbooks that are called by others."""
        never = self.never
        return [entry for entry in self.entries if not entry.chosen and entry.playbook not in never]


@dataclass(slots=True)
class _Tally:
    playbook: str
    index: int
    wanted: Labels
    matched: int = 0
    chosen: int = 0
    beaten_by: set[str] = field(default_factory=set)
    nearest: Matched | None = None


def judge(past: Iterable[tuple[Labels, str]], playbooks: Sequence[Playbook], ignored: Collection[str] = ()) -> Judged:
    """`past`: the labels of each alert and where it stands; `ignored`: patterns of names that need no playbook."""
    tallies = [_Tally(each.name, index, wanted) for each in playbooks for index, wanted in enumerate(each.alerts)]
    kinds: dict[tuple[str, Fate, tuple[str, ...], str], Kind] = {}
    for labels, place, times in _alike(past, playbooks):
        made = _kind(labels, place, playbooks, ignored)
        kinds.setdefault((made.alertname, made.fate, made.playbooks, made.why), made).times += times
        _count(tallies, labels, playbooks, made, times)
    order = {"none": 0, "several": 1, "one": 2, "ignored": 3}
    return Judged(
        sorted(kinds.values(), key=lambda kind: (order[kind.fate], kind.alertname, kind.playbooks)),
        [_entry(tally) for tally in tallies],
        [each.name for each in playbooks if not each.alerts],
    )


def _alike(past: Iterable[tuple[Labels, str]], playbooks: Sequence[Playbook]) -> Iterator[tuple[Labels, str, int]]:
    """Alerts that differ only in labels that no playbook reads, once."""
    read = {"alertname", *(name for each in playbooks for wanted in each.alerts for name in wanted)}
    read |= {given.label for each in playbooks for given in each.inputs.values() if given.label}
    seen: dict[tuple[tuple[str, str], ...], tuple[Labels, str, int]] = {}
    for labels, place in past:
        kept = {name: value for name, value in labels.items() if name in read}
        key = tuple(sorted(kept.items()))
        known = seen.get(key, (kept, place, 0))
        seen[key] = (known[0], known[1], known[2] + 1)
    yield from seen.values()


def _kind(labels: Labels, place: str, playbooks: Sequence[Playbook], ignored: Collection[str]) -> Kind:
    name = labels["alertname"]
    hits, near = match(labels, playbooks)
    best = [each for each in hits if len(each.agreed) == len(hits[0].agreed)]
    if best:
        fate: Fate = "one" if len(best) == 1 else "several"
        unfit = best[0].unfit if fate == "one" else ()
        return Kind(name, fate, tuple(each.playbook for each in best), best[0].why(), place, unfit=unfit)
    if any(fnmatchcase(name, pattern) for pattern in ignored):
        return Kind(name, "ignored", (), "", place)
    return Kind(name, "none", (), f"nearest {near[0].playbook}: {near[0].why()}" if near else "", place)


def _count(tallies: Sequence[_Tally], labels: Labels, playbooks: Sequence[Playbook], kind: Kind, times: int) -> None:
    for tally, found in zip(tallies, compared(labels, playbooks), strict=True):
        if found.matches:
            tally.matched += times
            first = tally.playbook in kind.playbooks
            tally.chosen += times if first else 0
            tally.beaten_by.update(() if first else kind.playbooks)
        elif tally.nearest is None or closeness(found) > closeness(tally.nearest):
            tally.nearest = found


def _entry(tally: _Tally) -> Entry:
    why = ""
    if tally.matched and not tally.chosen:
        why = f"{', '.join(sorted(tally.beaten_by))} names more labels of every alert that it matches"
    elif not tally.matched:
        wanted = ", ".join(f"{name}={value}" for name, value in tally.wanted.items())
        near = tally.nearest
        nearest = near is not None and (near.agreed or closeness(near) > 0.5)
        why = f"no past alert has {wanted}" + (f"; of the nearest {near.why()}" if near is not None and nearest else "")
    return Entry(tally.playbook, tally.index, tally.matched, tally.chosen, why)

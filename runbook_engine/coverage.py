"""What the tests of a playbook visit, and what they leave out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .branches import Branches
from .errors import CONNECTION_CODES
from .events import CallFinished, CallRequested, Event
from .loader import LoadedPlaybook
from .model import Playbook
from .ranking import CONFIRMED_AT, highest_score

Json = Any


def targets_of(playbook: Playbook) -> frozenset[str]:
    """Every target that a probe asks."""
    return frozenset(probe.target for probe in playbook.probes() if probe.target is not None)


@dataclass(slots=True)
class Coverage:
    """What the tests of one playbook visited.

    A cause counts where it is confirmed on top, one that can only be suspected where it is that on top. A target counts
    as away in a test where every probe of it that was asked found no connection.
    """

    playbook: str
    causes: dict[str, bool]
    done: dict[str, bool]
    declined: dict[str, bool]
    away: dict[str, bool]
    branches: Branches
    suspects: frozenset[str] = frozenset()  # causes that cannot score enough to be confirmed
    healthy: bool = False
    inconclusive: bool = False

    @classmethod
    def of(cls, loaded: LoadedPlaybook) -> Coverage:
        actions = [action.id for action in loaded.playbook.resolution]
        causes = {cause.id: False for cause in loaded.playbook.causes}
        away = dict.fromkeys(sorted(targets_of(loaded.playbook)), False)
        done, declined = dict.fromkeys(actions, False), dict.fromkeys(actions, False)
        suspects = frozenset(each.id for each in loaded.playbook.causes if highest_score(each) < CONFIRMED_AT)
        return cls(loaded.playbook.name, causes, done, declined, away, Branches.of(loaded.playbook), suspects)

    def add(self, document: Mapping[str, Json], events: Sequence[Event]) -> None:
        if not document:
            return
        self._add_away(events)
        self.branches.add(events)
        best = next((each for each in document["causes"] if each["verdict"] in ("confirmed", "suspected")), None)
        if best is not None and (best["verdict"] == "confirmed" or best["id"] in self.suspects):
            self.causes[best["id"]] = True
        for action in document["actions"]:
            verdict = action["decision"]["verdict"]
            if verdict == "yes" and action["id"] in self.done:
                self.done[action["id"]] = True
            elif verdict in ("no", "none") and action["id"] in self.declined:
                self.declined[action["id"]] = True
        self.healthy |= document["outcome"] == "healthy"
        self.inconclusive |= document["outcome"] == "inconclusive"

    def with_(self, other: Coverage) -> Coverage:
        """What both visit, of the same playbook."""

        def either(mine: Mapping[str, bool], theirs: Mapping[str, bool]) -> dict[str, bool]:
            return {name: seen or theirs[name] for name, seen in mine.items()}

        return replace(
            self,
            causes=either(self.causes, other.causes),
            done=either(self.done, other.done),
            declined=either(self.declined, other.declined),
            away=either(self.away, other.away),
            branches=self.branches.with_(other.branches),
            healthy=self.healthy or other.healthy,
            inconclusive=self.inconclusive or other.inconclusive,
        )

    def _add_away(self, events: Sequence[Event]) -> None:
        asked = {
            event.id: event.target for event in events if isinstance(event, CallRequested) and event.request is not None
        }
        ends: dict[str, set[bool]] = {}
        for event in events:
            if isinstance(event, CallFinished) and event.id in asked:
                failed = event.error is not None and event.error["code"] in CONNECTION_CODES
                ends.setdefault(asked[event.id], set()).add(failed)
        self.away.update({target: True for target, failed in ends.items() if target in self.away and failed == {True}})

    def share(self) -> float:
        """Of causes confirmed on top and actions carried out; 1.0 is all."""
        visited = [*self.causes.values(), *self.done.values()]
        return sum(visited) / len(visited) if visited else 1.0

    def missing(self) -> list[str]:
        """What no test visits, in words."""
        words = [f"cause {name}" for name, seen in self.causes.items() if not seen]
        words += [f"action {name}" for name, seen in self.done.items() if not seen]
        words += [f"declining {name}" for name, seen in self.declined.items() if not seen]
        words += [f"{name} unreachable" for name, seen in self.away.items() if not seen]
        words += [word for word, seen in (("healthy", self.healthy), ("inconclusive", self.inconclusive)) if not seen]
        return words

"""What every check is given: the playbook, where its words stand, a place for complaints. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from ...errors import Complaint
from ...executor import Executor
from ...model import Act, Action, Playbook, Probe
from ..positions import Loc, describe, find_node
from ..salvage import Wreck, place_of
from ..source_text import complaint_at
from ..yaml_reader import Node, Scalar, position_inside

Json = Any
Role = Literal["probe", "action", "part", "undo", "snapshot", "progress"]


@dataclass(frozen=True, slots=True)
class Placed:
    """An act and where it stands. `what` names it in complaints."""

    act: Act
    loc: Loc
    role: Role
    owner: Probe | Action
    what: str


@dataclass(slots=True)
class Checking:
    """One load. `wreck` is what the file lost because it had no shape, `blind` when nobody knows what else it lost.

    `fills` are keys that the checks inferred and the loader writes in: (place of the act, key, value).
    """

    playbook: Playbook
    root: Node
    lines: Mapping[str, list[str]]
    executors: Mapping[str, Executor]
    executor_names: tuple[str, ...]
    wreck: Wreck = field(default_factory=Wreck)
    blind: bool = False
    complaints: list[Complaint] = field(default_factory=list)
    params: dict[Loc, BaseModel] = field(default_factory=dict)
    fills: list[tuple[Loc, str, Json]] = field(default_factory=list)

    def complain(
        self,
        loc: Loc,
        code: str,
        message: str,
        *,
        key: bool = False,
        offset: int | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """At the value of `loc`, at its key, or `offset` characters into its text."""
        found = find_node(self.root, loc, self.executor_names)
        at: Node = found.key if key and found.key is not None else found.node
        line, column = at.line, at.column
        if offset is not None and isinstance(at, Scalar) and found.complete:
            line, column = position_inside(at, self.lines.get(at.path, []), offset)
        made = complaint_at(self.lines.get(at.path, []), at.path, line, column, message, code)
        self.complaints.append(
            made if severity == "error" else Complaint(made.path, line, column, message, code, made.snippet, severity)
        )

    def place(self, loc: Loc) -> str:
        return describe(self.root, loc, self.executor_names)

    def may_be_lost(self, name: str) -> bool:
        """Whether what is not there may stand in a part of the file that another mistake has hidden."""
        return self.blind or name in self.wreck.words

    def maimed(self, loc: Loc) -> bool:
        """Whether something was taken out of this mapping, so that what it lacks may just be misspelt."""
        return place_of(find_node(self.root, loc, self.executor_names).node) in self.wreck.maimed

    def executor_of(self, act: Act) -> Executor | None:
        return self.executors.get(act.executor) if act.executor is not None else None

    def written(self, loc: Loc) -> bool:
        """Whether the author wrote this key."""
        return find_node(self.root, loc, self.executor_names).complete

    def placed_probes(self) -> list[tuple[Probe, Loc]]:
        sections = {"symptoms": self.playbook.symptoms, "diagnosis": self.playbook.diagnosis}
        return [(probe, (name, index)) for name, probes in sections.items() for index, probe in enumerate(probes)]

    def placed_actions(self) -> list[tuple[Action, Loc]]:
        return [(action, ("resolution", index)) for index, action in enumerate(self.playbook.resolution)]

    def acts(self, also_empty: bool = False) -> list[Placed]:
        """Everything that is sent to a target, wherever it stands; also what should be and has no request."""
        placed = [Placed(probe, loc, "probe", probe, f"step {probe.id!r}") for probe, loc in self.placed_probes()]
        for action, loc in self.placed_actions():
            placed += _acts_of(action, loc)
        return [item for item in placed if also_empty or item.act.executor is not None]


def fact_names(probe: Probe) -> tuple[str, ...]:
    return (*probe.facts, probe.ask.fact) if probe.ask else tuple(probe.facts)


def _acts_of(action: Action, loc: Loc) -> list[Placed]:
    name = f"action {action.id!r}"
    placed = [Placed(action, loc, "action", action, name)]
    for index, part in enumerate(action.steps):
        inner: Loc = (*loc, "steps", index)
        placed.append(Placed(part, inner, "part", action, f"step {part.id!r} of {name}"))
        if part.undo is not None:
            placed.append(
                Placed(part.undo, (*inner, "undo"), "undo", action, f"the undo of step {part.id!r} of {name}")
            )
    if action.undo is not None:
        placed.append(Placed(action.undo, (*loc, "undo"), "undo", action, f"the undo of {name}"))
    for key, act in action.snapshot.items():
        placed.append(Placed(act, (*loc, "snapshot", key), "snapshot", action, f"snapshot {key!r} of {name}"))
    if action.progress is not None:
        placed.append(Placed(action.progress, (*loc, "progress"), "progress", action, f"the progress of {name}"))
    return placed

"""Checks ids, causes and what they point at, and keys that belong to another section."""

from __future__ import annotations

from collections.abc import Iterable

from ..positions import Loc
from ..suggestions import suggest
from .checking import Checking
from .order import find_cycles


def check_structure(checking: Checking) -> None:
    playbook = checking.playbook
    probes = [(probe.id, (*loc, "id")) for probe, loc in checking.placed_probes()]
    actions: list[tuple[str, Loc]] = [(action.id, (*loc, "id")) for action, loc in checking.placed_actions()]
    _check_unique(checking, "step", [*probes, *actions])
    _check_unique(
        checking, "cause", [(cause.id, ("causes", index, "id")) for index, cause in enumerate(playbook.causes)]
    )
    for action, loc in checking.placed_actions():
        _check_unique(
            checking, "step", [(part.id, (*loc, "steps", index, "id")) for index, part in enumerate(action.steps)]
        )
    _check_sections(checking)
    _check_requests_there(checking)
    _check_causes(checking)


def _check_unique(checking: Checking, noun: str, ids: Iterable[tuple[str, Loc]]) -> None:
    seen: set[str] = set()
    for name, loc in ids:
        if name in seen:
            checking.complain(loc, "RB108", f"there is already a {noun} {name!r}. ids are unique")
        seen.add(name)


def _check_sections(checking: Checking) -> None:
    for probe, loc in checking.placed_probes():
        if loc[0] == "symptoms" and probe.present is None and not checking.maimed(loc):
            message = f"symptom {probe.id!r} needs 'present': the expression that is true when the problem is there"
            checking.complain(loc, "RB110", message)
        for key in ("present", "recovering"):
            if loc[0] == "diagnosis" and getattr(probe, key) is not None:
                checking.complain(
                    (*loc, key), "RB110", f"{key!r} is for symptoms; step {probe.id!r} is diagnosis", key=True
                )


def _check_requests_there(checking: Checking) -> None:
    """An undo, a snapshot or a part of an action that asks nobody promises what it does not do."""
    for placed in checking.acts(also_empty=True):
        missing = placed.act.executor is None and placed.role not in ("probe", "action")
        if missing and not checking.maimed(placed.loc):
            message = f"{placed.what} has no request. give it one, under the name of an executor (sql, redis, …)"
            checking.complain(placed.loc, "RB102", message, key=True)


def _check_causes(checking: Checking) -> None:
    causes = {cause.id: cause for cause in checking.playbook.causes}
    actions = {action.id for action in checking.playbook.resolution}
    for index, cause in enumerate(checking.playbook.causes):
        for number, name in enumerate(cause.explains):
            if name not in causes and not checking.may_be_lost(name):
                place = checking.place(("causes", index))
                message = f"{place} explains the unknown cause {name!r}{suggest(name, causes.keys() - {cause.id})}"
                checking.complain(("causes", index, "explains", number), "RB501", message)
        for number, name in enumerate(cause.fix):
            if name not in actions and not checking.may_be_lost(name):
                place = checking.place(("causes", index))
                message = f"{place} is fixed by the unknown action {name!r}{suggest(name, actions)}"
                checking.complain(("causes", index, "fix", number), "RB503", message)
    explains = {name: frozenset(cause.explains) & causes.keys() for name, cause in causes.items()}
    for cycle in find_cycles(explains):
        index = next(index for index, cause in enumerate(checking.playbook.causes) if cause.id == cycle[0])
        message = f"these causes explain each other: {' → '.join(cycle)}. the more specific explains the more general"
        checking.complain(("causes", index, "explains"), "RB502", message)

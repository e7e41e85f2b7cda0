"""Settles which target each act goes to: the one it names, or the only one of a kind that its executor serves."""

from __future__ import annotations

from collections.abc import Mapping

from ...model import Playbook
from ..suggestions import suggest
from .checking import Checking, Placed

KINDS = frozenset({"postgres", "redis", "http", "local", "ssh", "service"})


def kind_of(playbook: Playbook, name: str) -> str | None:
    """The kind of a target, of a derived one that of its origin. None where that is not known."""
    seen: set[str] = set()
    while name in playbook.targets and name not in seen:
        seen.add(name)
        use = playbook.targets[name]
        if use.kind is not None:
            return use.kind
        name = use.derived_from or ""
    return None


def check_targets(checking: Checking) -> None:
    _check_declared(checking)
    kinds = {name: kind_of(checking.playbook, name) for name in checking.playbook.targets}
    for placed in checking.acts():
        _check_act(checking, placed, kinds)


def _check_declared(checking: Checking) -> None:
    playbook = checking.playbook
    known = KINDS.union(*(executor.KINDS for executor in checking.executors.values()))
    for name, use in playbook.targets.items():
        if use.kind is not None and use.kind not in known:
            message = f"target {name!r} is of unknown kind {use.kind!r}{suggest(use.kind, known)}"
            checking.complain(("targets", name, "kind"), "RB406", message)
        elif use.derived_from is not None and use.derived_from not in playbook.targets:
            if checking.may_be_lost(use.derived_from):
                continue
            message = f"target {name!r} is derived from {use.derived_from!r}, which is no target"
            message += suggest(use.derived_from, playbook.targets.keys() - {name})
            checking.complain(("targets", name, "from"), "RB406", message)
        elif kind_of(playbook, name) is None and use.kind is None and not _targets_lost(checking):
            checking.complain(("targets", name, "from"), "RB406", f"target {name!r} is derived from itself")


def _check_act(checking: Checking, placed: Placed, kinds: Mapping[str, str | None]) -> None:
    executor = checking.executor_of(placed.act)
    if executor is None:
        return
    named = placed.act.target
    fitting = [name for name, kind in kinds.items() if kind in executor.KINDS]
    if named is not None:
        _check_named(checking, placed, named, fitting, executor.KINDS)
    elif len(fitting) == 1:
        checking.fills.append((placed.loc, "target", fitting[0]))
    elif len(fitting) > 1:
        message = f"{placed.what} must say which target: {', '.join(sorted(fitting))}. write `target:`"
        checking.complain((*placed.loc, "request"), "RB407", message, key=True)
    elif "local" not in executor.KINDS and not _targets_lost(checking):  # this machine needs no introduction
        kind = sorted(executor.KINDS)[0]
        message = f"{placed.what} has no target of kind {kind}. write targets: {{{kind}: {kind}}}"
        checking.complain((*placed.loc, "request"), "RB406", message, key=True)


def _targets_lost(checking: Checking) -> bool:
    names = [("targets", name) for name in checking.playbook.targets]
    return checking.may_be_lost("targets") or any(checking.maimed(loc) for loc in [("targets",), *names])


def _check_named(checking: Checking, placed: Placed, named: str, fitting: list[str], kinds: frozenset[str]) -> None:
    playbook = checking.playbook
    if named not in playbook.targets:
        if (named == "local" and "local" in kinds) or checking.may_be_lost(named):
            return
        message = f"{placed.what} names the unknown target {named!r}{suggest(named, fitting or playbook.targets)}"
        checking.complain((*placed.loc, "target"), "RB406", message)
    elif named not in fitting and kind_of(playbook, named) is not None:
        message = (
            f"{placed.what}: target {named!r} is of kind {kind_of(playbook, named)}, "
            f"and {placed.act.executor} serves {', '.join(sorted(kinds))}"
        )
        checking.complain((*placed.loc, "target"), "RB406", message)

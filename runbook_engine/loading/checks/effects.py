"""Holds each act to the effect it declares: reading sections only read, and nothing claims to be milder than it is."""

from __future__ import annotations

from collections.abc import Mapping

from ...executor import Effect, least_declarable
from ...expressions import ExpressionError, compile_expression
from ...model import Action, Probe, Undo
from ..positions import Loc
from .checking import Checking, Placed, fact_names
from .names import SAMPLING


def check_effects(checking: Checking) -> None:
    for placed in checking.acts():
        executor, params = checking.executor_of(placed.act), checking.params.get(placed.loc)
        if executor is None or params is None:
            continue
        least, why = executor.least_effect(params)
        only_declared = bool(getattr(executor, "DECLARED", False))
        if placed.role in ("probe", "snapshot", "progress"):
            _check_reading(checking, placed, least, why, only_declared)
        else:
            _check_changing(checking, placed, *least_declarable(executor, params))
            if placed.role == "undo" and not only_declared and least is Effect.read:
                message = f"{placed.what} only reads: it takes nothing back. write what does, or effect: disruptive"
                checking.complain((*placed.loc, "request"), "RB405", message, key=True)
    sampled = _sampled_facts(checking)
    for action, loc in checking.placed_actions():
        _check_undo(checking, action, loc)
        _check_guard(checking, action, loc, sampled)


def _check_reading(checking: Checking, placed: Placed, least: Effect, why: str, only_declared: bool) -> None:
    loc: Loc = (*placed.loc, "request")
    if least > Effect.touch:
        where = "symptoms and diagnosis" if placed.role == "probe" else f"a {placed.role}"
        message = f"{placed.what} writes: {why}. {where} may only read. move it to resolution"
        checking.complain(loc, "RB401", message, key=True)
    elif not isinstance(placed.act, Probe):
        return
    elif checking.maimed(placed.loc):
        return  # its effect may be what is misspelt
    elif only_declared and not checking.written((*placed.loc, "effect")):
        message = (
            f"{placed.what} runs a {placed.act.executor} command: the engine cannot see what it does. "
            "write effect: read if it changes nothing"
        )
        checking.complain(loc, "RB408", message, key=True)
    elif least > Effect[placed.act.effect]:
        message = f"{placed.what} does more than {placed.act.effect!r}: {why}. write effect: {least.name}"
        checking.complain(loc, "RB402", message, key=True)


def _check_changing(checking: Checking, placed: Placed, least: Effect, why: str) -> None:
    declared = placed.act.effect if isinstance(placed.act, Action | Undo) else getattr(placed.owner, "effect", "read")
    if least <= Effect[declared] or checking.maimed(placed.loc):
        return
    message = f"{placed.what} understates its effect: declared {declared!r}, but: {why}. write effect: {least.name}"
    own: Loc = (*placed.loc, "effect")
    checking.complain(own if checking.written(own) else (*placed.loc, "request"), "RB402", message)


def _check_undo(checking: Checking, action: Action, loc: Loc) -> None:
    if action.effect != "reversible" or action.manual is not None or checking.maimed(loc):
        return
    ways = [part.undo for part in action.steps] if action.steps else [action.undo]
    if None in ways and action.undo is None:
        message = (
            f"action {action.id!r} is declared 'reversible', which promises an exact undo. "
            "write `undo:`, or effect: disruptive"
        )
        checking.complain((*loc, "effect"), "RB405", message)


def _check_guard(checking: Checking, action: Action, loc: Loc, sampled: Mapping[str, str]) -> None:
    """A guard is asked once, right before the act: there is no time for a rate."""
    for place, guard in (((*loc, "guard"), action.guard), ((*loc, "undo", "guard"), action.undo and action.undo.guard)):
        try:
            names = compile_expression(guard).names if guard else frozenset[str]()
        except ExpressionError:
            continue
        for name in sorted(names & sampled.keys()):
            message = (
                f"the guard of action {action.id!r} uses {name!r}, which {sampled[name]}() takes several answers for. "
                "a guard asks once: use a fact of a single answer"
            )
            checking.complain(place, "RB404", message)


def _sampled_facts(checking: Checking) -> dict[str, str]:
    """Facts built with rate and its kin, also through other facts, each with the function."""
    reads: dict[str, frozenset[str]] = {}
    found: dict[str, str] = {}
    for probe in checking.playbook.probes():
        for name in fact_names(probe):
            try:
                compiled = compile_expression(probe.facts[name]) if name in probe.facts else None
            except ExpressionError:
                compiled = None
            if compiled is not None:
                reads[name] = compiled.names
                if compiled.functions & SAMPLING:
                    found[name] = min(compiled.functions & SAMPLING)
    readers: dict[str, list[str]] = {}
    for name, names in reads.items():
        for read in names:
            readers.setdefault(read, []).append(name)
    followed = sorted(found)
    for name in followed:  # grows while it is gone through
        for reader in readers.get(name, ()):
            if reader not in found:
                found[reader] = found[name]
                followed.append(reader)
    return found

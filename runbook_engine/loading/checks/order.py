"""Finds which step waits for which, from the facts their requests and facts mention, and refuses cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...expressions import ExpressionError, compile_expression, template_names
from ...model import Playbook, Probe
from .checking import Checking, fact_names

MOST_SHOWN = 12  # names of a way around


def step_needs(playbook: Playbook) -> dict[str, frozenset[str]]:
    """Each probe with the probes it waits for. Titles and `present` are read afterwards and make nobody wait."""
    owners = {name: probe.id for probe in playbook.probes() for name in fact_names(probe)}
    return {
        probe.id: frozenset(owners[name] for name in _mentioned(playbook, probe) if name in owners) - {probe.id}
        for probe in playbook.probes()
    }


def check_order(checking: Checking) -> None:
    needs = step_needs(checking.playbook)
    places = {probe.id: loc for probe, loc in checking.placed_probes()}
    for cycle in find_cycles(needs):
        message = f"these steps wait for each other and none could begin: {shown_cycle(cycle)}"
        checking.complain((*places[cycle[0]], "id"), "RB207", message)
    _check_symptoms(checking)


def find_cycles(needs: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, ...]]:
    """One way around for each knot, beginning and ending with the same name. The work is one look at each need."""
    done: set[str] = set()
    for start in needs:
        if start not in done:
            yield from _cycles_from(start, needs, done)


def _cycles_from(start: str, needs: Mapping[str, frozenset[str]], done: set[str]) -> Iterator[tuple[str, ...]]:
    path, places = [start], {start: 0}
    waiting = [iter(sorted(needs[start]))]
    knots, told = [0], [False]  # where on the path each knot begins, as far as we know, and whether it was told of
    while waiting:
        follower = next(waiting[-1], None)
        if follower is None:
            waiting.pop()
            done.add(path[-1])
            del places[path.pop()]
            if knots[-1] == len(path):
                knots.pop()
                told.pop()
        elif follower in places:
            known = told[-1]
            while knots[-1] > places[follower]:  # all between here and there is one knot
                knots.pop()
                known = told.pop() or told[-1] or known
            told[-1] = True
            if not known:
                yield (*path[places[follower] :], follower)
        elif follower not in done and follower in needs:
            knots.append(len(path))
            told.append(False)
            places[follower] = len(path)
            path.append(follower)
            waiting.append(iter(sorted(needs[follower])))


def shown_cycle(cycle: tuple[str, ...]) -> str:
    """`one → two → one`; of a long way its ends."""
    shown = cycle if len(cycle) <= MOST_SHOWN else (*cycle[: MOST_SHOWN - 3], "…", *cycle[-2:])
    return " → ".join(shown)


def _check_symptoms(checking: Checking) -> None:
    """A symptom is judged before the diagnosis is in."""
    early = {name for probe in checking.playbook.symptoms for name in fact_names(probe)}
    later = {name: probe.id for probe in checking.playbook.diagnosis for name in fact_names(probe) if name not in early}
    for index, symptom in enumerate(checking.playbook.symptoms):
        for name in sorted(_names(symptom.present) & later.keys()):
            message = (
                f"'present' of step {symptom.id!r} needs {name!r} of diagnosis step {later[name]!r}, "
                "but symptoms are judged first. move that step to symptoms"
            )
            checking.complain(("symptoms", index, "present"), "RB209", message)


def _mentioned(playbook: Playbook, probe: Probe) -> frozenset[str]:
    names = _names(probe.when).union(*(_names(text) for text in probe.facts.values()))
    derived = playbook.targets.get(probe.target or "")
    settings = [derived.host, derived.port, derived.database] if derived is not None else []
    code = (probe.executor == "sql" and not isinstance(probe.request, dict)) or (
        probe.executor == "shell" and isinstance(probe.request, str)
    )
    data = [probe.bindings, probe.idents, settings, None if code else probe.request]
    try:
        return names | template_names(data)
    except ExpressionError:
        return names  # the complaint about it is made where names are checked


def _names(text: str | None) -> frozenset[str]:
    try:
        return compile_expression(text).names if text is not None else frozenset()
    except ExpressionError:
        return frozenset()

"""Finds which step waits for which, from the facts their requests and facts mention, and refuses cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...expressions import ExpressionError, compile_expression, template_names
from ...model import Playbook, Probe
from .checking import Checking, fact_names


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
        message = f"these steps wait for each other and none could begin: {' → '.join(cycle)}"
        checking.complain((*places[cycle[0]], "id"), "RB207", message)
    _check_symptoms(checking)


def find_cycles(needs: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, ...]]:
    """One way around for each knot, beginning and ending with the same name."""
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        waiting: list[tuple[str, Iterator[str]]] = []
        if start not in done:
            path, waiting = [start], [(start, iter(sorted(needs[start])))]
        while waiting:
            name, rest = waiting[-1]
            follower = next(rest, None)
            if follower is None:
                done.add(name)
                waiting.pop()
                path.pop()
            elif follower in path:
                yield (*path[path.index(follower) :], follower)
            elif follower not in done and follower in needs:
                path.append(follower)
                waiting.append((follower, iter(sorted(needs[follower]))))


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

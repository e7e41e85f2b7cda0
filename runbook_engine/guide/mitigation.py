"""The acts of a playbook: what each does, behind which gate, how it is proved, and how it is taken back."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Action, Playbook, SubAct, Undo, Verify
from ..units import format_duration
from .parts import Bullets, Heading, Line, Paragraph, Part, code, plain, strong
from .requests import bound, request_code
from .words import Defaults, condition, prose, stressed

_GATES = {
    "read": "it changes nothing",
    "touch": "it leaves a trace that expires by itself",
    "reversible": "it can be taken back exactly; the gate wants y",
    "disruptive": "it drops what is in flight, which heals by itself; the gate wants y after its impact",
    "destructive": "it loses something; the gate wants a word typed, and in production a second person",
}


def mitigation(playbook: Playbook, defaults: Defaults) -> Iterator[Part]:
    if not playbook.resolution:
        return
    yield Heading(2, "Mitigation")
    yield Paragraph((plain("The engine offers the first step of a cause whose guard holds, and asks before it acts."),))
    for action in playbook.resolution:
        yield from _action(action, defaults)


def _action(action: Action, defaults: Defaults) -> Iterator[Part]:
    yield Heading(3, f"Step: {action.id}")
    if action.title:
        yield Paragraph(stressed(action.title))
    for text in action.about.strip().split("\n\n") if action.about.strip() else ():
        yield Paragraph(prose(" ".join(text.split())))
    yield Bullets(tuple(_around(action, defaults)))
    if action.manual is not None:
        yield Paragraph((strong("By hand: "), *prose(" ".join(action.manual.split()))))
    elif action.steps:
        yield from (part for step in action.steps for part in _step(step, defaults))
    else:
        yield request_code(action)
        yield from (Paragraph(line) for line in bound(action))
    if action.undo is not None:
        yield from _undo(action.undo, defaults)


def _around(action: Action, defaults: Defaults) -> Iterator[Line]:
    yield (strong(action.effect), plain(f": {_GATES[action.effect]}"))
    if action.target is not None:
        yield (plain("On "), code(action.target))
    if action.guard is not None:
        yield (plain("Only when "), *condition(action.guard, defaults), plain(", asked again right before"))
    if action.impact is not None:
        yield (plain("Impact: "), code(action.impact.count), plain(" "), *prose(action.impact.of))
    limit = action.limit
    if limit.impact is not None:
        yield (plain("Refused beyond "), code(limit.impact))
    if limit.affected is not None:
        yield (plain("May touch at most "), code(limit.affected))
    if action.each is not None:
        yield (plain("Once for each of "), code(action.each))
    if action.stopgap:
        yield (plain("A stop-gap: it contains the damage, and the cause stays"),)
    if action.verify is not None:
        yield _verified(action.verify, defaults)
    if action.undo is None:
        yield (plain("There is no undo"),)


def _verified(verify: Verify, defaults: Defaults) -> Line:
    hold = f", and stays so for {format_duration(verify.hold)}" if verify.hold else ""
    within = f" within {format_duration(verify.within)}{hold}"
    return (plain("It has worked when "), *condition(verify.until, defaults), plain(within))


def _step(step: SubAct, defaults: Defaults) -> Iterator[Part]:
    yield Paragraph((plain("Then "), code(step.id), *((plain(": "), *prose(step.title)) if step.title else ())))
    yield request_code(step)
    if step.undo is not None:
        yield from _undo(step.undo, defaults)


def _undo(undo: Undo, defaults: Defaults) -> Iterator[Part]:
    guard: Line = (plain(", when "), *condition(undo.guard, defaults)) if undo.guard is not None else ()
    yield Paragraph((strong("Undo"), plain(f" ({undo.effect})"), *guard, plain(":")))
    yield request_code(undo)
    if undo.verify is not None:
        yield Paragraph(_verified(undo.verify, defaults))

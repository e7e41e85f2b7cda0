"""Decides what a gate needs, what an environment forbids, and when the same fix has been tried too often. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from .executor import Effect
from .model import Authored, Duration, EffectName, Flag

Json = Any
Consent = Literal["confirm", "type"]


class Loop(Authored):
    """Refuse a fix that was applied `times` times within `window` without a verification that held."""

    times: int = Field(default=3, ge=1)
    window: Duration = 3600.0


class Policy(Authored):
    """What an environment asks of everybody. It can only tighten what the language demands."""

    production: Flag = Field(
        default=False,
        description="Destructive actions need a second person; advance approvals reach no further than reversible",
    )
    most: EffectName = Field(default="destructive", description="Effects beyond this one are forbidden here")
    forbid: tuple[str, ...] = Field(
        default=(), description="Actions (`start-workers` or `queue-backlog/start-workers`)"
    )
    type_from: EffectName = Field(default="destructive", description="From this effect on, a word must be typed")
    loop: Loop = Loop()


def consent_for(effect: Effect, policy: Policy) -> Consent:
    """How a person says yes to an action of this effect."""
    return "type" if effect >= min(Effect.destructive, Effect[policy.type_from]) else "confirm"


def needs_second_person(effect: Effect, policy: Policy) -> bool:
    return policy.production and effect >= Effect.destructive


def covered_in_advance(effect: Effect, approved: bool, yes: bool, policy: Policy) -> bool:
    """Whether `--approve STEP` or `--yes` on the command line is enough consent for this effect."""
    if effect >= Effect.destructive or consent_for(effect, policy) == "type":
        return False
    approvable = Effect.reversible if policy.production else Effect.disruptive
    return (approved and effect <= approvable) or (yes and effect <= Effect.reversible)


def forbidden(playbook: str, action: str, effect: Effect, policy: Policy) -> str:
    """Why this environment does not allow the action at all; empty when it does."""
    if effect > Effect[policy.most]:
        return f"{effect.name} actions are forbidden in this environment (policy.most is {policy.most})"
    if action in policy.forbid or f"{playbook}/{action}" in policy.forbid:
        return f"{action} is forbidden in this environment (policy.forbid)"
    return ""


def looping(history: Sequence[Mapping[str, Json]], playbook: str, action: str, target: str, policy: Policy) -> str:
    """Why the fix may not be applied yet again; empty when it may.

    `history` holds the actions of earlier runs in this environment, newest first: playbook, action, target, age
    (seconds), status, held. A verification that held forgets everything before it.
    """
    tries = []
    for past in history:
        if (past["playbook"], past["action"], past["target"]) != (playbook, action, target):
            continue
        if past["age"] > policy.loop.window or past["held"]:
            break
        if past["status"] in ("done", "failed", "unknown", "undone"):
            tries.append(past)
    if len(tries) < policy.loop.times:
        return ""
    when = ", ".join(f"{past['age'] / 60:.0f} min ago in {past['run']}" for past in tries)
    return f"{action} was applied {len(tries)} times without lasting ({when}); it does not mend the cause"


def outgrown(shown: float, now: float, grow: str) -> bool:
    """Whether the impact has grown beyond what was confirmed: by more than `grow` (`20%`) and by more than 5."""
    return now - shown > max(5.0, shown * float(grow.rstrip("%")) / 100)

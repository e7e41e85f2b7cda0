"""What an executor promises. An executor is a module; a session is one open connection for one run.

Built-ins are found by file name under `executors/`, third parties through the entry-point group
`runbook_engine.executors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, Protocol

from pydantic import BaseModel

Json = Any  # None | bool | int | float | str | list[Json] | dict[str, Json]


class Effect(IntEnum):
    """How much harm a step can do, least to most (design section 3)."""

    read = 0
    touch = 1
    reversible = 2
    disruptive = 3
    destructive = 4


@dataclass(frozen=True, slots=True)
class Target:
    """One place a step can act on. `settings` are the environment's own words for it, secrets already resolved."""

    name: str
    kind: str  # postgres | redis | http | local | ssh | service
    settings: Mapping[str, Json]
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who really answers. `name` is shown to people, `facts` is compared between the gate and the act."""

    name: str
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it will be sent: templates rendered, values bound.

    `request` is what stood under the executor's key. `bindings` (from `with:`) are data: SQL parameters, shell
    variables. `deadline` is seconds from now, always positive. `affected` is the most rows or keys it may touch; a
    session with transactions rolls back beyond it, one without refuses beforehand where it can tell.
    """

    id: str
    request: Json
    bindings: Mapping[str, Json] = field(default_factory=dict)
    idents: Mapping[str, str] = field(default_factory=dict)
    autocommit: bool = False
    effect: Effect = Effect.read
    deadline: float = 10.0
    affected: int | None = None


class Session(Protocol):
    """Keyed by target, read or write, and credential. Used by one thread at a time, except `cancel`."""

    def identity(self) -> Identity:
        """Who answers on the other side, asked of the server itself and not of our own settings."""

    def call(self, call: Call) -> Json:
        """Perform it within `call.deadline` seconds and return plain JSON with the executor's documented names.

        A write's answer holds `affected` (rows or keys really touched) where that is known.
        Raises TargetError when the target or its connection failed, Refused when the engine would not do it.
        Never retries anything. Output is capped and says so.
        """

    def cancel(self) -> None:
        """End the call in flight, from another thread, by the protocol's own cancel. Returns within one second."""

    def close(self) -> None:
        """Let go of the connection. Never raises."""


class Executor(Protocol):
    """Satisfied by a module."""

    @property
    def KINDS(self) -> frozenset[str]:  # noqa: N802
        """Target kinds it serves, e.g. {"postgres"}. A module constant, like the two below."""

    @property
    def ANSWERS(self) -> Mapping[str, str]:  # noqa: N802
        """Each name its answer puts in scope of `facts:`, with one line of help."""

    @property
    def Params(self) -> type[BaseModel]:  # noqa: N802
        """What may stand under its key; values may still be `${{ }}` templates."""

    def least_effect(self, params: Any) -> tuple[Effect, str]:
        """The least effect these parameters can have, and why in a few words (`UPDATE writes rows`).

        Called before rendering. In symptoms and diagnosis anything above `touch` is a load error; elsewhere it
        raises the step's declared effect.
        """

    def bound_names(self, params: Any) -> frozenset[str]:
        """Names that the code takes as data, `%(name)s` in SQL for instance: each comes from `with:` or from scope."""

    def show(self, call: Call) -> str:
        """The exact request as a gate shows it: one or more lines, values visible, nothing hidden."""

    def connect(self, target: Target, mode: Literal["read", "write"]) -> Session:
        """Open a session. Raises TargetError(happened='no'). The only place a driver package is imported.

        A `read` session cannot change anything, whatever it is asked, as far as the target can enforce that.
        """


def least_declarable(executor: Executor, params: Any) -> tuple[Effect, str]:
    """The least effect an author may declare for an act of resolution, and why.

    Of a command one can see that it changes something, not whether that comes back: `mv` with an undo that moves it
    back is its author's word (`DECLARED`), and the gate says so.
    """
    least, why = executor.least_effect(params)
    return (min(least, Effect.reversible), why) if getattr(executor, "DECLARED", False) else (least, why)

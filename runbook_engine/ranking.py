"""Ranks causes by evidence, deterministically. Pure.

The rules are those of the language reference: `needs` false refutes, unknown caps at 3; `for` adds, `against`
subtracts; confirmed is at least 6 and at least 2 ahead of every cause that neither explains it nor is explained by it;
only a confirmed cause explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from .expressions import Unknown, compile_expression, compile_template
from .model import Cause, Evidence

Json = Any
Scope = Mapping[str, Json]
Verdict = Literal["confirmed", "suspected", "possible", "refuted", "explained"]

WEIGHTS = {"decisive": 6, "strong": 4, "moderate": 2, "weak": 1}
CONFIRMED_AT = 6


def highest_score(cause: Cause) -> int:
    """What a cause scores when all that speaks for it holds: below `CONFIRMED_AT` it can only ever be suspected."""
    return WEIGHTS[cause.weight] + sum(WEIGHTS[evidence.weight] for evidence in cause.supports)


AHEAD_BY = 2
CAP_WHEN_UNKNOWN = 3
ORDER: dict[Verdict, int] = {"confirmed": 0, "suspected": 1, "explained": 2, "possible": 3, "refuted": 4}


@dataclass(frozen=True, slots=True)
class RankedCause:
    """One cause with its verdict; `supports` and `against` are sentences with numbers."""

    id: str
    verdict: Verdict
    score: int
    title: str
    supports: tuple[str, ...]
    against: tuple[str, ...]
    explained_by: str | None
    fix: tuple[str, ...]
    benign: bool = False
    see: Mapping[str, Json] | None = None
    advice: str = ""

    def as_json(self) -> dict[str, Json]:
        """The shape of `causes[]` in the JSON contract."""
        return {
            "id": self.id,
            "verdict": self.verdict,
            "score": self.score,
            "title": self.title,
            "for": list(self.supports),
            "against": list(self.against),
            "explained_by": self.explained_by,
            "fix": list(self.fix),
            "benign": self.benign,
            "see": dict(self.see) if self.see else None,
            "advice": self.advice,
        }


def rank(causes: tuple[Cause, ...], scope: Scope) -> tuple[RankedCause, ...]:
    """Every cause, best first; ties keep the order in which they were written."""
    scored = [_score(cause, scope) for cause in causes]
    explains = _closure(causes)
    judged = _explain([_judge(cause, scored, explains) for cause in scored], explains)
    order = {cause.id: place for place, cause in enumerate(causes)}
    ranked = sorted(judged, key=lambda cause: (ORDER[cause.verdict], -cause.score, order[cause.id]))
    return _suspect_best(ranked)


def points(cause: Cause, scope: Scope) -> int | None:
    """The score of a cause, None where it is refuted."""
    holds = _holds(cause, scope)
    if holds is False:
        return None
    speaking = [(each, 1) for each in cause.supports] + [(each, -1) for each in cause.against]
    score = sum(sign * WEIGHTS[each.weight] for each, sign in speaking if _speaks(each, scope))
    return score + WEIGHTS[cause.weight] if holds else min(score, CAP_WHEN_UNKNOWN)


def _holds(cause: Cause, scope: Scope) -> bool | None:
    value = compile_expression(cause.needs).evaluate(scope)
    return None if value is None or isinstance(value, Unknown) else bool(value)


def _score(cause: Cause, scope: Scope) -> RankedCause:
    score = points(cause, scope)
    because = compile_expression(cause.needs).explain(scope)
    supports = [_text(evidence.says, scope) for evidence in cause.supports if _speaks(evidence, scope)]
    against = [_text(evidence.says, scope) for evidence in cause.against if _speaks(evidence, scope)]
    told = because if _holds(cause, scope) else f"not established: {because}"
    return RankedCause(
        id=cause.id,
        verdict="refuted" if score is None else "possible",
        score=score or 0,
        title=_text(cause.title or cause.id, scope),
        supports=tuple(supports) if score is None else (told, *supports),
        against=(because, *against) if score is None else tuple(against),
        explained_by=None,
        fix=cause.fix,
        benign=cause.benign,
        see={"playbook": cause.see.playbook, "inputs": _see_inputs(cause, scope)} if cause.see else None,
        advice=_text(cause.advice, scope) if cause.advice else "",
    )


def _speaks(evidence: Evidence, scope: Scope) -> bool:
    holds = compile_expression(evidence.when).evaluate(scope)
    return not isinstance(holds, Unknown) and bool(holds)


def _see_inputs(cause: Cause, scope: Scope) -> dict[str, Json]:
    assert cause.see is not None
    values = {name: _value(value, scope) for name, value in cause.see.inputs.items()}
    return {name: value for name, value in values.items() if value is not None}


def _value(value: Json, scope: Scope) -> Json:
    rendered = compile_template(value).render(scope) if isinstance(value, str) else value
    return None if isinstance(rendered, Unknown) else rendered


def _text(text: str, scope: Scope) -> str:
    return compile_template(text).explain(scope, unknown="?")


def _closure(causes: tuple[Cause, ...]) -> dict[str, frozenset[str]]:
    """What each cause explains, also through others; the loader has proved that there is no cycle."""
    direct = {cause.id: cause.explains for cause in causes}
    reached: dict[str, frozenset[str]] = {}

    def reach(cause: str) -> frozenset[str]:
        if cause not in reached:
            below = direct.get(cause, ())
            reached[cause] = frozenset(below).union(*(reach(child) for child in below))
        return reached[cause]

    return {cause.id: reach(cause.id) for cause in causes}


def _judge(cause: RankedCause, all_causes: list[RankedCause], explains: Mapping[str, frozenset[str]]) -> RankedCause:
    """Confirmed or not; the rest stays possible or refuted."""
    if cause.verdict == "refuted" or cause.score < CONFIRMED_AT:
        return cause
    rivals = [
        other
        for other in all_causes
        if other.id != cause.id
        and other.verdict != "refuted"
        and other.id not in explains[cause.id]
        and cause.id not in explains[other.id]
    ]
    return replace(cause, verdict="confirmed") if all(cause.score >= r.score + AHEAD_BY for r in rivals) else cause


def _explain(causes: list[RankedCause], explains: Mapping[str, frozenset[str]]) -> list[RankedCause]:
    """Name the cause at the root: one that is explained itself explains nothing to a person."""
    strong = [cause for cause in causes if cause.verdict == "confirmed"]
    confirmed = [cause for cause in strong if not any(cause.id in explains[other.id] for other in strong)]

    def by(cause: RankedCause) -> str | None:
        above = [other.id for other in confirmed if cause.id in explains[other.id]]
        return above[0] if above and cause.verdict != "refuted" and cause.score > 0 else None

    return [replace(cause, verdict="explained", explained_by=by(cause)) if by(cause) else cause for cause in causes]


def _suspect_best(ranked: list[RankedCause]) -> tuple[RankedCause, ...]:
    """Without a confirmed cause the best possible one is suspected; those tied with it are too."""
    if not ranked or any(cause.verdict == "confirmed" for cause in ranked):
        return tuple(ranked)
    best = max((cause.score for cause in ranked if cause.verdict == "possible"), default=0)
    return tuple(
        replace(cause, verdict="suspected")
        if cause.verdict == "possible" and best > 0 and cause.score == best
        else cause
        for cause in ranked
    )

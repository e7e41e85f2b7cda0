"""What a state must be like for something to happen: a cause on top, an action offered, a fix that worked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..expressions import Unknown, compile_expression, template_names, templates
from ..expressions.distance import distance
from ..model import Act, Action, Cause, Playbook, Undo
from ..ranking import AHEAD_BY, CONFIRMED_AT, highest_score, points, rank
from ..state import names_of
from .solving import MOST_LOOKS, solve
from .space import Assignment, Space

Json = Any
Scope = Mapping[str, Json]
FAR, NEARER = 10.0, 4.0  # of a cause whose `needs` do not hold; of one that has rivals


@dataclass(slots=True)
class Goal:
    """Conditions that must hold, conditions that must not, and a cause that must be on top."""

    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    any_true: tuple[str, ...] = ()  # at least one of them
    sent: tuple[Act, ...] = ()  # requests that must be complete
    cause: Cause | None = None
    action: Action | None = None  # whose requests they are


@dataclass
class Search:
    """One playbook's space with the way to look for states in it."""

    space: Space

    @property
    def playbook(self) -> Playbook:
        return self.space.playbook

    @cached_property
    def explains(self) -> Mapping[str, frozenset[str]]:
        """What each cause explains, also through others."""
        direct = {cause.id: cause.explains for cause in self.playbook.causes}

        def reach(cause: str) -> frozenset[str]:
            return frozenset(direct.get(cause, ())).union(*(reach(child) for child in direct.get(cause, ())))

        return {cause: reach(cause) for cause in direct}

    @cached_property
    def nothing_fits(self) -> Assignment:
        """A symptom is there and no cause of it, as far as that can be: from here each cause is near."""
        causes = tuple(cause.needs for cause in self.playbook.causes)
        return self._nearest(Goal(any_true=present(self.playbook), false=causes), {}, {}, most=2000)[0]

    def state(
        self, goal: Goal, start: Assignment | None = None, fixed: Mapping[str, Json] | None = None
    ) -> Assignment | None:
        """A state in which the goal holds, found from `start`; what is `fixed` stays as it is. None: none is found."""
        return self._found(goal, self.nothing_fits if start is None else start, fixed or {}, failing=False)

    def state_in_doubt(self, goal: Goal) -> Assignment | None:
        """Such a state where steps may have failed: what they would have said is unknown."""
        return self._found(goal, self.nothing_fits, {}, failing=True)

    def why_not_on_top(self, cause: Cause) -> str:
        """What stands against it in the nearest state that is found."""
        goal = Goal(any_true=present(self.playbook), cause=cause)
        nearest, _ = self._nearest(goal, self.nothing_fits, {})
        scope = self.space.scope(nearest)
        if self._far(cause.needs, scope, True):
            return "its `needs` hold in none that was found"
        ranked = rank(self.playbook.causes, scope)
        told = {each.id: f"{each.id} is {each.verdict} with {each.score}" for each in ranked}
        mine = next(each for each in ranked if each.id == cause.id)
        above = [told[each.id] for each in ranked if each is not mine and each.score >= mine.score]
        return f"in the nearest {', '.join([told[cause.id], *above[:3]])}"

    def why_not_offered(self, action: Action) -> str:
        """What stands against it in the nearest state that is found for a cause that offers it."""
        causes = [cause for cause in self.playbook.causes if action.id in cause.fix]
        if not causes:
            return "no cause offers it"
        goals = [offered(action, cause, self.playbook) for cause in causes]
        found = [(goal, *self._nearest(goal, self.nothing_fits, {})) for goal in goals]
        goal, nearest, _ = min(found, key=lambda each: each[2])
        scope = self.space.scope(nearest)
        unmet = [f"`{text}` does not hold" for text in goal.true if self._far(text, scope, True)]
        unmet += [f"`{text}` holds" for text in goal.false if self._far(text, scope, False)]
        unmet += ["a value in its request is not known"] * any(
            not self._complete(act, goal, scope) for act in goal.sent
        )
        if goal.cause is not None and not self._is_top(goal.cause, scope):
            unmet.append(f"cause {goal.cause.id} is not on top")
        if goal.any_true and all(self._far(text, scope, True) for text in goal.any_true):
            unmet.append("no symptom is there")
        return f"in the nearest {', '.join(unmet)}" if unmet else "another fix of its cause is taken before it"

    def _found(self, goal: Goal, start: Assignment, fixed: Scope, *, failing: bool) -> Assignment | None:
        found, cost = self._nearest(goal, start, fixed, failing=failing)
        return None if cost else found

    def _nearest(
        self, goal: Goal, start: Assignment, fixed: Scope, most: int = MOST_LOOKS, *, failing: bool = False
    ) -> tuple[Assignment, float]:
        names = self.space.closure(_names(goal, self.playbook))
        movable = [path for path in self.space.variables_of(names) if path[0] not in fixed]

        def cost(chosen: Assignment) -> float:
            return self._cost(goal, self.space.scope(chosen, names, fixed))

        def blame(chosen: Assignment) -> frozenset[str]:
            return self.space.closure(self._blamed(goal, self.space.scope(chosen, names, fixed))) | {"targets"}

        return solve(movable, self.space.values(failing=failing), cost, start, blame, most)

    def _cost(self, goal: Goal, scope: Scope) -> float:
        cost = sum(self._far(text, scope, True) for text in goal.true)
        cost += sum(self._far(text, scope, False) for text in goal.false)
        if goal.any_true:
            cost += min(self._far(text, scope, True) for text in goal.any_true)
        scope = {**scope, **_first_item(goal.action, scope)} if goal.action is not None else scope
        for act in goal.sent:
            cost += sum(isinstance(each.render(scope), Unknown) for each in templates(_written(act)))
            cost += not self.space.sendable(act, scope)
        if goal.cause is not None:
            cost += self._from_top(goal.cause, scope)
        return cost or (0.0 if goal.cause is None or self._is_top(goal.cause, scope) else 0.5)

    def _blamed(self, goal: Goal, scope: Scope) -> frozenset[str]:
        """The names in what does not hold yet."""
        unmet = [text for text in goal.true if self._far(text, scope, True)]
        unmet += [text for text in goal.false if self._far(text, scope, False)]
        if goal.any_true and all(self._far(text, scope, True) for text in goal.any_true):
            unmet += goal.any_true
        names = names_of(*unmet)
        names |= frozenset().union(
            *(template_names(_written(act)) for act in goal.sent if not self._complete(act, goal, scope))
        )
        return names | (self._blamed_for(goal.cause, scope) if goal.cause is not None else frozenset())

    def _complete(self, act: Act, goal: Goal, scope: Scope) -> bool:
        item = _first_item(goal.action, scope) if goal.action is not None else {}
        return self.space.sendable(act, {**scope, **item})

    def _blamed_for(self, cause: Cause, scope: Scope) -> frozenset[str]:
        if self._far(cause.needs, scope, True):
            return names_of(cause.needs)
        mine = points(cause, scope) or 0
        if mine < min(CONFIRMED_AT, highest_score(cause)):
            return frozenset().union(*_of_causes([cause]))
        others = [each for each in self.playbook.causes if each is not cause]
        return frozenset().union(
            *_of_causes([each for each in others if self._rivalry(cause, each, mine, scope)]),
            *(() if self._is_top(cause, scope) else _of_causes(self.playbook.causes)),
        )

    def _far(self, text: str, scope: Scope, wanted: bool) -> float:
        return distance(compile_expression(text), scope, wanted, self.space.definitions)

    def _from_top(self, cause: Cause, scope: Scope) -> float:
        """How far a cause is from the top: its own conditions first, then those of its rivals."""
        needs = self._far(cause.needs, scope, True)
        mine = points(cause, scope)
        if needs or mine is None:
            return FAR + 3 * needs
        reached = min(CONFIRMED_AT, highest_score(cause))
        if mine < reached:
            return NEARER + (reached - mine) / 6 + self._evidence(cause, scope)
        rivals = sum(self._rivalry(cause, other, mine, scope) for other in self.playbook.causes if other is not cause)
        return NEARER * rivals / (rivals + 3)  # however many rivals there are: nearer than a score too low

    def _evidence(self, cause: Cause, scope: Scope) -> float:
        speaking = sum(self._far(each.when, scope, True) for each in cause.supports)
        return 0.1 * (speaking + sum(self._far(each.when, scope, False) for each in cause.against))

    def _rivalry(self, cause: Cause, other: Cause, mine: int, scope: Scope) -> float:
        theirs = points(other, scope)
        above = cause.id in self.explains[other.id]
        if theirs is None:
            return 0.0
        if highest_score(cause) < CONFIRMED_AT:  # it can only be suspected: then the best score counts
            too_many = theirs + 1 - mine
        elif other.id in self.explains[cause.id]:
            return 0.0
        else:
            too_many = theirs - (CONFIRMED_AT - 1) if above else theirs + AHEAD_BY - mine
        return 1 + too_many / 6 + self._far(other.needs, scope, False) if too_many > 0 else 0.0

    def _is_top(self, cause: Cause, scope: Scope) -> bool:
        ranked = rank(self.playbook.causes, scope)
        alone = sum(each.verdict == "suspected" for each in ranked) == 1
        first = ranked[0]
        return first.id == cause.id and (first.verdict == "confirmed" or (first.verdict == "suspected" and alone))


def offered(action: Action, cause: Cause, playbook: Playbook) -> Goal:
    """The cause is on top, and this one of its fixes may be offered."""
    conditions = [action.guard, action.each, _within_limit(action), action.names]
    measured = [action.impact.count] if action.impact else []
    return Goal(
        true=tuple(each for each in conditions if each is not None),
        false=tuple(f"(({each}) + 0) is not known" for each in (*measured, action.limit.affected) if each is not None),
        any_true=present(playbook),
        sent=(action, *action.steps, *(undo for undo in undos(action) if not action.snapshot)),
        cause=cause,
        action=action,
    )


def undos(action: Action) -> tuple[Undo, ...]:
    return tuple(undo for undo in (action.undo, *(part.undo for part in action.steps)) if undo is not None)


def present(playbook: Playbook) -> tuple[str, ...]:
    return tuple(probe.present for probe in playbook.symptoms if probe.present is not None)


def not_healthy(playbook: Playbook) -> tuple[str, ...]:
    """A run looks for causes also where nobody can say whether a symptom is there."""
    return tuple(f"({each}) is not known or ({each})" for each in present(playbook))


def worked(action: Action, playbook: Playbook) -> Goal:
    """What the action promises has come true, and no symptom is left that is not going."""
    return Goal(true=(*promised(action).true, *gone(action, playbook).true))


def promised(action: Action) -> Goal:
    goes_on = (action.batch.proceed,) if action.batch and action.batch.proceed else ()
    return Goal(true=(*_until(action), *goes_on))


def gone(action: Action, playbook: Playbook) -> Goal:
    """No symptom is left that is not going; an action that only contains the damage leaves them."""
    each = (
        f"not ({probe.present}) or ({probe.recovering})" if probe.recovering else f"not ({probe.present})"
        for probe in playbook.symptoms
    )
    return Goal(true=() if action.stopgap else tuple(each))


def stayed(action: Action, playbook: Playbook) -> Goal:
    """What it promises has come true, and a symptom is there all the same."""
    going = tuple(probe.recovering for probe in playbook.symptoms if probe.recovering)
    return Goal(true=_until(action), any_true=present(playbook), false=going)


def failed(action: Action) -> Goal:
    """What it promises has not come true, and the way back is open where there is one."""
    guards = tuple(undo.guard for undo in undos(action) if undo.guard is not None)
    return Goal(false=_until(action), true=guards)


def undone(action: Action) -> Goal:
    """What its undos promise has come true."""
    return Goal(true=tuple(undo.verify.until for undo in undos(action) if undo.verify is not None))


def _until(action: Action) -> tuple[str, ...]:
    return (action.verify.until,) if action.verify is not None else ()


def _first_item(action: Action, scope: Scope) -> dict[str, Json]:
    """What `as` names in the first request of an action with `each`."""
    listed = compile_expression(action.each).evaluate(scope) if action.each is not None else None
    if not isinstance(listed, list) or not listed:
        return {}
    return {action.item: listed if action.batch is not None else listed[0]}


def _within_limit(action: Action) -> str | None:
    if action.impact is None or action.limit.impact is None:
        return None
    return f"({action.impact.count}) <= ({action.limit.impact})"


def _written(act: Act) -> list[Json]:
    return [act.request, act.bindings, act.idents]


def _names(goal: Goal, playbook: Playbook) -> frozenset[str]:
    names = names_of(*goal.true, *goal.false, *goal.any_true)
    names |= frozenset().union(*(template_names(_written(act)) for act in goal.sent))
    if goal.cause is not None:
        names |= frozenset().union(*_of_causes(playbook.causes))
    return names


def _of_causes(causes: Sequence[Cause]) -> Iterable[frozenset[str]]:
    for cause in causes:
        yield names_of(cause.needs, *(each.when for each in (*cause.supports, *cause.against)))

"""The proof of one playbook: its states, its paths, what was claimed of them, and what was reached. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .. import __version__
from ..events import ActionFinished, CallRequested, CausesRanked, RunStarted
from ..executor import Executor
from ..expressions import Unknown
from ..interpreter import interpret
from ..loader import LoadedPlaybook
from ..model import Action, Cause
from ..planning import raised_effect
from ..policy import Policy, forbidden
from ..state import State, fact_names, names_of
from .claims import CLAIMS, VERIFIED, Breach, Judge
from .goals import Goal, Search, failed, gone, not_healthy, offered, present, promised, stayed, undone, undos, worked
from .paths import Interpret, Path, paths
from .space import Assignment, space_of

Json = Any
Verdict = Literal["holds", "broken", "open"]
WALL = 1_800_000_000.0
MOST, UNUSUAL = 400, 2
FOUND = "every cause can be found"
CARRIED_OUT = "every action can be offered and carried out"
WORKS = "every action can be seen to work"
NOTICED = "an action that did not work is noticed"
FAILED = ("failed", "stayed", "relapsed")  # what may become of the world that a verification must notice
REACHED = (FOUND, CARRIED_OUT, WORKS, NOTICED)


@dataclass(frozen=True, slots=True)
class Failure:
    """A claim that does not hold, where in the playbook, and the path that shows it.

    `open`: nothing shows that it is broken, and nothing that it holds: a person should look.
    """

    claim: str
    what: str
    place: tuple[str, int, int]
    shown_by: Path | None = None
    open: bool = False


@dataclass(slots=True)
class Proof:
    """What was gone through, and what came of it."""

    playbook: str
    environment: str
    states: int = 0
    paths: int = 0
    changes: int = 0  # requests that change something, on all paths
    cut: list[str] = field(default_factory=list)  # what has more paths than were gone through
    found: set[str] = field(default_factory=set)  # causes on top
    done: set[str] = field(default_factory=set)  # actions carried out
    works: set[str] = field(default_factory=set)
    noticed: set[str] = field(default_factory=set)
    taken_back: set[str] = field(default_factory=set)
    forbidden: dict[str, str] = field(default_factory=dict)  # by action: why the environment never allows it
    failures: list[Failure] = field(default_factory=list)
    untried: set[str] = field(default_factory=set)  # claims about what no path did

    def verdict(self, claim: str) -> Verdict:
        of_it = [failure.open for failure in self.failures if failure.claim == claim]
        if not all(of_it):
            return "broken"
        return "open" if of_it or claim in self.untried else "holds"


def prove(
    loaded: LoadedPlaybook,
    executors: Mapping[str, Executor],
    policy: Policy | None = None,
    environment: str = "any",
    *,
    most: int = MOST,
    unusual: int = UNUSUAL,
    interpret: Interpret = interpret,
) -> Proof:
    """Every path with at most `unusual` decisions that go otherwise than usual, at most `most` for each fix."""
    work = Work(loaded, executors, policy or Policy(), Proof(loaded.playbook.name, environment), interpret)
    work.forbid()
    for cause in loaded.playbook.causes:
        work.cause(cause)
        for name in cause.fix:
            work.fix(cause, loaded.playbook.action(name), most, unusual)
    work.conclude()
    return work.proof


def _did_not_work(path: Path, action: str) -> bool:
    """Whether it failed by itself: not because nobody could look, or somebody pressed Ctrl-C."""
    left_alone = not any(each.point.startswith("Ctrl-C") and not each.usual for each in path.decisions)
    return left_alone and any(each.point == f"after {action}" and each.chosen in FAILED for each in path.decisions)


def _but(facts: Mapping[str, Json], names: Collection[str]) -> dict[str, Json]:
    return {name: value for name, value in facts.items() if name not in names}


@dataclass(slots=True)
class Work:
    """A proof that is being made."""

    loaded: LoadedPlaybook
    executors: Mapping[str, Executor]
    policy: Policy
    proof: Proof
    interpret: Interpret
    search: Search = field(init=False)
    states: dict[str, Assignment] = field(default_factory=dict)  # by cause
    seen: set[tuple[str, str, str]] = field(default_factory=set)  # breaches that were told
    unfailing: set[str] = field(default_factory=set)  # actions whose `until` was never seen to be false

    def __post_init__(self) -> None:
        self.search = Search(space_of(self.loaded.playbook, self._start({}), self.executors))

    def _start(self, scope: Mapping[str, Json]) -> RunStarted:
        playbook = self.loaded.playbook
        places = {name: dict(place) for name, place in scope.get("targets", {}).items()}
        return RunStarted(
            run="R-PROOF",
            playbook=playbook.name,
            digest=self.loaded.digest,
            text=self.loaded.text,
            path=self.loaded.path,
            libraries=dict(self.loaded.libraries),
            inputs={name: scope.get(name) for name in playbook.inputs},
            environment=self.proof.environment,
            targets={name: use.kind for name, use in playbook.targets.items() if use.kind},
            policy=self.policy.model_dump(),
            baselines={},
            history=(),
            pace=1.0,
            budget=600.0,
            mode="run",
            engine=__version__,
            wall=WALL,
            places=places,
        )

    def forbid(self) -> None:
        """What the environment's policy rules out is no gap of the playbook."""
        playbook = self.loaded.playbook
        state = State(self._start({}), playbook, self.loaded.needs, self.executors, self.policy)
        for action in playbook.resolution:
            why = forbidden(playbook.name, action.id, raised_effect(state, action)[0], self.policy)
            if why:
                self.proof.forbidden[action.id] = why

    def cause(self, cause: Cause) -> None:
        """The state in which it is on top, and that state with each fact unknown, each target away."""
        playbook = self.loaded.playbook
        state = self.search.state(Goal(any_true=present(playbook), cause=cause))
        if state is None:
            state = self.search.state_in_doubt(Goal(any_true=not_healthy(playbook), cause=cause))
        if state is None:
            return
        self.states[cause.id] = state
        self.proof.states += 1
        scope = self.search.space.scope(state)
        start, world = self._start(scope), self._facts(scope)
        for mode in ("run", "diagnose", "symptoms"):
            self._usual(replace(start, mode=mode), {"before": world})
        for name in sorted(self.search.space.closure(world.keys()) & world.keys()):
            if not isinstance(world[name], Unknown):
                self._usual(start, {"before": {**world, name: Unknown("nobody knows")}})
        for target in sorted({probe.target for probe in self.loaded.playbook.probes() if probe.target}):
            away = {name: Unknown(f"{target} is away") for name in self._of_target(target)}
            self._usual(start, {"before": {**world, **away}})

    def _of_target(self, target: str) -> Iterator[str]:
        return (name for name, probe in self.search.space.owner.items() if probe.target == target)

    def _usual(self, start: RunStarted, worlds: dict[str, dict[str, Json]]) -> None:
        """One path: every gate is answered with yes, everything goes as it usually does."""
        worlds["nobody knows"] = {name: Unknown("nobody knows") for name in self.search.space.owner}
        for path in paths(self.interpret, start, self.loaded, self.executors, worlds, {}, most=1, unusual=0):
            self._judge(path)

    def fix(self, cause: Cause, action: Action, most: int, unusual: int) -> None:
        """One fix of one cause: the state in which it is offered, and all that may become of it."""
        start_from = self.states.get(cause.id)
        state = self.search.state(offered(action, cause, self.loaded.playbook), start_from)
        if state is None:
            return
        self.proof.states += 1
        scope = self.search.space.scope(state)
        fixed = {name: scope[name] for name in (*self.loaded.playbook.inputs, "before", "targets") if name in scope}
        worlds = self._worlds(action, state, fixed)
        worlds["before"] = self._facts(scope)
        snapshots = fixed.get("before") or {}
        taken = 0
        for path in paths(
            self.interpret,
            self._start(scope),
            self.loaded,
            self.executors,
            worlds,
            snapshots if isinstance(snapshots, dict) else {},
            declined=frozenset(cause.fix[: cause.fix.index(action.id)]),
            most=most,
            unusual=unusual,
        ):
            taken += 1
            self._judge(path)
        if taken == most:
            self.proof.cut.append(f"{cause.id}/{action.id}")

    def _worlds(self, action: Action, state: Assignment, fixed: Mapping[str, Json]) -> dict[str, dict[str, Json]]:
        """What may become of the world, as the fix under proof sees it."""
        playbook = self.loaded.playbook
        goals = {
            "stayed": stayed(action, playbook),
            "failed": failed(action),
            "unfit": Goal(false=(action.guard,)) if action.guard else None,
            "undone": undone(action) if undos(action) else None,
        }
        worlds = {"nobody knows": {name: Unknown("nobody knows") for name in self.search.space.owner}}
        if (of_both := self._worked(action, state, fixed)) is not None:
            worlds[f"{action.id} worked"] = of_both
        for name, goal in goals.items():
            found = self.search.state(goal, state, fixed) if goal is not None else None
            if found is None and name == "failed" and action.verify is not None:  # the way back may be closed then
                found = self.search.state(Goal(false=(action.verify.until,)), state, fixed)
            if found is None and name == "failed" and action.verify is not None:
                self.unfailing.add(action.id)
            if found is not None:
                self.proof.states += 1
                worlds[f"{action.id} {name}"] = self._facts(self.search.space.scope(found, None, fixed))
        return worlds

    def _worked(self, action: Action, state: Assignment, fixed: Mapping[str, Json]) -> dict[str, Json] | None:
        """The facts once it has worked.

        A verification asks only the probes of its `until` again, everything else stays as it was; then the symptoms
        are asked. Where one state cannot be both, each look has a state of its own.
        """
        playbook, space = self.loaded.playbook, self.search.space
        found = self.search.state(worked(action, playbook), state, fixed)
        if found is not None:
            self.proof.states += 1
            return self._facts(space.scope(found, None, fixed))
        before = self._facts(space.scope(state, None, fixed))
        until = names_of(*promised(action).true)
        asked = {name for name, probe in space.owner.items() if until & set(fact_names(probe))}
        first = self.search.state(promised(action), state, {**fixed, **_but(before, asked)})
        if first is None:
            return None
        seen = self._facts(space.scope(first, None, {**fixed, **_but(before, asked)}))
        looked = {name: seen[name] for name in asked}
        second = self.search.state(gone(action, playbook), state, {**fixed, **looked})
        if second is None:
            return None
        self.proof.states += 2
        return self._facts(space.scope(second, None, {**fixed, **looked}))

    def _facts(self, scope: Mapping[str, Json]) -> dict[str, Json]:
        return {name: scope[name] for name in self.search.space.owner}

    def _judge(self, path: Path) -> None:
        self.proof.paths += 1
        judge = Judge(self.loaded.playbook, self.executors, self.policy)
        for breach in judge.breaches(path.events):
            self._tell(breach, path)
        self._visit(path)

    def _tell(self, breach: Breach, path: Path) -> None:
        """A breach once, by the first path that shows it: the nearest."""
        key = (breach.claim, breach.step, breach.what.split(" ")[-1] if not breach.step else "")
        if key not in self.seen:
            self.seen.add(key)
            self.proof.failures.append(Failure(breach.claim, breach.what, self._place(breach.step), path))

    def _visit(self, path: Path) -> None:
        for event in path.events:
            match event:
                case CausesRanked() if event.causes and event.causes[0]["verdict"] in ("confirmed", "suspected"):
                    self.proof.found.add(event.causes[0]["id"])
                case CallRequested(mode="write"):
                    self.proof.changes += 1
                case ActionFinished():
                    self._visit_action(event, path)

    def _visit_action(self, finished: ActionFinished, path: Path) -> None:
        if finished.status in ("done", "undone"):
            self.proof.done.add(finished.id)
            if finished.verified:
                self.proof.works.add(finished.id)
            elif _did_not_work(path, finished.id):
                self.proof.noticed.add(finished.id)
        if finished.status == "undone":
            self.proof.taken_back.add(finished.id)

    def conclude(self) -> None:
        """What no path reached."""
        if not self.proof.paths:
            self.proof.untried.update(CLAIMS)
        for cause in self.loaded.playbook.causes:
            if cause.id not in self.proof.found:
                why = self.search.why_not_on_top(cause)
                self._missed(FOUND, cause.id, f"no state was found in which it is on top; {why}")
        for action in self.loaded.playbook.resolution:
            if action.id not in self.proof.forbidden:
                self._conclude_of(action)

    def _conclude_of(self, action: Action) -> None:
        if action.verify is None:
            what = f"{action.id}: it has no `verify`: only the symptoms are asked again"
            self.proof.failures.append(Failure(VERIFIED, what, self._place(action.id)))
        if action.id not in self.proof.done:
            why = self.search.why_not_offered(action)
            self._missed(CARRIED_OUT, action.id, f"no state was found in which it is offered and carried out; {why}")
            self.proof.untried.update((WORKS, NOTICED))
            return
        cut = any(each.endswith(f"/{action.id}") for each in self.proof.cut)
        within = " on the paths that were gone through (--most)" if cut else ""
        if action.id not in self.proof.works:
            self._missed(WORKS, action.id, f"no state was found in which its verification comes true{within}")
        if action.id in self.unfailing:
            self._missed(NOTICED, action.id, "no state was found in which its `until` is not true after all")
        elif action.id not in self.proof.noticed:
            self._missed(NOTICED, action.id, f"nothing shows that its failure is seen{within}")

    def _missed(self, claim: str, name: str, what: str) -> None:
        self.proof.failures.append(Failure(claim, f"{name}: {what}", self._place(name), open=True))

    def _place(self, name: str) -> tuple[str, int, int]:
        """Where a step, action or cause stands."""
        playbook = self.loaded.playbook
        sections = {
            "causes": [cause.id for cause in playbook.causes],
            "resolution": [action.id for action in playbook.resolution],
            "symptoms": [probe.id for probe in playbook.symptoms],
            "diagnosis": [probe.id for probe in playbook.diagnosis],
        }
        for section, ids in sections.items():
            if name in ids:
                return self.loaded.position((section, ids.index(name)))
        return self.loaded.path, 1, 1

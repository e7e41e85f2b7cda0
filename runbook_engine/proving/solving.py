"""Looks for a state of the world in which what is wanted holds. Pure, and the same every time.

A search: what it finds is real, what it does not find may exist all the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .space import Assignment, Json, Path

Cost = Callable[[Assignment], float]
Blame = Callable[[Assignment], frozenset[str]]
MOST_LOOKS = 6000
SIDEWAYS = 3  # walks over level ground before going astray
ASTRAY = 4  # variables that are turned at once where no walk leads any nearer


def solve(
    variables: Sequence[Path],
    values: Mapping[Path, Sequence[Json]],
    cost: Cost,
    start: Assignment,
    blame: Blame,
    most: int = MOST_LOOKS,
) -> tuple[Assignment, float]:
    """The nearest assignment and its cost, zero where all holds; only these variables differ from `start`.

    `blame` names the variables' roots on which the conditions depend that do not hold: no other can lead nearer.
    """
    movable = [path for path in variables if len(values[path]) > 1]
    walk = _Walk(movable, values, cost, blame, dict(start), cost(start))
    best, best_cost, level = dict(start), walk.cost_now, 0
    while best_cost > 0 and walk.looks < most and walk.movable:
        walk.down()
        if walk.cost_now < best_cost:
            level = 0
        if walk.cost_now <= best_cost:  # also where it is level: what was walked there is not lost
            best, best_cost = dict(walk.now), walk.cost_now
        if level < SIDEWAYS:
            level += 1
            walk.sideways()
        else:
            level = 0
            walk.astray(best)
    return best, best_cost


@dataclass(slots=True)
class _Walk:
    """Where the search is. Each step turns one variable."""

    movable: Sequence[Path]
    values: Mapping[Path, Sequence[Json]]
    cost: Cost
    blame: Blame
    now: dict[Path, int]
    cost_now: float
    looks: int = 1
    chance: random.Random = field(default_factory=lambda: random.Random(0))  # no secret: a proof repeats

    def down(self) -> None:
        """One variable after the other to its best value, until none leads any nearer."""
        nearer = True
        while nearer and self.cost_now > 0:
            nearer = False
            for path in self.blamed():
                for place in range(len(self.values[path])):
                    nearer = self.step(path, place, level=False) or nearer
                    if self.cost_now == 0:
                        return

    def sideways(self) -> None:
        """Each variable to another value that is no worse: two that matter only together are found so."""
        for path in self.blamed():
            self.step(path, self.chance.randrange(len(self.values[path])), level=True)

    def blamed(self) -> list[Path]:
        roots = self.blame(self.now)
        found = [path for path in self.movable if path[0] in roots]
        return self.chance.sample(found, len(found))

    def astray(self, best: Assignment) -> None:
        self.now = dict(best)
        for path in self.chance.sample(self.movable, min(ASTRAY, len(self.movable))):
            self.now[path] = self.chance.randrange(len(self.values[path]))
        self.cost_now = self.cost(self.now)
        self.looks += 1

    def step(self, path: Path, place: int, *, level: bool) -> bool:
        if place == self.now.get(path, 0):
            return False
        trial = {**self.now, path: place}
        found = self.cost(trial)
        self.looks += 1
        if found < self.cost_now or (level and found == self.cost_now):
            nearer = found < self.cost_now
            self.now, self.cost_now = trial, found
            return nearer
        return False

"""RB512: a cause that is only ever suspected offers nothing beyond what is reversible."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..executor import Effect
from ..loader import LoadedPlaybook
from ..ranking import CONFIRMED_AT, highest_score

CODE = "RB512"
SUMMARY = "An action beyond `reversible` whose causes can only be suspected: they never score enough to offer it."
BAD = """
causes: [{id: many, needs: waiting > 5, weight: weak, fix: [stop]}]
resolution:
  - {id: stop, effect: disruptive, manual: Stop the import., verify: {until: waiting == 0}}
"""
GOOD = """
causes: [{id: many, needs: waiting > 5, weight: decisive, fix: [stop]}]
resolution:
  - {id: stop, effect: disruptive, manual: Stop the import., verify: {until: waiting == 0}}
"""


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    playbook = loaded.playbook
    scores: dict[str, int] = {}
    for cause in playbook.causes:
        for name in cause.fix:
            scores[name] = max(scores.get(name, 0), highest_score(cause))
    for index, action in enumerate(playbook.resolution):
        score = scores.get(action.id, CONFIRMED_AT)
        if score < CONFIRMED_AT and Effect[action.effect] > Effect.reversible:
            message = (
                f"action {action.id!r} is {action.effect}, and what offers it scores at most {score}: it never is. "
                f"raise the weight of its cause, or give it evidence, to {CONFIRMED_AT}"
            )
            yield loaded.complaint(("resolution", index, "effect"), CODE, message)

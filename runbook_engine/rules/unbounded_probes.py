"""RB413: a probe that reads without bound hurts most when the platform is already in trouble.

A queue of a million jobs is the very reason why the playbook runs, and then `LRANGE … 0 -1` carries all of them over
the network while Redis does nothing else; `tail -f` never ends, and takes the budget of everything else with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..commands.endless import endless
from ..errors import Complaint
from ..loader import LoadedPlaybook
from ..loading.checks.checking import Placed
from ..loading.positions import Loc
from ..redis_client.unbounded import unbounded
from ..sql.unbounded import unbounded_rows

CODE = "RB413"
SUMMARY = "A step that reads without bound: a whole key of Redis, rows without LIMIT, a command that never ends."
BAD = """
diagnosis:
  - id: jobs
    redis: [LRANGE, jobs, 0, -1]
    facts: {jobs: result | length}
causes: [{id: many, needs: jobs > 5, advice: look at the workers}]
"""
GOOD = BAD.replace("[LRANGE, jobs, 0, -1]", "[LLEN, jobs]").replace("result | length", "result")


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for placed in loaded.acts():
        if placed.role in ("probe", "snapshot", "progress"):
            for loc, offset, message in _found(placed):
                yield loaded.complaint((*placed.loc, "request", *loc), CODE, f"{placed.what}: {message}", offset=offset)


def _found(placed: Placed) -> Iterator[tuple[Loc, int | None, str]]:
    request = placed.act.request
    match placed.act.executor:
        case "redis" if isinstance(request, list):
            pipeline = bool(request) and isinstance(request[0], list)
            for index, command in enumerate(request if pipeline else [request]):
                message = unbounded(command)
                if message:
                    yield (index,) if pipeline else (), None, message
        case "sql" if isinstance(request, str):
            message = unbounded_rows(request)
            if message:
                yield (), None, message
        case "shell" if isinstance(request, str | list):
            for offset, message in endless(request):
                yield (), offset, message

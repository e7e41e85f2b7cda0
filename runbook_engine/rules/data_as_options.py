"""RB412: data that begins with `-` is an option of the command that gets it, unless a literal `--` stands before it."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..executors.shell import open_items
from ..loader import LoadedPlaybook
from ..loading.checks.checking import Checking

CODE = "RB412"
SUMMARY = (
    "A templated item of a command with no literal `--` before it: data that begins with `-` would be an option, "
    "so the step is not sent then."
)


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    acts = Checking(loaded.playbook, loaded.root, {}, {}, loaded.executor_names).acts()
    for placed in acts:
        if placed.act.executor == "shell" and isinstance(placed.act.request, list):
            for index in open_items(placed.act.request):
                message = f"{placed.what}: item {index + 1} could become an option: put a literal -- before it"
                yield loaded.complaint((*placed.loc, "request", index), CODE, message)

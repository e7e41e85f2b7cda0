"""What the engine says of a hostile file, as the command prints it that reads such files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper

from runbook_engine.alerts import match, read_alerts
from runbook_engine.cassette import read_cassette
from runbook_engine.complaint_formats import FORMATS
from runbook_engine.errors import Complaint, UsageError
from runbook_engine.loader import load_playbook
from runbook_engine.safe_text import safe_text
from runbook_engine.validation.judging import judge

from .files import Hostile, playbook
from .others import LIBRARIES

ALERTED = load_playbook(
    playbook(alerts=[{"alertname": "QueueBacklog"}, {"alertname": "x", "l1": "y"}]), "p.yaml"
).playbook


@dataclass(frozen=True, slots=True)
class Answer:
    """The complaints, or the one error of a command; and every text that would be printed."""

    complaints: Sequence[Complaint] = ()
    error: str = ""
    printed: Sequence[str] = field(default=(), repr=False)


def answer(file: Hostile) -> Answer:
    """As if the file were the first that is met. Whatever else it raises is a bug."""
    forget()
    return told(file)


def told(file: Hostile) -> Answer:
    """By a process that may remember other files."""
    if file.reader == "validate":
        path = f"{file.name}.yaml"
        complaints = judge(path, file.content, LIBRARIES if file.family == "uses" else {})
        return Answer(complaints, printed=[FORMATS["text"]({path: complaints}, {})])
    try:
        if file.reader == "cassette":
            read_cassette(file.content.decode("utf-8", errors="surrogateescape"), file.name)
            return Answer()
        labels = read_alerts(file.content.decode("utf-8-sig", errors="replace"), file.name)
        found = [each for every in labels for group in match(every, [ALERTED]) for each in group]
        return Answer(printed=[safe_text(each.why()) for each in found])
    except UsageError as error:
        return Answer(error=str(error), printed=[safe_text(str(error), newlines=True)])


def forget() -> None:
    """What is remembered of texts has a bound; what is known of our own code has none, and stays."""
    for module in [module for name, module in sys.modules.items() if name.startswith("runbook_engine")]:
        for value in [*vars(module).values()]:
            if isinstance(value, _lru_cache_wrapper) and value.cache_parameters()["maxsize"] is not None:
                value.cache_clear()

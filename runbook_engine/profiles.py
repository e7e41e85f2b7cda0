"""How strictly complaints are weighed: `basic` for a first draft, `production` for what pages people. Pure.

Errors are errors in every profile. A warning is weighed by its class, one line for each code; a new rule gets a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from .errors import Complaint

Class = Literal["wrong", "safety", "care"]
PROFILES: Mapping[str, str] = {
    "default": "Every warning is shown, none refuses.",
    "basic": "Errors, and the warnings about what is wrong wherever it stands.",
    "production": "Everything; warnings about safety are errors.",
}
CLASSES: Mapping[str, Class] = {
    "RB220": "wrong",  # a fact that nothing reads is a typo, or a question asked in vain
    "RB221": "wrong",  # an input that nothing reads promises a choice that does not exist
    "RB222": "wrong",  # a snapshot that nothing reads
    "RB223": "wrong",  # a target that no step uses
    "RB230": "wrong",  # a text compared with a number
    "RB231": "wrong",  # a threshold that may be none
    "RB410": "safety",  # an action without verify
    "RB411": "safety",  # destroys without impact or limit
    "RB412": "safety",  # data that could become an option
    "RB413": "safety",  # a probe that reads without bound
    "RB414": "safety",  # a value that becomes code
    "RB415": "safety",  # a value that becomes several words
    "RB416": "care",  # what shellcheck warns of
    "RB417": "care",  # a command that not every machine has
    "RB418": "care",  # interrupts work, and nothing measures how much
    "RB510": "wrong",  # an action that no cause offers can never run
    "RB511": "care",  # a cause that leads nowhere
    "RB512": "wrong",  # an action that its causes are too weak to offer
    "RB513": "wrong",  # a condition that can never be true
    "RB610": "safety",  # a secret written out
    "RB611": "care",  # a review too long ago
    "RB620": "wrong",  # an ignore that is not heeded
    "RB621": "wrong",  # an ignore that silences nothing
    "RB630": "care",  # two playbooks for one alert
}


def class_of(code: str) -> Class:
    return CLASSES.get(code, "care")


def weighed(complaints: Iterable[Complaint], profile: str) -> list[Complaint]:
    """The complaints as this profile sees them."""
    kept = []
    for complaint in complaints:
        if complaint.ignored:
            kept.append(complaint)
            continue
        if complaint.severity == "warning" and profile == "basic" and class_of(complaint.code) != "wrong":
            continue
        strict = profile == "production" and class_of(complaint.code) == "safety"
        kept.append(replace(complaint, severity="error") if strict else complaint)
    return kept

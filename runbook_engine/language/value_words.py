"""What each value of a closed list means. Data only; keys are `Model.key`, as in the words of keys."""

from __future__ import annotations

from collections.abc import Mapping

EFFECTS: Mapping[str, str] = {
    "read": "Changes nothing.",
    "touch": "Tiny, and expires by itself.",
    "reversible": "Has an exact undo, which stands below it.",
    "disruptive": "Drops work in flight, heals by itself.",
    "destructive": "Loses something for good; its gate wants a word typed.",
}
WEIGHTS: Mapping[str, str] = {
    "decisive": "6 points: enough to confirm a cause by itself.",
    "strong": "4 points.",
    "moderate": "2 points.",
    "weak": "1 point.",
}
TYPES: Mapping[str, str] = {
    "string": "Text.",
    "integer": "A whole number.",
    "number": "Any number.",
    "boolean": "true or false.",
    "duration": "250ms, 10s, 5m, 2h; in expressions a number of seconds.",
    "size": "512, 64MiB, 1GB; in expressions a number of bytes.",
}
AREAS: Mapping[str, str] = {
    "api": "What users and clients call.",
    "worker": "Queues and the processes that work on them.",
    "database": "PostgreSQL.",
    "redis": "Redis.",
    "scheduler": "What starts jobs at their time.",
    "emergency": "Rollback, recovery, clearing.",
    "help": "Looks at everything, mends nothing.",
}
VERDICTS: Mapping[str, str] = {
    "confirmed": "Enough speaks for it, and nothing else is near.",
    "suspected": "The best there is, not enough to be sure.",
    "possible": "What it needs is unknown.",
    "refuted": "What it needs is false.",
    "explained": "A confirmed cause brings it about.",
}
OUTCOMES: Mapping[str, str] = {
    "healthy": "No symptom is present.",
    "fixed": "It was broken, it is not any more, and it stayed so.",
    "diagnosed": "A cause is confirmed, and nothing was asked for or could be done.",
    "inconclusive": "No cause could be confirmed.",
    "not_fixed": "Something was done, and it did not help.",
    "relapsed": "It helped, and did not stay so.",
    "undone": "What an earlier run did was taken back.",
    "refused": "Declined, not confirmed, or no longer what was confirmed.",
    "unknown": "Whether a request took place is not known.",
    "interrupted": "A person stopped it.",
    "error": "No target answered.",
}
VERBS: Mapping[str, str] = {
    "status": "How many processes run, and how they are.",
    "start": "Start it.",
    "stop": "Stop it.",
    "restart": "Restart it.",
    "history": "The revisions it has had.",
    "logs": "Its newest lines.",
    "debugging": "Whether debug logging is on.",
}

VALUES: Mapping[str, Mapping[str, str]] = {
    "Playbook.area": AREAS,
    "Input.type": TYPES,
    "Ask.type": TYPES,
    "Probe.effect": EFFECTS,
    "Action.effect": EFFECTS,
    "Undo.effect": EFFECTS,
    "Evidence.weight": WEIGHTS,
    "Cause.weight": WEIGHTS,
    "Policy.most": EFFECTS,
    "Policy.type_from": EFFECTS,
    "Expectation.causes": VERDICTS,
    "Expectation.outcome": OUTCOMES,
    "Case.mode": {
        "run": "Actions are carried out, as the replies have it.",
        "plan": "Actions are only planned.",
        "diagnose": "No action is offered.",
    },
    "Case.gates": {"yes": "The person confirms.", "no": "The person declines."},
    "service.service": VERBS,
}

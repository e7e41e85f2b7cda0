"""One run as a list of events: a paused queue is found, unpaused behind a gate, and stays fixed."""

from __future__ import annotations

from typing import Any

from runbook_engine.events import (
    ActionFinished,
    CallFinished,
    CallRequested,
    CallStarted,
    CausesRanked,
    Event,
    GateAnswered,
    GateRequested,
    GuardChecked,
    RunFinished,
    RunStarted,
    StepFinished,
    SymptomsJudged,
    VerificationProgressed,
    WaitElapsed,
    WaitRequested,
)

WALL = 1795399447.0  # 2026-11-23 02:04:07 UTC

STARTED = RunStarted(
    run="R-7KQ2A",
    playbook="queue-backlog",
    digest="sha256:abc",
    text="runbook: 1\nname: queue-backlog\ntitle: Jobs pile up in a worker queue\n",
    path="queue-backlog.yaml",
    libraries={},
    inputs={"queue": None, "backlog": 1000},
    environment="demo",
    targets={"redis": "redis", "db": "postgres", "workers": "service"},
    policy={},
    baselines={},
    history=(),
    pace=0.1,
    budget=60.0,
    mode="run",
    engine="0.1.0",
    wall=WALL,
)


def step(name: str, title: str, **more: Any) -> StepFinished:
    shape: dict[str, Any] = {
        "section": "diagnosis",
        "target": "redis",
        "facts": {},
        "unknown": {},
        "error": None,
        "seconds": 0.2,
    }
    return StepFinished(step=name, title=title, **{**shape, **more})


QUEUES = step(
    "queues",
    "Jobs wait in a queue",
    section="symptoms",
    facts={"worst": {"name": "email", "pending": 5003, "paused": True}, "oldest": 300.5},
)
RATES = step(
    "rates",
    "Workers make progress",
    facts={"out_rate": 0, "capacity": 4},
    unknown={"eta": "division by zero"},
    seconds=1.0,
)
BLOCKERS = step(
    "blockers",
    "Sessions wait for locks",
    target="db",
    unknown={"waiting": "db: connection refused"},
    error={"code": "refused", "message": "connection to 127.0.0.1:5432 failed: connection refused"},
)
SERVICE = step("service", "Worker processes", unknown={"running": "the budget ended"}, skipped="the budget ended")
PRESENT = {
    "id": "queues",
    "present": True,
    "recovering": None,
    "title": "Jobs wait in a queue",
    "because": "worst.pending >= backlog: 5003 >= 1000",
}
RECOVERING = {**PRESENT, "recovering": True, "because": "worst.pending >= backlog: 4100 >= 1000"}


def cause(name: str, verdict: str, score: int, title: str, **more: Any) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "for": [],
        "against": [],
        "explained_by": None,
        "fix": [],
        "benign": False,
        "see": None,
        "advice": "",
    }
    return {"id": name, "verdict": verdict, "score": score, "title": title, **shape, **more}


CAUSES = CausesRanked(
    (
        cause("queue-paused", "confirmed", 6, "Queue email is paused", **{"for": ["paused: true"], "fix": ["unpause"]}),
        cause(
            "no-workers",
            "possible",
            3,
            "No worker runs",
            **{"for": ["not established: running is unknown"], "against": ["4 slots are free"]},
        ),
        cause("redis-full", "refuted", 0, "Redis refuses writes", against=["redis_write != 'ok': 'ok' != 'ok'"]),
    ),
    ("Worker processes",),
)
GATE = GateRequested(
    id="unpause/1",
    action="unpause",
    title="Resume queue email",
    about="Somebody paused it and went home.",
    effect="reversible",
    declared=False,
    cause="Queue email is paused",
    identity={"redis": {"name": "redis 7.0.15 at 127.0.0.1:6399", "facts": {"run_id": "8f2c", "role": "master"}}},
    requests=("redis: DEL asynq:{email}:paused",),
    impact="5003 pending jobs start",
    count=5003,
    items=("email-1", "email-2"),
    total=5003,
    undo="SET asynq:{email}:paused ${{ before.since }} NX",
    word="",
    second_person=False,
    digest="sha256:0123456789abcdef0123456789abcdef",
)
WRITE = CallRequested(
    id="unpause/1/1",
    step="unpause",
    title="Resume queue email",
    executor="redis",
    target="redis",
    overrides={},
    mode="write",
    effect="reversible",
    request=["DEL", "asynq:{email}:paused"],
)
READ = CallRequested(
    id="rates/1/1",
    step="rates",
    title="Workers make progress",
    executor="asynq",
    target="redis",
    overrides={},
    mode="read",
    effect="read",
    request={"inspect": "email"},
)
CONSENT = GateAnswered("unpause/1", GATE.digest, "yes", "anna", "typed", 4.0, WALL + 4)

FINISHED = ActionFinished(
    id="unpause",
    title="Resume queue email",
    effect="reversible",
    decision={"verdict": "yes", "by": "anna", "how": "typed"},
    status="done",
    reason="still there, and going: Jobs wait in a queue",
    impact="5003 pending jobs start",
    items=("email-1", "email-2"),
    verified=True,
    held=True,
    affected=1.0,
    target="redis",
)

EVENTS: tuple[Event, ...] = (
    STARTED,
    READ,
    CallStarted(READ.id, 0.0, WALL),
    QUEUES,
    BLOCKERS,
    WaitRequested((READ.id,), 10.0),
    CallFinished(READ.id, 1.0, WALL + 1, answer={}),
    RATES,
    SERVICE,
    SymptomsJudged((PRESENT,)),
    CAUSES,
    GATE,
    CONSENT,
    GuardChecked("unpause", True, "paused: true", 5003),
    WRITE,
    CallStarted(WRITE.id, 4.1, WALL + 4.1),
    WaitRequested((WRITE.id,), 65.0, why="unpause"),
    CallFinished(WRITE.id, 4.2, WALL + 4.2, answer={"affected": 1}, seconds=0.1),
    VerificationProgressed("unpause", "until", False, "out_rate > 0: 0 > 0", 5.8),
    WaitRequested((), 0.2, why="unpause"),
    WaitElapsed(6.2, WALL + 6.2),
    VerificationProgressed("unpause", "until", True, "out_rate > 0: 310 > 0", 3.8),
    WaitRequested((), 0.2, why="unpause"),
    WaitElapsed(8.2, WALL + 8.2),
    VerificationProgressed("unpause", "hold", True, "out_rate > 0: 310 > 0", 4.0),
    VerificationProgressed("unpause", "hold", True, "out_rate > 0: 308 > 0", 0.0),
    SymptomsJudged((RECOVERING,), after="fix"),
    FINISHED,
    RunFinished(
        "fixed",
        0,
        "still there, and going: Jobs wait in a queue",
        ("runbook undo R-7KQ2A", "runbook report R-7KQ2A"),
        at=12.3,
    ),
)

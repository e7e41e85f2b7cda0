"""Playbooks whose parts hang together in the worst way: cycles, chains, everything with everything, very many."""

from __future__ import annotations

from .files import ACTION, SYMPTOM, Json, Made, playbook


def _probe(number: int, fact: str, **keys: Json) -> dict[str, Json]:
    return {"id": f"s{number}", "redis": ["GET", "a"], "facts": {f"f{number}": fact}, **keys}


def dependencies() -> Made:
    for count in (50, 190, 1_500):  # just within what a playbook may hold, and beyond
        chain = [_probe(n, f"f{n + 1} or result" if n + 1 < count else "result") for n in range(count)]
        yield f"chain-{count}", playbook(diagnosis=chain)
        ring = [_probe(n, f"f{(n + 1) % count} or result") for n in range(count)]
        yield f"ring-{count}", playbook(diagnosis=ring)
    for count in (20, 50, 250):
        all_names = [f"f{n}" for n in range(count)]
        everything = [_probe(n, " or ".join([*all_names[:n], "result"])) for n in range(count)]
        yield f"each-needs-all-before-{count}", playbook(diagnosis=everything)
        knot = [_probe(n, " or ".join([*all_names[:n], *all_names[n + 1 :], "result"])) for n in range(count)]
        yield f"each-needs-all-others-{count}", playbook(diagnosis=knot)
    ladder = [_probe(n, f"f{n + 1} or f{n + 2} or result" if n + 2 < 600 else "result") for n in range(600)]
    yield "ladder-of-600", playbook(diagnosis=ladder)
    for count, wide in ((190, 8), (190, 20)):
        near = [[f"f{n + 1 + k}" for k in range(wide) if n + 1 + k < count] for n in range(count)]
        grid = [_probe(n, " or ".join([*names, "result"])) for n, names in enumerate(near)]
        yield f"grid-of-{count}-by-{wide}", playbook(diagnosis=grid)
    yield "itself", playbook(diagnosis=[_probe(1, "f1")])
    yield "two-that-wait", playbook(diagnosis=[_probe(1, "f2"), _probe(2, "f1")])
    yield (
        "symptoms-that-wait",
        playbook(symptoms=[{**SYMPTOM, "present": "f1"}, {**_probe(1, "pong"), "present": "pong and f1"}]),
    )
    for count in (100, 1_000):
        facts = {f"f{n}": f"f{n + 1}" for n in range(count)}
        yield f"facts-of-one-step-{count}", playbook(diagnosis=[{"id": "more", "redis": ["PING"], "facts": facts}])
    yield (
        "rates-through-190-facts",
        playbook(
            diagnosis=[
                {**_probe(0, "rate('a')"), "sample": {"times": 2, "every": 1}},
                *[_probe(n, f"f{n - 1}") for n in range(1, 190)],
            ],
            resolution=[{**ACTION, "guard": "f189 > 1"}],
        ),
    )
    yield (
        "rates-the-other-way",
        playbook(
            diagnosis=[
                *[_probe(n, f"f{n + 1}") for n in range(189)],
                {**_probe(189, "rate('a')"), "sample": {"times": 2, "every": 1}},
            ],
            resolution=[{**ACTION, "id": f"a{n}", "guard": "f0 > 1"} for n in range(200)],
        ),
    )


def causes() -> Made:
    for count in (100, 1_000, 4_000):
        yield f"many-{count}", playbook(causes=[{"id": f"c{n}", "needs": f"pong == {n}"} for n in range(count)])
    for count in (30, 300):
        ids = [f"c{n}" for n in range(count)]
        yield (
            f"each-explains-the-rest-{count}",
            playbook(causes=[{"id": name, "needs": "pong", "explains": ids[n + 1 :]} for n, name in enumerate(ids)]),
        )
        yield (
            f"each-explains-all-{count}",
            playbook(causes=[{"id": name, "needs": "pong", "explains": ids} for name in ids]),
        )
        yield (
            f"ring-{count}",
            playbook(
                causes=[{"id": f"c{n}", "needs": "pong", "explains": [f"c{(n + 1) % count}"]} for n in range(count)]
            ),
        )
    yield (
        "explains-nothing-known",
        playbook(
            causes=[{"id": f"c{n}", "needs": "pong", "explains": [f"x{n}"], "fix": [f"y{n}"]} for n in range(1_000)]
        ),
    )
    yield (
        "one-explains-thousands",
        playbook(causes=[{"id": "one", "needs": "pong", "explains": [f"c{n}" for n in range(5_000)]}]),
    )
    yield (
        "evidence-of-thousands",
        playbook(
            causes=[{"id": "one", "needs": "pong", "for": [{"when": f"pong > {n}", "says": "x"} for n in range(3_000)]}]
        ),
    )
    yield (
        "fixes-of-thousands",
        playbook(causes=[{"id": "one", "needs": "pong", "fix": ["mend"] * 5_000}], resolution=[ACTION]),
    )
    yield "unknown-names-of-thousands", playbook(causes=[{"id": f"c{n}", "needs": f"nothing{n}"} for n in range(3_000)])
    yield (
        "near-names-of-thousands",
        playbook(
            inputs={f"input_number_{n}": {"type": "integer", "default": 1} for n in range(1_000)},
            causes=[{"id": f"c{n}", "needs": f"input_numbr_{n}"} for n in range(1_000)],
        ),
    )
    yield "the-same-id", playbook(causes=[{"id": "one", "needs": "pong"}] * 3_000)


def many() -> Made:
    for count in (200, 2_000, 6_000):
        yield f"steps-{count}", playbook(diagnosis=[_probe(n, "result") for n in range(count)])
        yield f"bad-steps-{count}", playbook(diagnosis=[{"id": n, "facts": 1} for n in range(count)])
    yield "facts-10000", playbook(symptoms=[{**SYMPTOM, "facts": {f"f{n}": "result" for n in range(10_000)}}])
    yield (
        "facts-of-one-name",
        playbook(diagnosis=[{**_probe(n, "result"), "facts": {"one": "result"}} for n in range(1_000)]),
    )
    yield "inputs-5000", playbook(inputs={f"i{n}": {"type": "integer", "default": "x"} for n in range(5_000)})
    yield "enums-20000", playbook(inputs={"a": {"type": "integer", "enum": list(range(20_000)), "default": 19_999}})
    yield (
        "enums-for-many",
        playbook(
            inputs={
                f"i{n}": {"type": "string", "enum": [f"w{k}" for k in range(200)], "default": "x"} for n in range(100)
            }
        ),
    )
    yield "targets-5000", playbook(targets={f"t{n}": "redis" for n in range(5_000)})
    yield "targets-in-a-ring", playbook(targets={f"t{n}": {"from": f"t{(n + 1) % 2_000}"} for n in range(2_000)})
    yield (
        "targets-in-a-chain",
        playbook(
            targets={"redis": "redis", "t0": "postgres", **{f"t{n}": {"from": f"t{n - 1}"} for n in range(1, 2_000)}}
        ),
    )
    yield (
        "targets-and-steps",
        playbook(
            targets={f"t{n}": {"from": f"t{n - 1}"} if n else "redis" for n in range(300)},
            diagnosis=[_probe(n, "result") for n in range(300)],
        ),
    )
    yield "actions-2000", playbook(resolution=[{**ACTION, "id": f"a{n}"} for n in range(2_000)])
    yield (
        "snapshots-2000",
        playbook(resolution=[{**ACTION, "snapshot": {f"s{n}": {"redis": ["GET", "a"]} for n in range(2_000)}}]),
    )
    part = {"redis": ["SET", "a", 1], "undo": {"redis": ["DEL", "a"], "effect": "destructive"}}
    yield (
        "parts-2000",
        playbook(
            resolution=[
                {"id": "mend", "effect": "destructive", "steps": [{"id": f"p{n}", **part} for n in range(2_000)]}
            ]
        ),
    )
    yield (
        "alerts-5000",
        playbook(alerts=[{"alertname": f"a{n}", **{f"l{k}": "x" for k in range(5)}} for n in range(3_000)]),
    )
    yield "notes-20000", playbook(notes=["x"] * 20_000, not_for=["y"] * 20_000, links=["z"] * 10_000)
    yield "ids-twice", playbook(diagnosis=[_probe(0, "result")] * 3_000)
    yield (
        "every-mistake",
        playbook(
            diagnosis=[
                {
                    "id": "Bad Id",
                    "sqll": "x",
                    "redis": ["FLUSHALL"],
                    "facts": {"Bad": "((", "x": "nothing"},
                    "when": "a =",
                    "present": "1",
                    "effect": "reads",
                    "timeout": "soon",
                    "sample": {"times": 1},
                }
            ]
            * 190
        ),
    )

"""Hostile files of the other kinds: tests, libraries, runbook.yaml, recordings, alerts."""

from __future__ import annotations

import json

from .files import ACTION, SYMPTOM, Json, Made, playbook

EXPECT = {"outcome": "fixed"}
HEADER = {
    "cassette": 1,
    **dict.fromkeys(("run", "playbook", "digest", "environment", "mode", "wall"), "x"),
    **{name: {} for name in ("inputs", "targets", "places", "policy", "baselines")},
    "pace": 1.0,
    "budget": 60,
}


def cases() -> Made:
    def made(**keys: Json) -> str:
        return json.dumps(
            {"cases": "hostile", "tests": [{"name": "one", "expect": EXPECT}], **keys}, ensure_ascii=False
        )

    deep: Json = 1
    for _ in range(50):
        deep = [deep]
    yield "no-tests", made(tests=[])
    yield "tests-null", made(tests=None)
    for count in (1_000, 5_000):
        yield f"tests-{count}", made(tests=[{"name": f"t{n}", "expect": EXPECT} for n in range(count)])
    yield "tests-of-one-name", made(tests=[{"name": "one", "expect": EXPECT}] * 1_000)
    yield "tests-without-expectation", made(tests=[{"name": f"t{n}"} for n in range(3_000)])
    yield "empty-expectations", made(tests=[{"name": f"t{n}", "expect": {}} for n in range(3_000)])
    yield "replies-deep", made(replies={"waiting": deep})
    for count in (1_900, 10_000):
        yield f"replies-{count}", made(replies={f"s{n}": {"result": 1} for n in range(count)})
    yield "replies-infinite", made(replies={"waiting": {"seconds": 1e300}})
    yield "replies-for-ever", made(replies={"waiting": {"in_turn": []}})
    for count in (1_900, 10_000):
        yield f"replies-in-turn-{count}", made(replies={"waiting": {"in_turn": [{"result": n} for n in range(count)]}})
    yield "replies-nothing", made(replies={"waiting": None})
    yield "replies-text", made(replies="waiting")
    yield "replies-change", made(replies={"waiting": {"change": {".".join("a" * 3_000): 1}}})
    yield "cassette-elsewhere", made(tests=[{"name": "one", "cassette": "../../../../etc/passwd", "expect": EXPECT}])
    yield "cassette-itself", made(tests=[{"name": "one", "cassette": "hostile.test.yaml", "expect": EXPECT}])
    yield "cassette-device", made(tests=[{"name": "one", "cassette": "/dev/zero", "expect": EXPECT}])
    yield "cassette-nul", made(tests=[{"name": "one", "cassette": "a\0b", "expect": EXPECT}])
    yield "cassette-long", made(tests=[{"name": "one", "cassette": "a" * 10_000, "expect": EXPECT}])
    yield "playbook-elsewhere", made(cases="../../etc/passwd")
    yield "playbook-unknown", made(cases="no-such-playbook")
    yield (
        "names-that-act",
        made(tests=[{"name": "\u202e\u200b\u00ad", "expect": {"says": ["\u202e"], "top": "x\u202e"}}]),
    )
    yield (
        "unknown-everything",
        made(
            tests=[
                {
                    "name": f"t{n}",
                    "gates": {f"g{n}": "yes"},
                    "answers": {f"q{n}": 1},
                    "after": {f"a{n}": {f"s{n}": 1}},
                    "unreachable": [f"u{n}"],
                    "expect": {"causes": {f"c{n}": "confirmed"}, "done": [f"d{n}"], "present": {f"p{n}": True}},
                }
                for n in range(1_000)
            ]
        ),
    )
    yield "gates-as-booleans", "cases: hostile\ntests:\n  - {name: one, gates: {mend: yes}, expect: {outcome: fixed}}\n"
    yield (
        "inputs-of-every-kind",
        made(tests=[{"name": "one", "inputs": {"a": deep, "b": 1e300, "c": None}, "expect": EXPECT}]),
    )
    yield "facts-expected-deep", made(tests=[{"name": "one", "expect": {"facts": {"pong": deep}}}])


def libraries() -> Made:
    def made(**keys: Json) -> str:
        return json.dumps({"library": "hostile", "probes": {"one": {"redis": ["PING"]}}, **keys}, ensure_ascii=False)

    yield "no-probes", made(probes={})
    yield "probes-null", made(probes=None)
    yield "probes-list", made(probes=[1, 2, 3])
    yield "probes-5000", made(probes={f"p{n}": {"redis": ["GET", "a"], "facts": {"a": "result"}} for n in range(3_000)})
    yield "probes-broken-5000", made(probes={f"p{n}": {"rediss": 1} for n in range(5_000)})
    yield "probes-that-are-none", made(probes={f"p{n}": [n] for n in range(3_000)})
    yield "uses-itself", made(probes={"one": {"use": "hostile.one"}, "two": {"use": "hostile.one"}})
    yield "uses-in-a-ring", made(probes={f"p{n}": {"use": f"hostile.p{(n + 1) % 500}"} for n in range(500)})
    yield "bad-names", made(library="../x", probes={"../y": {"redis": ["PING"]}, "\u202e": {"sql": "select 1"}})
    yield "targets-in-a-ring", made(targets={f"t{n}": {"from": f"t{(n + 1) % 1_000}"} for n in range(1_000)})


def used() -> Made:
    """Playbooks that use libraries; `LIBRARIES` has what they use."""
    for name in ("hostile", "ring", "broken", "bomb", "list", "bytes", "nowhere"):
        yield f"from-{name}", playbook(diagnosis=[{"use": f"{name}.one"}])
        yield f"from-{name}-500-times", playbook(diagnosis=[{"use": f"{name}.one", "id": f"s{n}"} for n in range(500)])
    yield (
        "words-that-are-none",
        playbook(
            diagnosis=[{"use": word} for word in ("x", "a.b.c", "../a.b", "A.b", "", "\u202e.x", "a." + "b" * 5_000)]
        ),
    )
    yield "use-of-a-list", playbook(diagnosis=[{"use": ["hostile.one"]}, {"use": {"a": 1}}, {"use": None}])
    yield "unknown-5000", playbook(diagnosis=[{"use": f"hostile.p{n}"} for n in range(5_000)])
    yield "libraries-5000", playbook(diagnosis=[{"use": f"l{n}.one"} for n in range(5_000)])
    yield (
        "beside-everything",
        playbook(
            symptoms=[SYMPTOM, {"use": "hostile.one", "sql": "select 1", "id": "x", "present": "true"}],
            resolution=[ACTION],
        ),
    )
    yield "targets-of-the-ring", playbook(targets={}, symptoms=[{"use": "ring.one", "id": "a", "present": "true"}])


LIBRARIES: dict[str, tuple[str, str]] = {
    "hostile": ("hostile-library.yaml", '{"library": "hostile", "probes": {"one": {"redis": ["PING"]}}}'),
    "ring": (
        "ring.yaml",
        (
            "library: ring\nprobes: {one: {redis: [PING], use: ring.one}}\n"
            "targets: {a: {from: b}, b: {from: a}, redis: {from: redis}}\n"
        ),
    ),
    "broken": ("broken.yaml", "library: broken\nprobes: [[["),
    "bomb": ("bomb.yaml", "library: bomb\na: &a [x]\nprobes: {one: {redis: &b [" + "*a, " * 90_000 + "]}}\n"),
    "list": ("list.yaml", "- library: list\n"),
    "bytes": ("bytes.yaml", "library: bytes\nprobes: {one: '\udcff\udc80'}\n"),
}


def environments() -> Made:
    def made(target: Json = None, **keys: Json) -> str:
        settings = {"targets": {"redis": target or {"kind": "redis", "host": "x"}}, **keys}
        return json.dumps({"environments": {"here": settings}}, ensure_ascii=False)

    deep: Json = 1
    for _ in range(50):
        deep = {"a": deep}
    yield "none", "environments: {}"
    yield "null", "environments:"
    yield "list", "environments: [1]"
    yield "many", json.dumps({"environments": {f"e{n}": {"targets": {"r": {"kind": "redis"}}} for n in range(5_000)}})
    yield (
        "targets-5000",
        json.dumps({"environments": {"a": {"targets": {f"t{n}": {"kind": "redis"} for n in range(5_000)}}}}),
    )
    yield "broken-5000", json.dumps({"environments": {"a": {"targets": {f"t{n}": {"kynd": n} for n in range(5_000)}}}})
    yield "deep", made({"kind": "redis", "host": deep})
    yield "pace-infinite", made(pace="1e400")
    yield "pace-negative", made(pace=-1)
    yield "policy-everything", made(policy={"most": "x", "forbid": [1] * 3_000, "loop": {"times": -1, "window": "x"}})
    yield "policy-text", made(policy="none")
    yield "password-deep", made({"kind": "redis", "password": deep})
    yield "password-in-clear", made({"kind": "redis", "password": "\u202ehunter2"})
    yield "command", made({"kind": "redis", "password": {"command": ["id"] * 10_000}})
    yield "names-that-act", json.dumps({"environments": {"\u202e": {"about": "\u200b", "targets": {"\u202e": {}}}}})
    yield "default-unknown", '{"environments": {"a": {}}, "default": "b"}'


def cassettes() -> Made:
    header = json.dumps(HEADER)
    call = {"call": "x/waiting/1/0", "step": "waiting", "asked": {}, "reply": {"seconds": 0.1, "answer": {"result": 1}}}
    lines: dict[str, Json] = {
        "list": [],
        "list-of-words": ["cassette"],
        "list-of-call": ["call"],
        "text": "cassette",
        "number": 7,
        "null": None,
        "true": True,
        "call-null": {"call": None, "step": None, "asked": None, "reply": None},
        "call-list": {**call, "call": [1]},
        "call-without-step": {"call": "x"},
        "reply-list": {**call, "reply": [1]},
        "reply-text": {**call, "reply": "x"},
        "reply-unknown-key": {**call, "reply": {"x": 1}},
        "asked-list": {**call, "asked": [1]},
        "asked-text": {**call, "asked": "x"},
        "end-text": {"end": "x"},
        "end-list": {"end": [1]},
        "gate-list": {"gate": [1], "verdict": "yes"},
        "question-list": {"question": [1], "value": 1},
        "verdict-list": {"verdict": [1]},
        "header-twice": HEADER,
        "header-bare": {"cassette": 1},
        "header-of-tomorrow": {"cassette": 2},
        "header-list": {"cassette": []},
    }
    for name, line in lines.items():
        yield f"line-{name}", f"{header}\n{json.dumps(line)}\n"
        yield f"first-{name}", f"{json.dumps(line)}\n"
    yield "deep", f"{header}\n" + "[" * 100_000
    yield "deep-map", f"{header}\n" + '{"a":' * 100_000
    yield "digits", f'{header}\n{{"question": "a", "value": {"9" * 5_000}}}\n'
    yield "infinite", f'{header}\n{{"call": "a", "step": "b", "asked": {{}}, "reply": {{"seconds": 1e999}}}}\n'
    yield "empty", ""
    yield "line-breaks", "\n" * 100_000
    yield "separators", header.replace("x", "a\u2028b\u0085c")
    yield "surrogates", header + '\n{"question": "\\ud800", "value": "\\udfff\\u0000\\u001b[2J"}\n'
    yield "the-same-call-10000-times", header + "\n" + (json.dumps(call) + "\n") * 10_000
    yield "nul", "\0" * 1_000
    yield "bytes", b"\xff\xfe" * 1_000


def alerts() -> Made:
    states: list[Json] = [None, [], {}, 1, "?", {"state": [1]}]
    payloads: dict[str, Json] = {
        "numbers": {"labels": {"alertname": 1e308, "a": 10**400}},
        "lists": {"labels": {"alertname": ["x"]}},
        "labels-list": {"labels": [1]},
        "alerts-text": {"alerts": "x"},
        "alerts-of-alerts": {"alerts": [{"alerts": [{"labels": {"alertname": "x"}}]}]},
        "data-in-data": {"data": {"data": {"data": {"alerts": [{"labels": {"alertname": "x"}}]}}}},
        "many": [{"labels": {"alertname": f"a{n}"}} for n in range(5_000)],
        "labels-10000": {"labels": {"alertname": "x", **{f"l{n}": "y" for n in range(10_000)}}},
        "names-that-act": {"labels": {"alertname": "\u001b[2J\u202e", "\u001b]0;x\u0007": "\u202e\u0000"}},
        "name-of-a-megabyte": {"labels": {"alertname": "QueueBacklog" * 80_000}},
        "states": [{"labels": {"alertname": "x"}, "status": state} for state in states],
        "common-list": {"commonLabels": [1], "alerts": [{"labels": {"alertname": "x"}}, 1, None, []]},
        "a-million-labels": {"labels": {"alertname": "x" * 900_000}},
    }
    for name, payload in payloads.items():
        yield name, json.dumps(payload)
    data: Json = {"labels": {"alertname": "x"}}
    for _ in range(300):
        data = {"data": data}
    yield "data-300-deep", json.dumps(data)
    yield "lists-900-deep", "[" * 900 + "]" * 900
    yield "deep", "[" * 100_000
    yield "digits", '{"labels": {"alertname": ' + "9" * 5_000 + "}}"
    yield "nan", '{"labels": {"alertname": NaN, "b": Infinity}}'
    yield "twice", '{"labels": {"alertname": "a"}, "labels": {"alertname": "b"}}'
    yield "surrogates", '{"labels": {"alertname": "\\ud800\\udfff"}}'
    yield "no-json", "alertname: x"
    yield "bytes", b"\xff\xfe\x00"
    yield "mark", b'\xef\xbb\xbf{"labels": {"alertname": "x"}}'

"""The JSON contract, the report to paste, and the timeline, folded from records as the journal has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from scripted_run import (
    CAUSES,
    CONSENT,
    EVENTS,
    FINISHED,
    GATE,
    PRESENT,
    QUEUES,
    RATES,
    STARTED,
    WALL,
    WRITE,
    cause,
    step,
)

from runbook_engine.events import (
    CallFinished,
    CallStarted,
    CausesRanked,
    Event,
    GateAnswered,
    GuardChecked,
    Interrupted,
    QuestionAnswered,
    RunFinished,
    RunResumed,
    SymptomsJudged,
    encode,
    kind_of,
)
from runbook_engine.report import fold, timeline, to_json, to_markdown

Json = Any


def records(events: Iterable[Event]) -> list[tuple[str, dict[str, Json]]]:
    """As they come back from the journal: plain JSON."""
    return [(kind_of(event), json.loads(json.dumps(encode(event)))) for event in events]


def until(kind: str) -> tuple[Event, ...]:
    """The run cut off right after the first event of this kind."""
    kinds = [kind_of(event) for event in EVENTS]
    return EVENTS[: kinds.index(kind) + 1]


def test_the_document_of_a_run_is_the_contract() -> None:
    document = fold(records(EVENTS))
    assert document == {
        "version": 1,
        "run": "R-7KQ2A",
        "playbook": "queue-backlog",
        "digest": "sha256:abc",
        "environment": "demo",
        "outcome": "fixed",
        "exit_code": 0,
        "reason": "still there, and going: Jobs wait in a queue",
        "symptoms": [
            {
                "id": "queues",
                "present": True,
                "recovering": True,
                "title": "Jobs wait in a queue",
                "because": "worst.pending >= backlog: 4100 >= 1000",
            }
        ],
        "facts": {
            "worst": {"name": "email", "pending": 5003, "paused": True},
            "oldest": 300.5,
            "out_rate": 0,
            "capacity": 4,
        },
        "unknown": {
            "waiting": "db: connection refused",
            "eta": "division by zero",
            "running": "the budget ended",
        },
        "causes": [
            {
                "id": "queue-paused",
                "verdict": "confirmed",
                "score": 6,
                "title": "Queue email is paused",
                "for": ["paused: true"],
                "against": [],
                "explained_by": None,
                "fix": ["unpause"],
            },
            {
                "id": "no-workers",
                "verdict": "possible",
                "score": 3,
                "title": "No worker runs",
                "for": ["not established: running is unknown"],
                "against": ["4 slots are free"],
                "explained_by": None,
                "fix": [],
            },
            {
                "id": "redis-full",
                "verdict": "refuted",
                "score": 0,
                "title": "Redis refuses writes",
                "for": [],
                "against": ["redis_write != 'ok': 'ok' != 'ok'"],
                "explained_by": None,
                "fix": [],
            },
        ],
        "actions": [
            {
                "id": "unpause",
                "effect": "reversible",
                "decision": {"verdict": "yes", "by": "anna", "how": "typed"},
                "status": "done",
                "impact": "5003 pending jobs start",
                "items": ["email-1", "email-2"],
                "verified": True,
                "held": True,
            }
        ],
        "unchecked": ["Worker processes"],
        "seconds": 12.3,
        "mode": "run",
        "next": ["runbook undo R-7KQ2A", "runbook report R-7KQ2A"],
    }


def test_every_run_has_the_same_keys_in_the_same_order() -> None:
    whole = fold(records(EVENTS))
    assert list(whole)[:4] == ["version", "run", "playbook", "digest"]
    for length in range(len(EVENTS) + 1):
        document = fold(records(EVENTS[:length]))
        assert list(document) == list(whole)
        assert json.loads(to_json(document)) == document


def test_the_events_of_a_process_fold_like_its_journal() -> None:
    assert fold((kind_of(event), encode(event)) for event in EVENTS) == fold(records(EVENTS))


def test_the_newest_word_on_a_fact_wins() -> None:
    again = step("rates", "again", facts={"eta": 40.0}, unknown={"out_rate": "too few events"}, again=True)
    document = fold(records([STARTED, QUEUES, RATES, again]))
    assert document["facts"] == {
        "worst": {"name": "email", "pending": 5003, "paused": True},
        "oldest": 300.5,
        "capacity": 4,
        "eta": 40.0,
    }
    assert document["unknown"] == {"out_rate": "too few events"}


@pytest.mark.parametrize("kind", ["RunStarted", "StepFinished", "CausesRanked", "GateRequested", "GateAnswered"])
def test_a_run_cut_off_before_any_write_was_interrupted(kind: str) -> None:
    document = fold(records(until(kind)))
    assert (document["outcome"], document["exit_code"]) == ("interrupted", 130)
    assert document["next"] == ["runbook resume R-7KQ2A"]


def test_a_run_cut_off_within_a_write_is_unknown() -> None:
    for cut in (EVENTS[: EVENTS.index(WRITE) + 1], (*until("GuardChecked"), WRITE, CallStarted(WRITE.id, 4.1, WALL))):
        document = fold(records(cut))
        assert (document["outcome"], document["exit_code"]) == ("unknown", 6)
        assert "Resume queue email" in document["reason"]
        assert [action["status"] for action in document["actions"]] == ["unknown"]


def test_a_write_whose_end_says_unknown_stays_unknown() -> None:
    lost = CallFinished(WRITE.id, 5.0, WALL + 5, error={"code": "reset", "message": "gone"}, happened="unknown")
    assert fold(records([STARTED, GATE, CONSENT, WRITE, lost]))["outcome"] == "unknown"


def test_a_run_cut_off_after_its_write_says_that_it_was_done_and_not_verified() -> None:
    document = fold(records(until("VerificationProgressed")))
    assert document["outcome"] == "interrupted"
    (action,) = document["actions"]
    assert (action["status"], action["verified"], action["held"]) == ("done", None, None)


def test_a_consent_that_was_not_acted_on_is_a_skipped_action() -> None:
    (action,) = fold(records(until("GateAnswered")))["actions"]
    assert action["status"] == "skipped"
    assert action["decision"] == {"verdict": "yes", "by": "anna", "how": "typed"}


def test_what_a_resume_declared_void_does_not_count() -> None:
    told = until("GateAnswered")
    kept = len(told) - 1
    end = RunFinished("interrupted", 130, "stopped", at=5.0)
    resumed = [*told, end, RunResumed(kept, 60.0, WALL + 60, by="ben")]
    document = fold(records(resumed))
    assert document["actions"] == []
    assert "no end on record" in document["reason"]
    declined = replace(CONSENT, verdict="no", by="ben", at=61.0)
    assert fold(records([*resumed, declined, replace(end, reason="declined", at=62.0)]))["reason"] == "declined"


def test_json_is_ascii_and_has_no_nan() -> None:
    odd = step("s", "t", facts={"rate": float("nan"), "most": [float("inf")], "said": "\x1b[2J\ud800é"})
    text = to_json(fold([(kind_of(event), encode(event)) for event in (STARTED, odd)]))
    assert text.isascii()
    assert json.loads(text)["facts"] == {"rate": "nan", "most": ["inf"], "said": "\x1b[2J\ud800é"}


def test_the_report_of_a_run_can_be_pasted() -> None:
    told = records(EVENTS)
    assert to_markdown(fold(told), told) == (
        "**queue-backlog: FIXED** after 12s (run R-7KQ2A, environment demo)  \n"
        "still there, and going: Jobs wait in a queue  \n"
        "Started 2026-11-23 02:04:07 UTC; answers by anna.\n"
        "\n**Symptoms**\n\n"
        "- Jobs wait in a queue: **present**: `worst.pending >= backlog: 5003 >= 1000`\n"
        "- after the fix: Jobs wait in a queue: **present, recovering**: `worst.pending >= backlog: 4100 >= 1000`\n"
        "\n**Causes**\n\n"
        "- **confirmed** (6): Queue email is paused\n"
        "  - for: paused: true\n"
        "- **possible** (3): No worker runs\n"
        "  - for: not established: running is unknown\n"
        "  - against: 4 slots are free\n"
        "- refuted: Redis refuses writes\n"
        "\n**Actions**\n\n"
        "- **done**: Resume queue email (reversible) (verified, and it lasted)\n"
        "  - impact: 5003 pending jobs start\n"
        "  - decision: confirmed by anna (typed)\n"
        "  - items: 2, email-1, email-2\n"
        "  - still there, and going: Jobs wait in a queue\n"
        "\n**Facts**\n\n"
        '- worst: {"name": "email", "pending": 5003, "paused": true}\n'
        "- oldest: 300.5\n"
        "- out\\_rate: 0\n"
        "- capacity: 4\n"
        "\n**Unknown**\n\n"
        "- waiting: db: connection refused\n"
        "- eta: division by zero\n"
        "- running: the budget ended\n"
        "\n**Not checked**\n\n"
        "- Worker processes\n"
        "\n**Timeline**\n\n"
        "- 02:04:07 +0s queue-backlog started on demo\n"
        "- 02:04:07 +0s asked: Jobs wait in a queue (200ms)\n"
        "- 02:04:07 +0s no answer: Sessions wait for locks: connection to 127.0.0.1:5432 failed: connection refused\n"
        "- 02:04:08 +1s asked: Workers make progress (1s)\n"
        "- 02:04:08 +1s not asked: Worker processes (the budget ended)\n"
        "- 02:04:08 +1s Jobs wait in a queue: present\n"
        "- 02:04:08 +1s confirmed: Queue email is paused\n"
        "- 02:04:08 +1s consent asked for reversible action: Resume queue email, 5003 pending jobs start\n"
        "- 02:04:11 +4s confirmed by anna (typed)\n"
        "- 02:04:11 +4.2s done: Resume queue email\n"
        "- 02:04:11 +4.2s waiting for the fix to take effect\n"
        "- 02:04:13 +6.2s verified: the fix took effect\n"
        "- 02:04:15 +8.2s watching whether it lasts\n"
        "- 02:04:15 +8.2s after the fix, Jobs wait in a queue: present, recovering\n"
        "- 02:04:15 +8.2s Resume queue email: done: still there, and going: Jobs wait in a queue "
        "(verified, and it lasted)\n"
        "- 02:04:19 +12s fixed: still there, and going: Jobs wait in a queue\n"
        "\n**Next**\n\n"
        "- `runbook undo R-7KQ2A`\n"
        "- `runbook report R-7KQ2A`"
    )


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil/x.png)",
    "[click](javascript:alert(1))",
    "http://evil/ www.evil.com <http://evil>",
    "`</code><b>",
    "```\n<b>out</b>\n```",
    "\n\n# heading\n\n- item",
    "**bold** _it_ ~~no~~ | a | b |",
    "> quote",
    "1. one",
    "a\\`b`<b>c</b>",
    "&lt;b&gt; &amp;gt; &#60;b>",
    "@here <!channel>",
    "\x1b[2J\u202eevil",
]


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("code",):
            self.found.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def elements(text: str) -> Elements:
    """What a reader of the report sees when `text` stands in every place that is not ours."""
    events: list[Event] = [
        replace(STARTED, playbook=text, environment=text, by=text),
        step("a", text, facts={text: text, "list": [text], "record": {text: text}}, unknown={"u" + text: text}),
        step("b", text, error={"code": text, "message": text}),
        step("c", text, skipped=text),
        SymptomsJudged(({**PRESENT, "title": text, "because": text},)),
        CausesRanked(
            (
                cause("c", "confirmed", 6, text, **{"for": [text], "against": [text], "advice": text}),
                cause("d", "explained", 6, text, explained_by=text),
                cause("e", "refuted", 0, text),
            ),
            (text,),
        ),
        replace(GATE, title=text, impact=text, items=(text,)),
        replace(CONSENT, by=text, how=text),
        GuardChecked(text, False, text, None, text),
        replace(WRITE, title=text),
        CallFinished(WRITE.id, 1.0, WALL, error={"code": text, "message": text}, happened="unknown"),
        QuestionAnswered(text, text, "typed", text, 1.0, WALL),
        RunResumed(99, 2.0, WALL, by=text),
        replace(FINISHED, title=text, reason=text, impact=text, items=(text,)),
        RunFinished("not_fixed", 4, text, (text,), at=3.0),
    ]
    told = records(events)
    seen = Elements()
    seen.feed(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(to_markdown(fold(told), told)))
    return seen


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_outside_is_only_text_in_a_report(text: str) -> None:
    plain, hostile = elements("plain"), elements(text)
    assert hostile.found == plain.found


def test_what_was_escaped_reads_as_it_was() -> None:
    assert elements("<b>*x* & `y` > z").text.count("<b>*x* & `y` > z") == elements("zzz").text.count("zzz")


def test_the_timeline_tells_refusals_interruptions_and_failures() -> None:
    failed = CallFinished(WRITE.id, 5.0, WALL + 5, error={"code": "OOM", "message": "full"}, happened="no")
    told = timeline(
        records(
            [
                replace(STARTED, mode="plan"),
                CAUSES,
                GATE,
                GateAnswered(GATE.id, "", "none", "", "no terminal", 2.0, WALL + 2),
                GuardChecked("unpause", False, "", None, "it has grown"),
                WRITE,
                failed,
                Interrupted(1, 6.0, WALL + 6),
                RunFinished("interrupted", 130, "stopped", at=7.5),
            ]
        )
    )
    assert [(moment.at, moment.wall - WALL, moment.says) for moment in told] == [
        (0.0, 0.0, "queue-backlog started on demo, plan only"),
        (0.0, 0.0, "confirmed: Queue email is paused"),
        (0.0, 0.0, "consent asked for reversible action: Resume queue email, 5003 pending jobs start"),
        (2.0, 2.0, "nobody confirmed (no terminal)"),
        (2.0, 2.0, "checked again right before the act, refused: it has grown"),
        (5.0, 5.0, "failed: Resume queue email: full (nothing was done)"),
        (6.0, 6.0, "interrupted (SIGINT)"),
        (7.5, 7.5, "interrupted: stopped"),
    ]

"""What a person sees of a run: whole screens, hostile text on an emulated terminal, streams that break."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pyte
import pytest
from scripted_run import (
    BLOCKERS,
    CAUSES,
    CONSENT,
    EVENTS,
    FINISHED,
    GATE,
    PRESENT,
    QUEUES,
    READ,
    STARTED,
    WRITE,
    cause,
    step,
)

from runbook_engine.events import (
    BudgetSpent,
    CallAbandoned,
    CallFinished,
    CancelRequested,
    CausesRanked,
    Event,
    GateAnswered,
    GuardChecked,
    Interrupted,
    QuestionAnswered,
    QuestionRequested,
    RunFinished,
    RunResumed,
    SymptomsJudged,
    VerificationProgressed,
    WaitRequested,
)
from runbook_engine.safe_text import cells
from runbook_engine.terminal import Screen, screen_for

WHOLE_RUN = """\
queue-backlog  Jobs pile up in a worker queue
  run       R-7KQ2A  2026-11-23 02:04:07 UTC
  on        demo: redis (redis), db (postgres), workers (service)
  pace      0.1: waits are ten times shorter

  ✓ ok      Jobs wait in a queue      worst.pending 5,003, oldest 300.5 …   0.2s
  ✗ FAILED  Sessions wait for locks                                         0.2s
            db: connection to 127.0.0.1:5432 failed: connection refused
  ✓ ok      Workers make progress     out_rate 0, capacity 4                1.0s
            unknown: eta
  - skip    Worker processes          the budget ended

Symptoms
  ! PRESENT Jobs wait in a queue
            worst.pending >= backlog: 5003 >= 1000

Causes
   1 confirmed    6  Queue email is paused
     for       paused: true
     fix       unpause
   2 possible     3  No worker runs
     for       not established: running is unknown
     against   4 slots are free
    1 refuted by the facts
    not checked: Worker processes

┌─ GATE  unpause  reversible ───────────────────────────────────────────────────
│ will do   Resume queue email
│ effect    reversible: can be undone exactly
│ answers   redis: redis 7.0.15 at 127.0.0.1:6399 (run_id 8f2c, role master)
│ will run  redis: DEL asynq:{email}:paused
│ impact    5003 pending jobs start
│ items     2 of 5,003 shown; the list is frozen, digest 0123456789abcdef
│           - email-1
│           - email-2
│ undo      SET asynq:{email}:paused ${{ before.since }} NX
│ mends     Queue email is paused
│ author    "Somebody paused it and went home."
│ needs     y typed at this terminal, or --approve unpause on the command line
└───────────────────────────────────────────────────────────────────────────────
  ✓ ok      unpause                   confirmed by anna (typed)
  ✓ ok      checked again             paused: true
  → doing   Resume queue email        on redis
  ✓ ok      Resume queue email        done                                  0.1s
  … WAITING waits for the effect      5.8s left; out_rate > 0: 0 > 0
  ✓ ok      took effect               out_rate > 0: 310 > 0
  … WAITING watches whether it lasts  4s left; out_rate > 0: 310 > 0

Symptoms after the fix
  ~ recovering Jobs wait in a queue
            worst.pending >= backlog: 4100 >= 1000
  ✓ ok      Resume queue email
            1 affected; verified, and it lasted; still there, and going: Jobs
            wait in a queue

FIXED in 9.3s (waited 3.0s for you)  still there, and going: Jobs wait in a
  queue
  next  runbook undo R-7KQ2A
  next  runbook report R-7KQ2A
"""


def drawn(events: Iterable[Event], **options: Any) -> str:
    stream = io.StringIO()
    fitting = {"width": 80, "colour": False, "unicode": True, "live": False, "zone": UTC, **options}
    screen = Screen(stream, **fitting)
    for event in events:
        screen.show(event)
    return stream.getvalue()


def test_a_whole_run_on_a_plain_screen() -> None:
    assert drawn(EVENTS) == WHOLE_RUN


def test_a_screen_without_unicode_says_the_same_in_ascii() -> None:
    shown = drawn(EVENTS, unicode=False)
    assert shown.isascii()
    assert "  + ok      Jobs wait in a queue      worst.pending 5,003 ...               0.2s\n" in shown
    assert "+- GATE  unpause  reversible ---" in shown
    assert len(shown.splitlines()) == len(WHOLE_RUN.splitlines())


def test_colour_changes_no_letter() -> None:
    shown = drawn(EVENTS, colour=True)
    assert "\x1b[32m  ✓ ok      \x1b[0m" in shown
    for code in ("0", "1", "2", "31", "32", "33", "36"):
        shown = shown.replace(f"\x1b[{code}m", "")
    assert shown == WHOLE_RUN


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    shown = drawn([*EVENTS, *HOSTILE_EVENTS], width=width)
    assert max(cells(line) for line in shown.splitlines() if not line.startswith("  next")) <= width


HOSTILE = [
    "\x1b[2J\x1b[H all is well",
    "\x1b]0;title\x07",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x9b2J",
    "\x1bc",
    "\x1b[6n",
    "\r  ok everything",
    "\nFIXED in 0.1s",
    "\x08" * 40,
    "\x1b[8mhidden",
    "\u202egnp.exe",
    "\x1b[?1049h",
    "日本語" * 60,
    "a\u0301\u0302\u0303\u0304\u0305\u0306\u0307",
    "\ud800",
]


def hostile(text: str) -> list[Event]:
    """Every place where text from outside can stand."""
    return [
        replace(STARTED, playbook=text[:20], text=f"title: {text}", environment=text, targets={text: text}),
        replace(QUEUES, title=text, facts={text: text, "worst": {text: text, "n": [text]}}, unknown={text: text}),
        replace(BLOCKERS, title=text, error={"code": text, "message": text}),
        step("s", text, skipped=text),
        step("s", text, unknown={text: text}),
        SymptomsJudged(({**PRESENT, "title": text, "because": text},)),
        CausesRanked((cause(text, "confirmed", 6, text, **{"for": [text], "advice": text, "fix": [text]}),), (text,)),
        replace(GATE, action=text, title=text, about=text, cause=text, impact=text, undo=text, word=text, digest=text),
        replace(GATE, identity={text: {"name": text, "facts": {text: text}}}, requests=(text,), items=(text,)),
        GateAnswered(GATE.id, "", "yes", text, text, 1.0, 1.0),
        GuardChecked(text, False, text, None, text),
        GuardChecked(text, True, text, None),
        replace(WRITE, title=text, target=text),
        CallFinished(WRITE.id, 1.0, 1.0, error={"code": text, "message": text}, happened="unknown"),
        VerificationProgressed(text, "until", False, text, 5.0),
        replace(FINISHED, title=text, reason=text),
        QuestionRequested("q", text, "string"),
        QuestionAnswered(text, text, "typed", text, 1.0, 1.0),
        RunResumed(1, 1.0, 1.0, by=text),
        RunFinished("inconclusive", 3, text, (text,), at=1.0),
    ]


HOSTILE_EVENTS = [event for text in HOSTILE for event in hostile(text)]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_outside_never_acts_on_the_terminal(text: str) -> None:
    """Each event, with hostile text in every field, leaves the line above it alone and ends on a fresh line."""
    for event in hostile(text):
        shown = drawn([event], live=True)
        screen: Any = pyte.Screen(90, shown.count("\n") + 20)
        terminal = pyte.Stream(screen)
        replies: list[str] = []
        screen.write_process_input = replies.append
        terminal.feed("trusted line\r\n" + shown.replace("\n", "\r\n") + "\r\nbelow")
        assert screen.display[0].rstrip() == "trusted line"
        assert screen.display[screen.cursor.y].rstrip() == "below"
        assert screen.title == "" and replies == []
        assert set(shown) & {chr(code) for code in [*range(0x09), 0x0B, 0x0C, *range(0x80, 0xA0), 0x202E]} == set()
        assert "\x1b" not in shown.replace("\r\x1b[K", "")


def test_no_line_of_data_can_pass_for_a_line_of_ours() -> None:
    shown = drawn([step("s", "a", facts={"said": "\nFIXED in 0.1s"}), replace(GATE, requests=("one\n└──\nFIXED",))])
    assert not any(line.startswith(("FIXED", "└──\n")) for line in shown.splitlines())
    assert "│           FIXED\n" in shown


def test_a_gate_shows_every_character_of_a_long_request() -> None:
    request = "DEL " + " ".join(f"asynq:{{q{number}}}:paused" for number in range(30))
    shown = drawn([replace(GATE, requests=(request,))])
    body = " ".join(line[12:].strip() for line in shown.splitlines() if line.startswith("│"))
    assert request in body


def test_a_destructive_gate_names_the_word_and_the_second_person() -> None:
    event = replace(GATE, effect="destructive", word="5003", second_person=True, undo="", declared=True)
    shown = drawn([STARTED, event])
    assert "│ needs     the word 5003 typed at this terminal\n" in shown
    assert "│           and a second person, who types: runbook approve R-7KQ2A\n" in shown
    assert "│ undo      there is none\n" in shown
    assert "│ effect    destructive: loses something for good; declared by the author, the\n" in shown


def test_causes_beyond_the_third_take_one_line_each() -> None:
    many = [cause(f"c{number}", "possible", 9 - number, f"cause {number}", **{"for": ["x"]}) for number in range(1, 6)]
    refuted = [cause(f"r{number}", "refuted", 0, "no") for number in range(4)]
    explained = cause("e", "explained", 4, "below it", explained_by="c1")
    assert drawn([CausesRanked((*many, explained, *refuted))]) == (
        "\nCauses\n"
        "   1 possible     8  cause 1\n     for       x\n"
        "   2 possible     7  cause 2\n     for       x\n"
        "   3 possible     6  cause 3\n     for       x\n"
        "   4 possible     5  cause 4\n"
        "   5 possible     4  cause 5\n"
        "   6 explained    4  below it (explained by c1)\n"
        "    4 refuted by the facts\n"
    )


def test_a_cause_that_another_playbook_mends_names_it_and_its_advice() -> None:
    event = CausesRanked(
        (
            cause(
                "full",
                "confirmed",
                6,
                "full",
                see={"playbook": "redis-memory-full", "inputs": {}},
                advice="call the DBA",
            ),
        )
    )
    assert "     see       runbook run redis-memory-full\n     advice    call the DBA\n" in drawn([event])


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        ("no", "  - skip    unpause                   declined by anna (typed)\n"),
        ("plan", "  - skip    unpause                   plan: it would run\n"),
        ("interrupted", "  - skip    unpause                   interrupted\n"),
    ],
)
def test_the_answer_to_a_gate(verdict: Any, line: str) -> None:
    assert drawn([GATE, replace(CONSENT, verdict=verdict)]).endswith(line)


def test_a_write_whose_outcome_is_not_known_says_so() -> None:
    lost = {"code": "reset", "message": "connection reset"}
    shown = drawn([WRITE, CallFinished(WRITE.id, 1.0, 1.0, error=lost, happened="unknown", seconds=0.3)])
    assert "  ? UNKNOWN Resume queue email" in shown
    assert "whether it took place is not known: connection reset\n" in shown
    refused = drawn([WRITE, CallFinished(WRITE.id, 1.0, 1.0, error=lost, happened="no", seconds=0.3)])
    assert "  ✗ FAILED  Resume queue email" in refused
    assert "nothing was done: connection reset" in refused


def test_ctrl_c_while_nothing_is_written_stops_at_once() -> None:
    assert drawn([Interrupted(1, 1.0, 1.0)]) == "  ! STOPPING stops now; nothing is being changed\n"


def test_each_ctrl_c_says_what_it_does() -> None:
    begun = len(drawn([WRITE]))
    shown = drawn([WRITE, *(Interrupted(level, 1.0, 1.0) for level in (1, 2, 3))])[begun:]
    assert shown == (
        "  ! STOPPING stops after this step; Ctrl-C again cancels it\n"
        "  ! STOPPING cancels what is in flight; Ctrl-C again leaves at once\n"
        "  ! STOPPING leaves; what was in flight stays unknown\n"
    )


def test_quiet_events_draw_nothing() -> None:
    events: list[Event] = [CallAbandoned("a", "b"), CancelRequested("a"), replace(QUEUES, again=True)]
    assert drawn(events) == ""
    assert "the time for the diagnosis is spent" in drawn([BudgetSpent(1.0, 1.0)])


def test_a_second_look_that_keeps_failing_is_shown_once() -> None:
    again = replace(BLOCKERS, again=True)
    other = replace(again, error={"code": "timeout", "message": "no answer"})
    shown = drawn([replace(QUEUES, step="blockers"), again, again, other, again])
    assert shown.count("connection refused") == 2 and shown.count("no answer") == 1


def test_verbose_shows_all_facts_and_inputs() -> None:
    shown = drawn([STARTED, QUEUES, replace(QUEUES, again=True)], verbose=True)
    assert "            worst.name email\n            worst.pending 5003\n" in shown
    assert "  inputs    queue none, backlog 1,000\n" in shown
    assert shown.count("Jobs wait in a queue") == 2


def test_a_live_screen_redraws_one_line_and_leaves_nothing_behind() -> None:
    stream = io.StringIO()
    screen = Screen(stream, width=80, colour=False, unicode=True, live=True, zone=UTC)
    screen.show(STARTED)
    screen.show(READ)
    for second in (1.0, 2.0, 3.0):
        screen.tick(second)
    assert stream.getvalue().endswith("\r\x1b[K  … asking: Workers make progress 3s")
    for event in EVENTS[2:]:
        screen.show(event)
    emulated = pyte.Screen(80, 80)
    pyte.Stream(emulated).feed(stream.getvalue().replace("\n", "\r\n"))
    # The ticks above ran two seconds ahead of the recorded clock, so the person seems to have thought for less.
    whole = WHOLE_RUN.replace("in 9.3s (waited 3.0s", "in 11.3s (waited 1.0s")
    assert "\n".join(line.rstrip() for line in emulated.display).rstrip("\n") + "\n" == whole


def test_nothing_is_drawn_below_a_question() -> None:
    stream = io.StringIO()
    screen = Screen(stream, width=80, colour=False, unicode=True, live=True)
    for event in (STARTED, READ, GATE):
        screen.show(event)
    before = stream.getvalue()
    screen.tick(30.0)
    assert stream.getvalue() == before


def test_a_live_screen_counts_a_verification_down() -> None:
    stream = io.StringIO()
    screen = Screen(stream, width=80, colour=False, unicode=True, live=True)
    screen.show(VerificationProgressed("unpause", "hold", True, "out_rate > 0: 3 > 0", 120.0))
    screen.tick(30.0)
    assert stream.getvalue().endswith("  … waiting hold out_rate > 0: 3 > 0, 1m 30s left")


def test_a_screen_that_is_not_live_breaks_a_long_silence_every_ten_seconds() -> None:
    stream = io.StringIO()
    screen = Screen(stream, width=80, colour=False, unicode=True, live=False)
    screen.show(READ)
    for second in range(1, 26):
        screen.tick(float(second))
    assert stream.getvalue() == "  … asking: Workers make progress 10s\n  … asking: Workers make progress 20s\n"


def test_a_pause_is_counted_down_only_when_it_is_worth_it() -> None:
    stream = io.StringIO()
    screen = Screen(stream, width=80, colour=False, unicode=True, live=True)
    screen.show(WaitRequested((), 2.0))
    assert stream.getvalue() == ""
    screen.show(WaitRequested((), 20.0, why="symptoms"))
    assert stream.getvalue() == "  … waiting, 20s left: symptoms"


def test_a_stream_that_breaks_does_not_stop_the_run() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = open(writer, "w", encoding="utf-8")  # noqa: SIM115 - closing it is what fails
    screen = Screen(stream, width=80, colour=False, unicode=True, live=False)
    for event in EVENTS:
        screen.show(event)
    screen.tick(99.0)
    assert not screen.attended
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_closed_stream_does_not_stop_the_run() -> None:
    stream = io.StringIO()
    screen = Screen(stream, width=80, colour=False, unicode=True, live=False)
    stream.close()
    screen.show(STARTED)
    assert not screen.attended


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal; its width is not known."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


COLOURFUL, LIVE = "\x1b[1m", "\x1b[K"


@pytest.mark.parametrize(
    ("environ", "colour", "live"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "xterm", "CI": "true"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False, True),
    ],
)
def test_a_terminal_is_decorated_as_its_owner_wants(environ: Mapping[str, str], colour: bool, live: bool) -> None:
    stream = FakeTerminal()
    screen = screen_for(stream, environ)
    for event in (STARTED, READ, QUEUES, CAUSES):
        screen.show(event)
    assert (COLOURFUL in stream.getvalue(), LIVE in stream.getvalue()) == (colour, live)
    assert screen.attended


@pytest.mark.parametrize(
    ("environ", "colour"), [({}, False), ({"CLICOLOR_FORCE": "1"}, True), ({"FORCE_COLOR": "0"}, False)]
)
def test_a_pipe_gets_plain_lines_unless_colour_is_forced(environ: Mapping[str, str], colour: bool) -> None:
    stream = io.StringIO()
    screen = screen_for(stream, environ)
    for event in (STARTED, READ, QUEUES):
        screen.show(event)
    assert (COLOURFUL in stream.getvalue(), LIVE in stream.getvalue()) == (colour, False)
    assert not screen.attended


@pytest.mark.parametrize(("encoding", "ascii_only"), [("utf-8", False), ("latin-1", True), ("ascii", True)])
def test_a_stream_that_has_no_unicode_gets_ascii(encoding: str, ascii_only: bool, tmp_path: Path) -> None:
    path = tmp_path / "screen"
    with path.open("w", encoding=encoding) as stream:
        screen = screen_for(stream, {})
        for event in (*EVENTS, *HOSTILE_EVENTS):
            screen.show(event)
    assert path.read_bytes().isascii() == ascii_only


def test_columns_narrow_a_terminal() -> None:
    stream = FakeTerminal()
    screen = screen_for(stream, {"TERM": "xterm", "COLUMNS": "50", "NO_COLOR": "1"})
    for event in EVENTS[:12]:
        screen.show(event)
    assert max(cells(line.split("\x1b[K")[-1]) for line in stream.getvalue().split("\n")) <= 50


@pytest.mark.parametrize(
    ("mode", "follows", "line"),
    [
        ("plan", "", "  plan      looks only; nothing will be changed\n"),
        ("undo", "R-1", "  undoes    R-1\n"),
        ("run", "R-1", "  follows   R-1\n"),
    ],
)
def test_the_header_says_what_kind_of_run_it_is(mode: Any, follows: str, line: str) -> None:
    assert line in drawn([replace(STARTED, mode=mode, follows=follows)])

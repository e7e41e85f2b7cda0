"""`# runbook: ignore[RBnnn] reason`: what it silences, what it never does, and what is told of one that is no good."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from runbook_engine.complaint_formats import FORMATS
from runbook_engine.errors import Complaint
from runbook_engine.layout import format_text
from runbook_engine.linter import summaries
from runbook_engine.profiles import weighed
from runbook_engine.validation.judging import judge
from runbook_engine.validation.mending import mend_files
from runbook_engine.validation.run import validate

HEAD = """runbook: 1
name: a
title: A playbook
targets: {redis: redis}
symptoms:
  - id: s
    redis: [LLEN, jobs]
    facts:
      n: result
"""
TAIL = "    present: n > 0\n"


def told(lines: str, tail: str = TAIL) -> list[tuple[int, int, str, str]]:
    """Line, column, code and the reason why it is ignored, of everything said of a playbook with these facts."""
    found = judge("a.yaml", (HEAD + lines + tail).encode(), {})
    return [(each.line, each.column, each.code, each.ignored) for each in found]


def test_a_comment_on_the_line_silences_what_it_names() -> None:
    assert told("      m: result  # runbook: ignore[RB220] the report shows it\n") == [
        (10, 7, "RB220", "the report shows it")
    ]


def test_a_comment_alone_is_about_the_next_line_that_is_none() -> None:
    comments = "      # runbook: ignore[RB220] shown in the report\n      # and in the mail\n\n"
    lines = f"{comments}      m: result\n      o: result\n"
    assert told(lines) == [(13, 7, "RB220", "shown in the report"), (14, 7, "RB220", "")]


def test_one_comment_may_name_several_codes() -> None:
    tail = f"{TAIL}causes: [{{id: c, needs: n > 1}}]  # runbook: ignore[RB511, RB510] known\n"
    assert told("", tail) == [(11, 15, "RB511", "known"), (11, 59, "RB621", "")]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# runbook: ignore[RB220]", [(10, 7, "RB220", ""), (10, 17, "RB620", "")]),
        ("# runbook: ignore", [(10, 7, "RB220", ""), (10, 17, "RB620", "")]),
        ("# runbook: ignore RB220 why", [(10, 7, "RB220", ""), (10, 17, "RB620", "")]),
        ("# runbook: ignore[] why", [(10, 7, "RB220", ""), (10, 17, "RB620", "")]),
        ("# runbook: ignore[RB999] why", [(10, 7, "RB220", ""), (10, 35, "RB620", "")]),
        ("# runbook: ignore[RB202] why", [(10, 7, "RB220", ""), (10, 35, "RB620", "")]),
        ("# runbook: ignore[RB621] why", [(10, 7, "RB220", ""), (10, 35, "RB620", "")]),
        ("# runbook: ignore[RB221] why", [(10, 7, "RB220", ""), (10, 35, "RB621", "")]),
        ("# runbook: ignore[rb220]: why", [(10, 7, "RB220", "why")]),
        ("#runbook:ignore[RB220] why", [(10, 7, "RB220", "why")]),
        ("# see runbook: ignore[RB220] why", [(10, 7, "RB220", "")]),
    ],
)
def test_an_ignore_that_is_no_good_is_told_at_its_place(comment: str, expected: list[Any]) -> None:
    assert told(f"      m: result {comment}\n") == expected


def test_an_error_is_never_silenced_and_that_is_said() -> None:
    found = judge("a.yaml", (HEAD + "    present: m > 0  # runbook: ignore[RB202] it works\n").encode(), {})
    assert [(each.line, each.code, each.severity, each.ignored) for each in found] == [
        (10, "RB202", "error", ""),
        (10, "RB620", "warning", ""),
    ]
    assert "it is an error, and the playbook would not be run" in found[1].message


def test_text_that_looks_like_a_comment_is_none() -> None:
    tail = 'about: |\n  write # runbook: ignore[RB999]\nnotes: "# runbook: ignore[RB998]"\n'
    assert told("", TAIL + tail) == []


def test_an_ignore_where_a_text_begins_is_about_all_of_it() -> None:
    step = """diagnosis:
  - id: d
    effect: read
    shell: |  # runbook: ignore[RB417] these hosts are all alike
      true
      stat -c %s /var/log/messages
    facts: {size: stdout}
"""
    assert told("", f"{TAIL}{step}causes: [{{id: c, needs: size != '', advice: look}}]\n") == [
        (16, 7, "RB417", "these hosts are all alike")
    ]


SILENCED = HEAD + "      m: result  # runbook: ignore[RB220] shown in the report\n" + TAIL


def test_fmt_keeps_the_comment_and_what_it_silences() -> None:
    made = format_text("\n".join(SILENCED.split("\n")).replace("targets: ", "targets:   "), "a.yaml")
    assert [each.ignored for each in judge("a.yaml", made.encode(), {})] == ["shown in the report"]


def test_fix_leaves_what_is_ignored_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SILENCED.replace("present", "presnt"))
    list(mend_files([str(path)], {"HOME": str(tmp_path)}, write=True))
    assert path.read_text() == SILENCED


@pytest.fixture
def checked(tmp_path: Path) -> dict[str, list[Complaint]]:
    (tmp_path / "a.yaml").write_text(SILENCED)
    return validate([str(tmp_path / "a.yaml")], {"HOME": str(tmp_path)}, BytesIO(), cached=False)


@pytest.mark.parametrize("shape", ["text", "concise", "github"])
def test_what_is_ignored_is_not_shown(checked: dict[str, list[Complaint]], shape: str) -> None:
    assert FORMATS[shape](checked, {}) == ""


def test_programs_do_not_see_it_but_code_scanning_learns_why(checked: dict[str, list[Complaint]]) -> None:
    assert FORMATS["json"](checked, {}) == "[]"
    assert "RB220" not in FORMATS["junit"](checked, {})
    (result,) = json.loads(FORMATS["sarif"](checked, summaries()))["runs"][0]["results"]
    assert result["suppressions"] == [{"kind": "inSource", "justification": "shown in the report"}]


def test_no_profile_makes_an_error_of_what_is_ignored() -> None:
    ignored = Complaint("x", 1, 1, "no verify", "RB410", "", "warning", "the next step verifies")
    assert [weighed([ignored], profile) for profile in ("default", "basic", "production")] == [[ignored]] * 3


def test_what_is_remembered_knows_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SILENCED)
    runs = [validate([str(tmp_path / "a.yaml")], {"HOME": str(tmp_path)}, BytesIO()) for _ in range(2)]
    assert runs[0] == runs[1]
    assert [each.ignored for found in runs[1].values() for each in found] == ["shown in the report"]


# Several playbooks for one alert


def asking(name: str, alert: str, comment: str = "") -> str:
    return f"{HEAD}{TAIL}alerts:\n  - {alert}{comment}\n".replace("name: a\n", f"name: {name}\n")


def together(folder: Path, *texts: str) -> list[tuple[str, int, int, str, str]]:
    for index, text in enumerate(texts):
        (folder / f"{index}.yaml").write_text(text)
    names = [str(folder / f"{index}.yaml") for index in range(len(texts))]
    runs = [validate(names, {"HOME": str(folder)}, BytesIO()) for _ in range(2)]
    assert runs[0] == runs[1]
    return [
        (Path(each.path).name, each.line, each.column, each.code, each.ignored)
        for found in runs[1].values()
        for each in found
    ]


def test_two_playbooks_that_ask_for_the_same_alert_are_told_at_both_places(tmp_path: Path) -> None:
    one, other = asking("one", "{alertname: X, severity: page}"), asking("other", "{severity: page, alertname: X}")
    assert together(tmp_path, one, other) == [("0.yaml", 12, 5, "RB630", ""), ("1.yaml", 12, 5, "RB630", "")]


def test_a_more_specific_playbook_or_the_same_one_is_no_rival(tmp_path: Path) -> None:
    assert together(tmp_path, asking("one", "{alertname: X}"), asking("other", "{alertname: X, queue: mail}")) == []
    assert together(tmp_path, asking("one", "{alertname: X}"), asking("one", "{alertname: X}")) == []


def test_rivals_may_be_meant(tmp_path: Path) -> None:
    one = asking("one", "{alertname: X}", "  # runbook: ignore[RB630] both are wanted")
    assert together(tmp_path, one, asking("other", "{alertname: X}")) == [
        ("0.yaml", 12, 5, "RB630", "both are wanted"),
        ("1.yaml", 12, 5, "RB630", ""),
    ]

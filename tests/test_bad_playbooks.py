"""Every file of tests/bad begins with what is complained of: `# line:column code beginning of the message`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runbook_engine.commands.shellcheck import installed
from runbook_engine.errors import Complaint
from runbook_engine.validation.judging import judge

BAD = Path(__file__).parent / "bad"
EXPECTED = re.compile(r"# (\d+):(\d+) (RB\d{3}) (.+)")


def expected(text: str) -> list[tuple[int, int, str, str]]:
    found = []
    for line in text.splitlines():
        match = EXPECTED.fullmatch(line)
        if match is None:
            break
        found.append((int(match[1]), int(match[2]), match[3], match[4]))
    return found


def complaints(name: str, text: str) -> list[Complaint]:
    """What is said of it, without what only shellcheck finds, except in the files that are for it."""
    if name.startswith("shellcheck") and installed() is None:
        pytest.skip("shellcheck is not installed")
    found = judge(name, text.encode(), {})
    return [item for item in found if item.code != "RB416" or name.startswith("shellcheck")]


@pytest.mark.parametrize("name", sorted(path.name for path in BAD.glob("*.yaml")))
def test_each_broken_playbook_gets_exactly_the_complaints_it_names(name: str) -> None:
    text = (BAD / name).read_text(encoding="utf-8")
    made = [(item.line, item.column, item.code, item.message) for item in complaints(name, text)]
    wanted = expected(text)
    assert wanted
    assert [item[:3] for item in made] == [item[:3] for item in wanted]
    for item, want in zip(made, wanted, strict=True):
        assert item[3].startswith(want[3])


@pytest.mark.parametrize("name", sorted(path.name for path in BAD.glob("*.yaml")))
def test_each_complaint_shows_the_line_and_a_caret_and_begins_in_lower_case(name: str) -> None:
    text = (BAD / name).read_text(encoding="utf-8")
    for complaint in complaints(name, text):
        shown, caret = complaint.snippet.split("\n")
        assert shown.startswith(f"{complaint.line:5} | ")
        assert caret.rstrip().endswith("^")
        assert not re.match(r"[A-Z][a-z]", complaint.message)

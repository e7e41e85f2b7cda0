"""The page of every code: its wrong example is complained of by exactly that code, its right one by none."""

from __future__ import annotations

import pytest

from runbook_engine.commands.shellcheck import installed
from runbook_engine.explaining import PAGES, pages, whole
from runbook_engine.linter import rules, summaries
from runbook_engine.validation.judging import judge

# What does not stand in a playbook, or cannot be shown on a page.
WITHOUT = {"RB001", "RB002", "RB009", "RB010", "RB012", "RB630"}
SHOWN = sorted(summaries().keys() - WITHOUT)


def codes(example: str) -> set[str]:
    return {each.code for each in judge("example.yaml", whole(example).encode(), {}) if not each.ignored}


@pytest.mark.parametrize("code", SHOWN)
def test_the_wrong_example_is_complained_of_by_its_code_and_by_no_other(code: str) -> None:
    if code == "RB416" and installed() is None:
        pytest.skip("shellcheck is not installed")
    assert codes(pages()[code].bad) == {code}


@pytest.mark.parametrize("code", SHOWN)
def test_the_right_example_is_not_complained_of(code: str) -> None:
    assert codes(pages()[code].good) == set()


def test_every_code_has_a_page_that_says_why_and_no_page_is_left_over() -> None:
    found = pages()
    assert found.keys() == summaries().keys()
    assert all(len(page.why) > 40 and (page.why[0].isupper() or page.why[0] == "`") for page in found.values())
    assert {code for code, page in found.items() if not page.bad} == WITHOUT
    own = {rule.CODE for rule in rules()}
    assert {path.stem for path in PAGES.glob("*.md")} == found.keys() - own

"""`runbook fmt`: one layout, the same meaning, every comment, and nothing to do the second time."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Place
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook_engine.errors import PlaybookError
from runbook_engine.layout import format_text
from runbook_engine.layout.tree import comments
from runbook_engine.loading import yaml_reader

ROOT = Path(__file__).parent.parent
SHIPPED = sorted([*(ROOT / "playbooks").rglob("*.yaml"), *(ROOT / "examples").rglob("*.yaml")])
BAD = sorted((ROOT / "tests" / "bad").rglob("*.yaml"))

UNTIDY = """\
# first
name:   untidy     # the name
runbook: 1

\x20

title: "Untidy"
symptoms:
# above the step
- title: Look
  id: 'look'
  sql: |
      select 1\x20\x20\x20
        as n

  # of the facts
  facts: {n:   row.n,m: [1,2]}
  present: n > 1
      # deep, and the step's own
- present: f
  id: second
  facts:
      b: 1
      a: b
      f: false
  redis: [ PING ]
"""
TIDY = """\
# first
runbook: 1
name: untidy     # the name

title: Untidy
symptoms:
  # above the step
  - id: look
    title: Look
    sql: |
      select 1\x20\x20\x20
        as n

    # of the facts
    facts: {n: row.n, m: [1, 2]}
    present: n > 1
        # deep, and the step's own

  - id: second
    redis: [PING]
    facts:
      b: 1
      a: b
      f: false
    present: f
"""


def value(text: str) -> Any:
    return yaml_reader.plain(yaml_reader.read(text, "x"))


def test_a_file_that_grew_by_itself_is_put_in_order() -> None:
    assert format_text(UNTIDY, "x") == TIDY


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_we_ship_is_in_the_layout(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_text(text, str(path)) == text, "run: runbook fmt playbooks examples"


@pytest.mark.parametrize("path", [*SHIPPED, *BAD], ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.parametrize("disorder", ["as it is", "wider", "flush lists", "blanks"])
def test_meaning_and_comments_stay_and_the_second_time_nothing_changes(path: Path, disorder: str) -> None:
    try:
        text = disordered(path.read_text(encoding="utf-8"), disorder)
        before = value(text)
    except (PlaybookError, UnicodeDecodeError):
        return  # no YAML, or none after what was done to it: nothing is promised
    made = format_text(text, str(path))
    assert value(made) == before
    assert Counter(comments(made)) == Counter(comments(text))
    assert format_text(made, str(path)) == made
    if disorder == "blanks" and path in SHIPPED:
        assert "\n\n\n" not in made


def disordered(text: str, how: str) -> str:
    match how:
        case "wider":  # every level twice as deep
            deeper = re.sub(r"(?m)^( +)", lambda found: found[1] * 2, text)
            return re.sub(r"(?m)^( *)- (?=\S)", r"\1-   ", deeper)
        case "flush lists":
            return re.sub(r"(?m)^  ", "", text)
        case "blanks":
            return text.replace("\n\n", "\n\n\n\n")
    return text


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_whose_levels_were_made_deeper_comes_back_as_it_was(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    made = format_text(disordered(text, "wider"), str(path))
    assert [line.split() for line in made.splitlines()] == [line.split() for line in text.splitlines()]
    levels = r"(?m)^ *(?:- )?(?:id|title|facts|verify|symptoms|about|cases|name): "
    assert re.findall(levels, made) == re.findall(levels, text) != []


def test_facts_and_inputs_are_never_moved_among_each_other() -> None:
    made = format_text(UNTIDY, "x")
    assert made.index("b: 1") < made.index("a: b") < made.index("f: false")


def test_an_alias_stays_behind_its_anchor() -> None:
    text = "runbook: 1\nsymptoms:\n  - facts: &all\n      a: 1\n    with: *all\n    id: one\n"
    made = format_text(text, "x")
    assert value(made) == value(text) and made.index("&all") < made.index("*all")
    assert made.index("id: one") > made.index("*all")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("a: 'no'\n", "a: 'no'\n"),
        ('a: "1"\n', 'a: "1"\n'),
        ('a: "plain words"\n', "a: plain words\n"),
        ('a: "x: y"\n', 'a: "x: y"\n'),
        ('a: "${{ x }}"\n', 'a: "${{ x }}"\n'),
        ('a: {b: "x"}\n', "a: {b: x}\n"),
        ('a: {b: "two words"}\n', 'a: {b: "two words"}\n'),
        ("a: [  1,2 ,3  ]\n", "a: [1, 2, 3]\n"),
        ("a: { }\n", "a: {}\n"),
        ("a: [x, ]\n", "a: [x]\n"),
        ("a: {b: ,c: }\n", "a: {b: , c: }\n"),
        ("a:\n    b\n", "a: b\n"),
        ("a:   # why\n    b\n", "a:   # why\n  b\n"),
        ("a:\n\n\n  b: 1\n", "a:\n  b: 1\n"),
        ("a: |2\n    x\n   y\n", "a: |2\n    x\n   y\n"),
        ("a:\n   b: |+\n      x\n\n\n   c: 1\n", "a:\n  b: |+\n    x\n\n\n  c: 1\n"),
        ("- 1\n-   - 2\n    - 3\n", "- 1\n- - 2\n  - 3\n"),
        ("a:\n- b\n-\n- c\n", "a:\n  - b\n  -\n  - c\n"),
        ('a: "x\n      y"\n', 'a: "x\n      y"\n'),
        ("a: 1 # c\n\n\n# end\n\n\n", "a: 1 # c\n\n# end\n"),
        ("a: 1", "a: 1\n"),
        ("'-': [x]\n? b\n: - c\n", "'-': [x]\nb:\n  - c\n"),
        ("a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n"),
        ("---\na: 1\n", "---\na: 1\n"),
        ("a: {b: 1,\n   c: 2}\n", "a: {b: 1,\n   c: 2}\n"),
    ],
)
def test_each_turn_of_yaml_has_its_layout(written: str, wanted: str) -> None:
    assert format_text(written, "x") == wanted


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp", "Cn"]), max_size=20)
SCALARS = st.one_of(
    WORDS, st.booleans(), st.none(), st.integers(-999, 999), st.sampled_from(["no", "a: b", "x\ny\n", "# c"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.sampled_from([None, True, False]), st.integers(2, 7), st.sampled_from([30, 80, 2000]))
def test_whatever_yaml_says_it_says_the_same_in_the_layout(
    made_up: Any, flow: bool | None, indent: int, width: int
) -> None:
    document = {"runbook": 1, "symptoms": [{"present": "x", "facts": made_up, "id": "a"}], "rest": made_up}
    text = yaml.safe_dump(
        document, default_flow_style=flow, indent=indent, width=width, allow_unicode=True, sort_keys=False
    )
    try:
        before = value(text)
    except PlaybookError:
        return  # what PyYAML writes and our strict reader does not take
    after = format_text(text, "x")
    assert value(after) == before and format_text(after, "x") == after


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:- #{}[],|>'\"&*!\n\t ?", max_size=60))
def test_no_text_raises_anything_but_a_complaint(text: str) -> None:
    try:
        made = format_text(text, "x")
    except PlaybookError:
        return
    assert value(made) == value(text) and format_text(made, "x") == made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "work"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "playbooks" / "untidy.yaml").write_text(UNTIDY)
    return Place(folder, tmp_path / "state")


def test_the_command_checks_shows_and_writes(place: Place) -> None:
    file = place.folder / "playbooks" / "untidy.yaml"
    file.chmod(0o640)
    (place.folder / "playbooks" / "other.yml").write_text("services:   {a: 1}\n")
    checked = place.run("fmt", "--check")
    assert (checked.code, checked.stdout) == (1, "playbooks/untidy.yaml\n") and file.read_text() == UNTIDY
    shown = place.run("fmt", "playbooks", "--diff")
    assert shown.code == 0 and '-title: "Untidy"' in shown.stdout and file.read_text() == UNTIDY
    done = place.run("fmt", "playbooks")
    assert done.code == 0 and "1 formatted, 0 broken, of 1 files" in done.stderr
    assert file.read_text() == format_text(UNTIDY, "x") and file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []
    assert (place.run("fmt", "--check").code, (place.folder / "playbooks" / "other.yml").read_text()) == (
        0,
        "services:   {a: 1}\n",
    )


def test_what_is_broken_is_told_with_its_place_and_left_alone(place: Place) -> None:
    broken = place.folder / "playbooks" / "broken.yaml"
    broken.write_text("runbook: 1\nname: [\n")
    done = place.run("fmt")
    assert done.code == 65 and "playbooks/broken.yaml:3:1: RB0" in done.stderr and "Traceback" not in done.said
    assert broken.read_text() == "runbook: 1\nname: [\n" and "1 formatted, 1 broken, of 2 files" in done.stderr
    assert place.run("fmt", "nowhere.yaml").code == 2


def test_standard_input_goes_to_standard_output(place: Place) -> None:
    done = place.run("-c", "runbook fmt - < playbooks/untidy.yaml", program="sh", PATH=_path())
    assert done.code == 0 and done.stdout == format_text(UNTIDY, "x")


def _path() -> str:
    import os
    import sys

    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"

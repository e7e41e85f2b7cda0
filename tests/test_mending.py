"""`validate --fix`: what has exactly one right mend is mended, all else stays byte for byte."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from commands import Place
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook_engine.mends import mends
from runbook_engine.validation.judging import judge
from runbook_engine.validation.mending import mend_files
from runbook_engine.validation.text import nearest, slips

BAD = Path(__file__).parent / "bad"
SOUND = """runbook: 1
name: sound
title: A sound playbook # with a comment
targets: {db: postgres, redis: redis}
inputs: {queue: {type: string, default: default}}
symptoms:
  - id: waiting
    sql: select count(*) as n from jobs where queue = %(queue)s
    facts: {n: row.n}   # how many
    present: n > 0
causes:
  - id: stuck
    needs: n > 10
    weight: decisive
    fix: [mend]
resolution:
  - id: mend
    title: Resume
    effect: disruptive
    impact: {count: n, of: jobs}
    redis: [DEL, key]
    limit: {affected: 1}
    verify: {until: n == 0, within: 15s}
"""

# what is changed in the sound playbook, and what the mend makes of it where that is not what it was
MISTAKES = [
    ("title: A sound", "titel: A sound", None),
    ("    present:", "    presnt:", None),
    ("verify: {until", "verfiy: {until", None),
    ("within: 15s", "witin: 15s", None),
    ("    fix: [mend]", "    fix: [mned]", None),
    ("effect: disruptive", "effect: Disruptive", None),
    ("effect: disruptive", "effect: DISRUPTIVE", None),
    ("effect: disruptive", 'effect: "disruptve"', 'effect: "disruptive"'),
    ("weight: decisive", "weight: Decisive", None),
    ("type: string", "type: String", None),
    ("needs: n > 10", "needs: n = 10", "needs: n == 10"),
    ("needs: n > 10", "needs: n = 10 && n < 20 || n = 30", "needs: n == 10 and n < 20 or n == 30"),
    ("needs: n > 10", "needs: n > 10&&n < 20", "needs: n > 10 and n < 20"),
    ("needs: n > 10", 'needs: "!(n > 10)"', 'needs: "not (n > 10)"'),
    ("present: n > 0", "present: yes", "present: true"),
    ("present: n > 0", "present: Off # never", "present: false # never"),
    ("title: A sound playbook #", "title: Broken: a playbook #", 'title: "Broken: a playbook" #'),
    ("title: Resume", "title: 42", 'title: "42"'),
    ("title: Resume", "title: {{ n }}", 'title: "${{ n }}"'),
    ("title: Resume", "title:Resume", "title: Resume"),
    ("- id: mend", "- id:mend", "- id: mend"),
    ("needs: n > 10", "needs: 'a' != 'b'", "needs: \"'a' != 'b'\""),
    ("facts: {n: row.n}", "facts: {n: rows[0].n}", 'facts: {n: "rows[0].n"}'),
    ("redis: [DEL, key]", "redis: [DEL, ${{ queue }}]", 'redis: [DEL, "${{ queue }}"]'),
    (
        "redis: [DEL, key]",
        "redis: {script: return 1, args: [${{ n }}]}",
        'redis: {script: return 1, args: ["${{ n }}"]}',
    ),
    ("= %(queue)s", "= '${{ queue }}'", None),
    ("= %(queue)s", "= ${{ queue }}", None),
    ("    sql: select", "\tsql: select", None),
    (
        "    facts: {n: row.n}   # how many\n",
        "\tfacts:\n\t\tn: row.n   # how many\n",
        "    facts:\n        n: row.n   # how many\n",
    ),
]

# more than one mend could be right, or none is ours to make
LEFT_ALONE = [
    ("title: A sound", "tidal wave: A sound"),  # near to nothing
    ("= %(queue)s", "like '%${{ queue }}%'"),  # part of a longer text
    ("    fix: [mend]", "    fix: [something-else]"),
    ("needs: n > 10", "needs: n === 10"),
    ("effect: disruptive", "effect: harmless"),
    ("present: n > 0", "present: m > 0"),  # a name: what was meant is not ours to say
    ("title: Resume", "title: {{ n }} jobs"),
    ("present: n > 0", "present: 'a' != 'b' # c"),
    ("title: A sound playbook # with a comment\n", "title: A\ntitle: B\n"),
]


def mended(folder: Path, text: str) -> tuple[str, list[str]]:
    """The text after a mend, and the lines that were shown of it."""
    path = folder / "x.yaml"
    path.write_bytes(text.encode())
    shown = list(mend_files([str(path)], {"HOME": str(folder)}, write=True))
    return path.read_bytes().decode(), shown


def count(text: str) -> int:
    return len(judge("x.yaml", text.encode(), {}))


def test_the_sound_playbook_is_sound() -> None:
    assert [str(each) for each in judge("x.yaml", SOUND.encode(), {})] == []


@pytest.mark.parametrize(("good", "bad", "wanted"), MISTAKES, ids=lambda item: str(item)[:40])
def test_a_mistake_with_one_right_mend_is_mended_and_nothing_else_is_touched(
    tmp_path: Path, good: str, bad: str, wanted: str | None
) -> None:
    broken = SOUND.replace(good, bad, 1)
    assert broken != SOUND and count(broken)
    after, shown = mended(tmp_path, broken)
    assert after == SOUND.replace(good, wanted if wanted is not None else good, 1)
    assert any(line.startswith("+") for line in shown)


@pytest.mark.parametrize(("good", "bad", "wanted"), MISTAKES, ids=lambda item: str(item)[:40])
def test_line_ends_stay_what_they_are(tmp_path: Path, good: str, bad: str, wanted: str | None) -> None:
    broken, right = (
        SOUND.replace(good, each if each is not None else good, 1).replace("\n", "\r\n") for each in (bad, wanted)
    )
    assert mended(tmp_path, broken)[0] == right


@pytest.mark.parametrize(("good", "bad"), LEFT_ALONE, ids=lambda item: item[:40])
def test_what_could_be_mended_in_two_ways_is_left_alone(tmp_path: Path, good: str, bad: str) -> None:
    broken = SOUND.replace(good, bad, 1)
    assert broken != SOUND
    assert mended(tmp_path, broken) == (broken, [])


SHELL = (
    SOUND.replace("db: postgres", "db: postgres, box: local")
    + """diagnosis:
  - id: look
    shell: |
      grep SCRIPT /var/log/worker.log
    effect: read
    facts: {found: exit_code}
"""
)


@pytest.mark.parametrize("written", ["${{ queue }}", '"${{ queue }}"', "'${{ queue }}'"])
def test_a_template_in_a_script_becomes_a_variable_that_is_given(tmp_path: Path, written: str) -> None:
    after, _ = mended(tmp_path, SHELL.replace("SCRIPT", written))
    wanted = SHELL.replace("SCRIPT", '"$queue"').replace(
        "    shell: |", '    with: {queue: "${{ queue }}"}\n    shell: |'
    )
    assert after == wanted
    assert all(each.severity == "warning" for each in judge("x.yaml", after.encode(), {}))


@pytest.mark.parametrize("written", ["= ${{ queue | lower }}", "= '${{ queue | lower }}'"])
def test_an_expression_in_sql_is_bound_by_a_with_of_its_own(tmp_path: Path, written: str) -> None:
    after, _ = mended(tmp_path, SOUND.replace("= %(queue)s", written))
    given = '    with: {value: "${{ queue | lower }}"}\n    sql:'
    assert after == SOUND.replace("= %(queue)s", "= %(value)s").replace("    sql:", given)
    assert count(after) == 0


def test_a_with_that_is_there_is_not_changed(tmp_path: Path) -> None:
    broken = SOUND.replace("= %(queue)s", "= %(x)s and ${{ queue | lower }}").replace(
        "    sql:", "    with: {x: 1}\n    sql:"
    )
    assert mended(tmp_path, broken) == (broken, [])


@pytest.mark.parametrize("written", ['"a ${{ queue }} b"', "'a ${{ queue }}'"])
def test_a_template_inside_of_a_longer_text_of_a_script_is_left_alone(tmp_path: Path, written: str) -> None:
    broken = SHELL.replace("SCRIPT", written)
    assert mended(tmp_path, broken) == (broken, [])


def test_many_mistakes_are_mended_in_one_go(tmp_path: Path) -> None:
    broken = SOUND
    for good, bad, _ in (MISTAKES[0], MISTAKES[1], MISTAKES[4], MISTAKES[5]):
        broken = broken.replace(good, bad, 1)
    assert mended(tmp_path, broken)[0] == SOUND


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_broken_playbook_gets_worse_and_a_second_mend_finds_nothing(tmp_path: Path, path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if "\udc80" <= max(text) <= "\udcff":
        return
    before = judge("x.yaml", path.read_bytes(), {})
    after, shown = mended(tmp_path, text)
    left = judge("x.yaml", after.encode(), {})
    hidden = any(int(each.code[2:]) < 110 for each in before)
    assert (after != text) == bool(shown)
    errors = [sum(each.severity == "error" for each in found) for found in (left, before)]
    assert errors[0] <= errors[1] or hidden  # warnings are told only of what has no error
    assert mended(tmp_path, after) == (after, [])


def test_every_kind_of_mend_is_tried_here() -> None:
    used = set()
    for good, bad, _ in MISTAKES:
        broken = SOUND.replace(good, bad, 1)
        codes = {each.code for each in judge("x.yaml", broken.encode(), {})}
        used |= {each.__name__.rpartition(".")[2] for each in mends() if codes & each.CODES}  # type: ignore[attr-defined]
    names = {each.__name__.rpartition(".")[2] for each in mends()}  # type: ignore[attr-defined]
    assert names - used <= {"byte_order_marks"}


def test_a_byte_order_mark_is_taken_away(tmp_path: Path) -> None:
    assert mended(tmp_path, f"\ufeff{SOUND}")[0] == SOUND


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(SOUND) - 1), st.sampled_from(["", " ", "\t", ":", "'", '"', "x", "{{", "}", "\n", "#", "-"]))
def test_whatever_slips_in_nothing_gets_worse(tmp_path_factory: pytest.TempPathFactory, at: int, slip: str) -> None:
    broken = SOUND[:at] + slip + SOUND[at + 1 :]
    before = judge("x.yaml", broken.encode(), {})
    after, _ = mended(tmp_path_factory.mktemp("slip"), broken)
    left = judge("x.yaml", after.encode(), {})
    hidden = any(int(each.code[2:]) < 110 for each in before if each.severity == "error")
    errors = [sum(each.severity == "error" for each in found) for found in (before, left)]
    assert hidden or errors[1] <= errors[0]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("titel", ["title", "targets"], "title"),
        ("Reversible", ["reversible", "read"], "reversible"),
        ("tiemout", ["timeout", "times"], "timeout"),
        ("for", ["fix", "form"], "form"),
        ("cat", ["car", "cap"], None),
        ("abcd", ["wxyz"], None),
        ("", ["a", "b"], None),
    ],
)
def test_the_nearest_word_is_one_that_no_other_rivals(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_slips_are_symmetric_and_none_only_for_the_same_word(one: str, other: str) -> None:
    assert slips(one, other, 9) == slips(other, one, 9)
    assert (slips(one, other, 9) == 0) == (one == other)


def test_the_mode_and_a_link_stay_and_nothing_is_left_behind(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text(SOUND.replace("titel", "title").replace("title: A", "titel: A"))
    real.chmod(0o640)
    (tmp_path / "link.yaml").symlink_to(real)
    place = Place(tmp_path, tmp_path / "state", {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    done = place.run("validate", "--fix", "link.yaml")
    assert done.code == 0 and "+title: A sound" in done.stdout, done.said
    assert real.read_text() == SOUND and (tmp_path / "link.yaml").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "link.yaml", "real.yaml"]


def test_a_difference_that_is_only_shown_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    broken = SOUND.replace("title: A", "titel: A")
    path.write_text(broken)
    before = path.stat().st_mtime_ns
    place = Place(tmp_path, tmp_path / "state", {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    for words in (["--diff"], ["--fix", "--diff"]):
        done = place.run("validate", *words, "x.yaml")
        assert done.code == 65 and "+title: A sound" in done.stdout
        assert path.read_text() == broken and path.stat().st_mtime_ns == before
    asked = place.run("validate", "--diff", "--format", "json", "x.yaml")
    assert "RB101" in {each["code"] for each in asked.document} and "+title: A sound" in asked.stderr


@pytest.mark.parametrize(
    ("broken", "right"),
    [
        ("library: l\nprobes:\n  p: {redis: [PING], fcts: {ok: result}}\n", "facts"),
        ("cases: x\ntests:\n  - {name: n, expct: {outcome: fixed}}\n", "expect"),
        ("environments:\n  e: {polcy: {most: read}}\n", "policy"),
        ("environments:\n  e: {policy: {most: Read}}\n", "read"),
    ],
)
def test_the_other_kinds_of_file_are_mended_too(tmp_path: Path, broken: str, right: str) -> None:
    after, _ = mended(tmp_path, broken)
    assert right in after and count(after) == 0


HOSTILE = {
    "spaces": "title: {{" + " " * 1500 + "\nx: }",
    "a long line": "runbook: 1\ntitle: {{ " + "a " * 400_000 + "}}\n",
    "many tabs": "runbook: 1\n" + "\tx: 1\n" * 20_000,
    "many keys": "runbook: 1\n" + "".join(f"titel{n}: 1\n" for n in range(2000)),
    "many colons": "runbook: 1\n" + "".join(f"k{n}: a: b\n" for n in range(3000)),
    "deep": "runbook: " + "[" * 5000,
    "a bomb": "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"k{n}: &k{n} [{'*a,' * 9}]\n" for n in range(50)),
    "nothing": "",
    "lines of carriage returns": "runbook: 1\r\r\rtitel: x\r",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_given_up_after_bounded_work(tmp_path: Path, name: str) -> None:
    after, shown = mended(tmp_path, HOSTILE[name])
    assert (after != HOSTILE[name]) == bool(shown)


def test_standard_input_cannot_be_mended(tmp_path: Path) -> None:
    refused = Place(tmp_path, tmp_path / "state").run("validate", "--fix", "-")
    assert refused.code == 2 and "standard input cannot be mended" in refused.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(SOUND.replace("title: A", "titel: A"))
    tmp_path.chmod(0o500)
    try:
        done = Place(tmp_path, Path("/nonexistent")).run("validate", "--fix", "x.yaml")
    finally:
        tmp_path.chmod(0o700)
    assert done.code == 2 and "cannot be written" in done.stderr

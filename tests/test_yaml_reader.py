"""What the reader takes, what it refuses and where, and that nothing makes it raise anything else."""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_engine.errors import Complaint, PlaybookError
from runbook_engine.loading.yaml_reader import Mapping, Scalar, Sequence, plain, position_inside, read


def value(text: str | bytes) -> Any:
    return plain(read(text, "a.yaml"))


def complaints(text: str | bytes) -> tuple[Complaint, ...]:
    with pytest.raises(PlaybookError) as caught:
        read(text, "a.yaml")
    return caught.value.complaints


def only(text: str | bytes) -> tuple[int, int, str]:
    (complaint,) = complaints(text)
    return complaint.line, complaint.column, complaint.code


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("5", 5),
        ("-17", -17),
        ("0x1f", 31),
        ("0o17", 15),
        ("3.10", 3.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("012", "012"),
        ("1_000", "1_000"),
        ("22:22", "22:22"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("'5'", "5"),
        ('"true"', "true"),
        ("5m", "5m"),
        ("123456789012345678", 123456789012345678),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2_and_everything_else_is_text(written: str, meant: Any) -> None:
    found = value(f"a: {written}")["a"]
    assert found == meant
    assert type(found) is type(meant)


def test_every_node_and_key_knows_its_line_and_column() -> None:
    root = read("a: 1\nb:\n  - x\n  - {c: 'y'}\n", "a.yaml")
    assert isinstance(root, Mapping)
    assert (root.keys["b"].line, root.keys["b"].column) == (2, 1)
    items = root.value["b"]
    assert isinstance(items, Sequence)
    assert [(item.line, item.column) for item in items.value] == [(3, 5), (4, 5)]
    inner = items.value[1]
    assert isinstance(inner, Mapping)
    assert (inner.value["c"].line, inner.value["c"].column) == (4, 9)


def test_an_alias_is_a_copy_as_data_and_the_anchor_as_a_place() -> None:
    root = read("a: &x [1]\nb: *x\n", "a.yaml")
    data = plain(root)
    data["a"].append(2)
    assert data["b"] == [1]
    assert isinstance(root, Mapping)
    assert root.value["b"].line == 1


def test_a_position_inside_a_literal_block_counts_its_lines_and_its_indentation() -> None:
    text = "sql: |\n\n    select 1\n      from x\n"
    root = read(text, "a.yaml")
    assert isinstance(root, Mapping)
    node = root.value["sql"]
    assert isinstance(node, Scalar)
    assert position_inside(node, text.split("\n"), node.text.index("from")) == (4, 7)


@pytest.mark.parametrize(
    ("text", "column"),
    [("a: one two", 8), ("a: 'one two'", 9), ('a: "one two"', 9), ("a: 'it''s two'", 4), ('a: "\\x6fne two"', 4)],
)
def test_a_position_inside_a_line_is_exact_or_the_beginning_of_the_scalar(text: str, column: int) -> None:
    root = read(text, "a.yaml")
    assert isinstance(root, Mapping)
    node = root.value["a"]
    assert isinstance(node, Scalar)
    assert position_inside(node, text.split("\n"), node.text.index("two")) == (1, column)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffa: 1", (1, 1, "RB001")),
        (b"\xef\xbb\xbfa: 1", (1, 1, "RB001")),
        (b"a: 1\nb: \xff", (2, 4, "RB001")),
        ("a: 1\nb: x\x07", (2, 5, "RB001")),
        ("a: \0", (1, 4, "RB001")),
        ("a: x\u2028y", (1, 5, "RB001")),
        ("a: x\u202ey", (1, 5, "RB001")),
        ("a: \ud800", (1, 4, "RB001")),
        ('a: "x\\0"', (1, 4, "RB001")),
        ("", (1, 1, "RB009")),
        ("# only a comment\n", (1, 1, "RB009")),
        ("[" * 100_000, (1, 65, "RB002")),
        ("- " * 100, (1, 129, "RB002")),
        ("a: " + "9" * 5000, (1, 4, "RB008")),
        ("a: " + "x" * 70_000, (1, 4, "RB002")),
        ("x" * (1024 * 1024 + 1), (1, 1, "RB002")),
        ("a: 1e999", (1, 4, "RB008")),
        ("a: .nan", (1, 4, "RB008")),
        ("a: *nobody", (1, 4, "RB006")),
        ("&a [*a]", (1, 5, "RB006")),
        ("a: !!python/object:os.system x", (1, 4, "RB007")),
        ("{1: a, '1': b}", (1, 8, "RB005")),
        ("a: 1\n... \n---\nb: 1", (3, 1, "RB007")),
    ],
)
def test_what_is_refused_is_refused_at_its_place(text: str | bytes, expected: tuple[int, int, str]) -> None:
    assert only(text) == expected


def test_a_byte_that_could_not_be_decoded_is_named() -> None:
    text = b"a: \xff".decode("utf-8", errors="surrogateescape")
    assert complaints(text)[0].message.startswith("the byte 0xff is not UTF-8")


def test_many_parts_are_refused_without_building_them() -> None:
    assert only("- a\n" * 120_000)[2] == "RB002"


def test_aliases_count_as_what_they_stand_for() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert complaints("\n".join(lines))[0].code == "RB002"


def test_depth_behind_an_alias_counts_too() -> None:
    chain = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 80)]
    assert complaints("\n".join(chain))[0].code == "RB002"


def test_merge_bombs_end_at_the_first_merge_key() -> None:
    lines = ["a: &a0 {k: v}"] + [f"b{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 26)]
    found = complaints("\n".join(lines))
    assert {item.code for item in found} <= {"RB007", "RB002"}


def test_every_duplicate_key_is_named_with_its_first_place() -> None:
    found = complaints("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert [(item.line, item.column) for item in found] == [(2, 11), (3, 1)]
    assert "first at 1:1" in found[1].message


@pytest.mark.parametrize(
    ("line", "rewrite"),
    [
        ("r: [GET, asynq:{${{ q }}}:paused]", 'r: [GET, "asynq:{${{ q }}}:paused"]'),
        ("a: {inspect: ${{ queue }}}", 'a: {inspect: "${{ queue }}"}'),
        ("a: [x, ${{ q.w }}, 'k']", "a: [x, \"${{ q.w }}\", 'k']"),
        ("a: [${{ q['w'] }}]", "a: [\"${{ q['w'] }}\"]"),
        ('a: [${{ q["w"] }}]', "a: ['${{ q[\"w\"] }}']"),
        ("when: 'x' != y", "when: \"'x' != y\""),
        ('when: "x" != y', "when: '\"x\" != y'"),
        ("a: b: c", 'a: "b: c"'),
        ("id:queues\ntitle: x", "id: queues"),
        ("title: {{ x }}", '"${{ x }}"'),
    ],
)
def test_common_slips_are_answered_with_the_quoted_rewrite(line: str, rewrite: str) -> None:
    (found,) = complaints(line)
    assert found.code == "RB004"
    assert found.message.endswith(rewrite)


@pytest.mark.parametrize("line", ["r: [GET, asynq:{${{ q }}}:paused]", "when: 'x' != y", "a: b: c"])
def test_the_rewrite_that_is_shown_can_be_read(line: str) -> None:
    message = complaints(line)[0].message
    rewritten = re.split(r"(?:quoted|all of it): ", message)[1]
    (key,) = value(rewritten)
    assert key == line.split(":")[0]


def test_bombs_and_depth_do_no_harm_in_a_thread_with_a_small_stack() -> None:
    texts = ["[" * 25_038, "{a: " * 25_000, "- " * 30_000, "&a [*a]", "? " * 20_000, "[" * 64 + "]" * 64]
    codes: list[str] = []

    def work() -> None:
        for text in texts:
            try:
                json.dumps(plain(read(text, "a.yaml")))
                codes.append("read")
            except PlaybookError as error:
                codes.append(error.complaints[0].code)

    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert codes == ["RB002", "RB002", "RB002", "RB006", "RB007", "read"]


TOKENS = st.sampled_from(
    [
        *("a: ", "b:", "- ", "? ", "[", "]", "{", "}", ",", ": ", "\n", "\n  ", "\t", "&x ", "*x", "!!str ", "<<: "),
        *(
            "'",
            '"',
            "|\n",
            ">-\n",
            "#",
            "---\n",
            "...\n",
            "%YAML 1.2\n",
            "${{ x }}",
            "\\",
            "\r",
            "0x",
            "1e9",
            "é",
            "\0",
        ),
    ]
)


@given(st.one_of(st.text(), st.lists(TOKENS, max_size=40).map("".join)))
def test_any_text_is_read_or_refused_with_positions_that_exist(text: str) -> None:
    found: tuple[Complaint, ...] = ()
    try:
        json.dumps(plain(read(text, "a.yaml")))
    except PlaybookError as error:
        found = error.complaints
    assert all(item.line >= 1 and item.column >= 1 and item.message for item in found)


@given(st.binary())
def test_any_bytes_are_read_or_refused(source: bytes) -> None:
    with suppress(PlaybookError):
        read(source, "a.yaml")

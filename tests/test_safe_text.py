from __future__ import annotations

import re
import unicodedata

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from runbook_engine.safe_text import MARKS_IN_A_ROW, cells, escape_markdown, fence, safe_text, shorten, single_line

PAYLOADS = [
    "\x1b[2J",
    "\x1b[3J\x1b[H",
    "\x1b[1A\x1b[2K",
    "\x1b[5A",
    "\x1b[10D",
    "\x1b7\x1b[1;1Hfake\x1b8",
    "\x1b[s\x1b[1;1Hx\x1b[u",
    "\x9b2J",
    "\x9b1;1Hfake",
    "\x1bc",
    "\x1b[!p",
    "\x1b[2;3r",
    "\x1bM\x1bM",
    "\x1bD",
    "\x1bE",
    "\x84",
    "\x85",
    "\x8d",
    "\x1b]0;title\x07",
    "\x1b]2;title\x1b\\",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1b]8;;http://evil\x07link\x1b]8;;\x07",
    "\x1b]0;open",
    "\x1b[",
    "\x1b",
    "\x1bP$q\x1b\\",
    "\x1b_app\x1b\\",
    "\x1b^pm\x1b\\",
    "\x1bX",
    "\x9d0;t\x9c",
    "\x1b[6n",
    "\x1b[c",
    "\x1b[>c",
    "\x05",
    "\x07",
    "\x08\x08\x08yes",
    "\rProceed? yes",
    "\x0b\x0b",
    "\x0c",
    "\x0e",
    "\x1b(0",
    "\x1b[?25l",
    "\x1b[?1049h",
    "\x1b[?7l",
    "\x1b[8m",
    "\x1b[31m",
    "\x1b[4h",
    "\x1b[20h",
    "\x1b#8",
    "\x7f",
    "\x00",
    "line\nProceed? yes",
    "\ttab",
    "\u202egnp.exe",
    "\u2066x",
    "\u200b\u200d\ufeff",
    "\u2028Proceed",
    "\u2029",
    "\U000e0041\U000e0042",
    "a" + "\u0336" * 40,
    "\u0338\u0338",
    "\ud800",
    "\u3164\u115f",
    "\xad",
    "\u061c",
    "\ufff9x\ufffb",
    "\U0001d173",
]


def drawn(payload: str) -> tuple[list[str], set[tuple[object, ...]], str, set[int], int]:
    """What a terminal shows of trusted lines and a prompt when the payload stands between them."""
    screen = pyte.HistoryScreen(100, 12)
    replies: list[str] = []
    setattr(screen, "write_process_input", replies.append)  # noqa: B010 - pyte wants it replaced like this
    stream = pyte.Stream(screen)
    stream.feed(
        f"trusted one\r\ntrusted two\r\nvalue: {payload}\r\ntrusted three\r\nProceed? [y/N] ".encode(
            "utf-8", "replace"
        ).decode()
    )
    looks = {tuple(cell[1:]) for row in screen.buffer.values() for cell in row.values()}
    assert not replies
    return list(screen.display), looks, screen.title, screen.mode, screen.cursor.y


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_no_payload_has_an_effect_on_a_screen(payload: str) -> None:
    display, looks, title, mode, row = drawn(safe_text(payload))
    plain_display, plain_looks, plain_title, plain_mode, plain_row = drawn("plain")
    assert [line for index, line in enumerate(display) if index != 2] == [
        line for index, line in enumerate(plain_display) if index != 2
    ]
    assert display[2].startswith("value: ")
    assert (looks, title, mode, row) == (plain_looks, plain_title, plain_mode, plain_row)


def test_some_payloads_do_act_when_they_are_not_made_safe() -> None:
    assert drawn("\x1b[2J")[0] != drawn("plain")[0]
    assert drawn("\x1b]0;title\x07")[2] == "title"


def forbidden(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or 0xE0000 <= ord(char) < 0xE1000


anything = st.text(
    st.characters(codec=None) | st.sampled_from("\x1b\x9b\n\r\t\u202e\u0301\u0336\u200b\ud800 a"), max_size=60
)


@given(anything)
def test_no_character_of_a_forbidden_class_survives(text: str) -> None:
    assert not [char for char in safe_text(text) if forbidden(char)]
    assert not [char for char in safe_text(text, newlines=True) if forbidden(char) and char != "\n"]


@given(anything, st.booleans())
def test_what_is_safe_already_stays_as_it_is(text: str, newlines: bool) -> None:
    once = safe_text(text, newlines=newlines)
    assert safe_text(once, newlines=newlines) == once


@given(anything, st.booleans())
def test_marks_never_pile_up_nor_begin_a_line(text: str, newlines: bool) -> None:
    kinds = "".join("m" if unicodedata.category(char)[0] == "M" else "-" for char in safe_text(text, newlines=newlines))
    assert "m" * (MARKS_IN_A_ROW + 1) not in kinds
    assert not kinds.startswith("m")


@given(anything, st.integers(0, 30))
def test_a_shortened_line_fits_its_width(text: str, width: int) -> None:
    assert cells(shorten(safe_text(text), width)) <= width
    line = single_line(text, width)
    assert cells(line) <= width and "\n" not in line


@pytest.mark.parametrize(
    "text", ["plain", "señor naïve", "日本語", "Привет, мир", "café ☕ €", "한국어", "e\u0301", "naïve → ok ✓"]
)
def test_ordinary_writing_is_left_alone(text: str) -> None:
    assert safe_text(text) == safe_text(text, newlines=True) == text


def test_what_was_hidden_is_shown() -> None:
    assert safe_text("\x1b[2J\x07\x7f\x9b\u202e\ud800") == "␛[2J␇␡<009B><202E><D800>"
    assert safe_text("a\r\nb\tc\rd", newlines=True) == "a\nb    c␍d"
    assert safe_text("a\r\nb\tc") == "a␍␊b␉c"
    assert safe_text("x" + "\u0301" * 9) == "x" + "\u0301" * 4 + "<+5 marks>"
    assert safe_text("\u0338x") == "\u25cc\u0338x"


def test_shortening_counts_cells_and_cuts_no_wide_character() -> None:
    assert shorten("日本語", 6) == "日本語"
    assert shorten("日本語", 5) == "日本…"
    assert shorten("日本語", 4) == "日…"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abc", 0) == ""
    assert single_line("first\nsecond\n", 40) == "first␊second"


def elements(markdown: str) -> list[str]:
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(markdown)
    return [each.type for token in tokens for each in (token, *(token.children or []))]


MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil/x.png)",
    "[x](javascript:alert(1))",
    "# title",
    "> quote",
    "- item",
    "* item",
    "+ item",
    "1. item",
    "1) item",
    "  2. item",
    "| a | b |",
    "`code`",
    "``",
    "**bold**",
    "_em_",
    "~~gone~~",
    "---",
    "===",
    "***",
    "http://evil",
    "<http://evil>",
    "www.evil.com",
    "a@b.c",
    "&lt;b&gt;",
    "&#60;",
    "\\<b>",
    "\\\\<b>",
    "[ref]: http://evil",
    "a\n\n# title",
    "```\nfence",
    "<!-- x",
    "\\",
    "a  \nb",
    "$x$",
    "[^1]",
    "-->",
    "~~~",
    "\u2028# x",
]


@pytest.mark.parametrize("text", MARKUP, ids=ascii)
def test_markdown_shows_data_and_never_markup(text: str) -> None:
    shown = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(escape_markdown(text))
    assert [token.type for token in shown] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in shown[1].children or []} <= {"text", "text_special"}
    assert "".join(child.content for child in shown[1].children or []).strip() == safe_text(text).strip()
    in_a_list = elements(f"- {escape_markdown(text)}\n- next\n")
    assert [each for each in in_a_list if not each.startswith("text")] == [
        each for each in elements("- plain\n- next\n") if not each.startswith("text")
    ]


@pytest.mark.parametrize("text", [*MARKUP, "```", "````\n```", "`````", "```\n</code><script>", ""], ids=ascii)
def test_nothing_closes_a_fence(text: str) -> None:
    tokens = MarkdownIt().parse(f"before\n\n{fence(text)}\nafter\n")
    assert [token.type for token in tokens if token.type != "inline"] == [
        "paragraph_open",
        "paragraph_close",
        "fence",
        "paragraph_open",
        "paragraph_close",
    ]
    assert tokens[3].content.removesuffix("\n") == safe_text(text, newlines=True).removesuffix("\n")


@given(anything)
def test_any_text_stays_inside_its_fence(text: str) -> None:
    assert elements(fence(text)) == ["fence"]


@given(st.text(st.sampled_from("<>&\\`*_[]()!|~#-+=1. :/@wa\n\t\"'"), max_size=25).filter(str.strip))
def test_no_mixture_of_markup_becomes_an_element(text: str) -> None:
    shown = elements(f"x {escape_markdown(text)}")
    assert set(shown) <= {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}
    assert not re.search("<(?!\\w)", escape_markdown(text))

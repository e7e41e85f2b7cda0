from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_engine.units import format_duration, format_number, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("10s", 10),
        ("2h", 7200),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("90", 90),
        ("1.5", 1.5),
        ("1.5h", 5400),
        ("1d", 86400),
        ("1w", 604800),
        ("0s", 0),
        (" 5m ", 300),
        ("1m500ms", 60.5),
        (7, 7),
        (0.25, 0.25),
    ],
)
def test_durations_that_people_write_are_seconds(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5x",
        "m",
        "-5m",
        "5m5m",
        "1s1h",
        "5 m",
        "1e3",
        "inf",
        "nan",
        "5M",
        "٥m",
        "1h-30m",
        "9" * 50,
        "9" * 39,
        -1,
        True,
        float("nan"),
        float("inf"),
        10**400,
    ],
)
def test_a_duration_that_is_none_is_refused_with_an_example_of_a_valid_one(text: str | float) -> None:
    with pytest.raises(ValueError, match=r"5m|too long|too large"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 64 * 1024**2),
        ("1GB", 10**9),
        ("512", 512),
        ("512B", 512),
        ("1.5KiB", 1536),
        ("2 TiB", 2 * 1024**4),
        ("1kB", 1000),
        ("1KB", 1000),
        ("0", 0),
        (77, 77),
        (8.0, 8),
    ],
)
def test_sizes_that_people_write_are_bytes(text: str | float, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "64mib", "64M", "1.5", "1.0001KiB", "-1", "1 2", "9" * 60, "9PB9", 1.5, -1, False, 10**400]
)
def test_a_size_that_is_none_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match=r"64MiB|whole number|too large|must not be negative"):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (0.9999, "1s"),
        (2.5, "2.5s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.9, "1m"),
        (60, "1m"),
        (90, "1m 30s"),
        (3600, "1h"),
        (3601, "1h"),
        (5400, "1h 30m"),
        (90061, "1d 1h"),
        (-90, "-1m 30s"),
        (float("inf"), "for ever"),
    ],
)
def test_durations_are_shown_in_at_most_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1 MiB"),
        (3 * 1024**3, "3 GiB"),
        (-2048, "-2 KiB"),
    ],
)
def test_sizes_are_shown_in_powers_of_1024(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5003, "5,003"),
        (0, "0"),
        (0.0, "0"),
        (100 / 3, "33.333"),
        (1234.5, "1,234.5"),
        (0.00123456, "0.00123"),
        (1e20, "1e+20"),
        (float("nan"), "not a number"),
    ],
)
def test_numbers_are_shown_with_the_digits_that_matter(value: float, text: str) -> None:
    assert format_number(value) == text


@given(st.text())
def test_any_text_is_a_duration_and_a_size_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert str(error)  # noqa: PT017 - both outcomes are legal


@given(st.floats(allow_nan=True) | st.integers())
def test_anything_can_be_shown(value: float) -> None:
    assert format_duration(value) and format_number(value) and format_size(value)


@given(st.integers(min_value=1, max_value=10**6))
def test_a_shown_duration_of_two_units_reads_back_to_within_its_smaller_unit(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=3600)

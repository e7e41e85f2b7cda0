"""`test --update`: shows what failing tests would expect from now on, asks, and writes it; replies are not touched."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..rehearsing.files import TestFile
    from ..rehearsing.workers import Rehearsed, Tested


def rewrite(done: Sequence[Rehearsed], only: str, *, yes: bool) -> list[Rehearsed]:
    """Review every failing test; the files after it, rehearsed anew where they were written."""
    from ..errors import UsageError
    from ..rehearsing.files import open_tests
    from ..rehearsing.workers import Refused, rehearse_all
    from .formatting import replace_file

    here = sys.stdin.isatty() and sys.stdout.isatty()
    written, unasked = [], 0
    for each in done:
        failing = [test for test in each.tests if not test.passed]
        if not failing:
            continue
        file = open_tests(each.path, os.environ)
        text = file.text
        for test in failing:
            made = _rewritten(file, text, test)
            if made is None:
                continue
            if yes or (here and click.confirm("write it?", default=False)):
                text = made
            unasked += not (yes or here)
        if text != file.text:
            replace_file(each.path, text)
            written.append(each.path)
    if unasked:
        raise UsageError("nothing was written: nobody is there to review it. --yes writes it")
    click.echo(f"{len(written)} {'file' if len(written) == 1 else 'files'} rewritten; read the difference", err=True)
    if not written:
        return list(done)
    anew = {each.path: each for each in rehearse_all(written, only, os.environ) if not isinstance(each, Refused)}
    return [anew.get(each.path, each) for each in done]


def _rewritten(file: TestFile, text: str, test: Tested) -> str | None:
    """The text with this expectation as it came out, after the difference was shown; None where that cannot be."""
    from ..rehearsing.updating import NotRewrittenError, rewritten
    from ..safe_text import safe_text

    click.echo(safe_text(f"{test.place}: {test.name}"))
    if test.found is None:
        click.echo(safe_text(f"    it broke off, so there is nothing to take over: {test.differences[0]}"))
        return None
    try:
        made = rewritten(text, str(file.path), test.number, file.cases.tests[test.number].expect, test.found)
    except NotRewrittenError as reason:
        click.echo(f"    {reason}")
        return None
    for line in _difference(text, made, str(file.path)):
        click.echo(safe_text(line))
    return made


def _difference(before: str, after: str, path: str) -> Iterator[str]:
    from difflib import unified_diff

    return unified_diff(before.split("\n"), after.split("\n"), path, path, lineterm="", n=1)

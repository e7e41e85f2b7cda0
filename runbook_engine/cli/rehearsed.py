"""Shows what a rehearsal came to: as text, as JSON, as JUnit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from . import past_alerts

if TYPE_CHECKING:
    from ..coverage import Coverage
    from ..rehearsing.workers import Refused, Rehearsed, Tested
    from .past_alerts import Answered

Json = Any
Covered = Mapping[str, "Coverage"]  # by playbook
MOST_DIFFERENCES = 12


def as_text(done: Sequence[Rehearsed], covered: Covered | None, *, verbose: bool) -> Iterator[str]:
    for each in done:
        for test in each.tests:
            yield from _told(test)
        passed = sum(test.passed for test in each.tests)
        yield f"{each.path}: {passed} of {len(each.tests)} passed in {each.seconds}s"
    for playbook, found in (covered or {}).items():
        yield from _coverage(playbook, found, verbose)


def _told(test: Tested) -> Iterator[str]:
    from ..safe_text import safe_text

    if not test.passed:
        yield safe_text(f"FAILED {test.place}: {test.name}")
        yield from (f"    {safe_text(each)}" for each in test.differences[:MOST_DIFFERENCES])
        if len(test.differences) > MOST_DIFFERENCES:
            yield f"    … and {len(test.differences) - MOST_DIFFERENCES} more"
        if test.story:
            yield "    the story (- expected, + came out):"
        yield from (f"    {line}" for line in test.story)
    yield from (safe_text(f"NOTE {test.place}: {test.name}: {note}") for note in test.notes)


def _coverage(playbook: str, found: Coverage, verbose: bool) -> Iterator[str]:
    ways, facts = found.branches.ways, found.branches.unknown
    told = f"branches {found.branches.share():.0%} ({sum(ways.values())} of {len(ways)})"
    yield (
        f"{playbook}: causes and actions visited {found.share():.0%}, {told}, "
        f"facts seen unknown {sum(facts.values())} of {len(facts)}"
    )
    if found.missing():
        yield f"    no test visits: {', '.join(found.missing())}"
    if verbose:
        yield from (f"    no test takes: {way}" for way in found.branches.missing())
        yield from (f"    never unknown: {name}" for name in found.branches.never_unknown())


def as_json(
    done: Sequence[Rehearsed], covered: Covered, alerts: Answered | None = None, refused: Sequence[Refused] = ()
) -> str:
    """A list of files, those that could not be rehearsed with their `errors`; with past alerts an object of `tests`
    and `alerts`."""
    documents: Json = [_document(each, covered[each.playbook]) for each in done]
    documents += [{"file": str(each.path), "errors": each.told()} for each in refused]
    if alerts is not None:
        documents = {"tests": documents, "alerts": past_alerts.document(alerts)}
    return json.dumps(documents, indent=2, ensure_ascii=True, default=str)


def _document(each: Rehearsed, covered: Coverage) -> dict[str, Json]:
    return {
        "file": str(each.path),
        "playbook": each.playbook,
        "seconds": each.seconds,
        "coverage": round(covered.share(), 4),
        "missing": covered.missing(),
        "branches": {
            "coverage": round(covered.branches.share(), 4),
            "missing": covered.branches.missing(),
            "never_unknown": covered.branches.never_unknown(),
        },
        "tests": [
            {
                "name": test.name,
                "place": test.place,
                "passed": test.passed,
                "differences": list(test.differences),
                "story": list(test.story),
                "notes": list(test.notes),
            }
            for test in each.tests
        ],
    }


def as_junit(done: Sequence[Rehearsed], alerts: Answered | None = None, refused: Sequence[Refused] = ()) -> str:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for each in done:
        failures = sum(not test.passed for test in each.tests)
        lines.append(
            f'<testsuite name={quoteattr(each.playbook)} tests="{len(each.tests)}" failures="{failures}" '
            f'time="{each.seconds}">'
        )
        lines += [_testcase(each.playbook, test) for test in each.tests]
        lines.append("</testsuite>")
    for broken in refused:
        lines += _not_rehearsed(broken)
    lines += past_alerts.as_junit(alerts) if alerts is not None else []
    return "\n".join([*lines, "</testsuites>"])


def _not_rehearsed(broken: Refused) -> Iterator[str]:
    from ..safe_text import safe_text

    path, told = quoteattr(safe_text(str(broken.path))), [safe_text(each) for each in broken.told()]
    yield f'<testsuite name={path} tests="1" errors="1">'
    yield f'<testcase classname={path} name="can be rehearsed" file={path}>'
    yield f"<error message={quoteattr(told[0])}>{escape(chr(10).join(told))}</error></testcase></testsuite>"


def _testcase(playbook: str, test: Tested) -> str:
    from ..safe_text import safe_text

    file, _, line = test.place.rpartition(":")
    head = f"<testcase classname={quoteattr(playbook)} name={quoteattr(safe_text(test.name))}"
    head += f' file={quoteattr(safe_text(file))} line="{line}"'
    inside = ""
    if not test.passed:
        body = escape(safe_text("\n".join([test.place, *test.differences, *test.story]), newlines=True))
        inside += f"<failure message={quoteattr(safe_text(test.differences[0]))}>{body}</failure>"
    if test.notes:
        inside += f"<system-out>{escape(safe_text(chr(10).join(test.notes), newlines=True))}</system-out>"
    return f"{head}>{inside}</testcase>" if inside else f"{head}/>"

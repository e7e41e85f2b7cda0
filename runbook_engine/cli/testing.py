"""`test`: rehearses playbooks from the cases beside them. No socket is opened, no program is started."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import click

if TYPE_CHECKING:
    from ..cases import Cases
    from ..cassette import Cassette
    from ..coverage import Coverage
    from ..loader import LoadedPlaybook
    from ..playing import Result

Json = Any
FAILED, INVALID = 1, 65
LARGEST = 64 << 20  # bytes of an unpacked cassette
SHAPES = click.Choice(["text", "json", "junit"])


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The tests of one file."""

    path: Path
    playbook: str
    results: Sequence[Result]
    places: Sequence[str]  # of each test, file:line
    coverage: Coverage
    seconds: float


@click.command("test")
@click.argument("paths", nargs=-1)
@click.option("-k", "only", metavar="TEXT", help="Only tests whose name contains this.")
@click.option("--coverage", is_flag=True, help="Show which causes and actions no test visits.")
@click.option("--at-least", type=click.FloatRange(0, 100), metavar="PERCENT", help="Fail below this coverage.")
@click.option("--format", "shape", type=SHAPES, default="text", show_default=True)
def test_command(paths: tuple[str, ...], only: str | None, coverage: bool, at_least: float | None, shape: str) -> int:
    """Rehearse the cases in PATHS (files `*.test.yaml` or folders): no target is touched."""
    from ..errors import UsageError

    files = list(_files(paths or ("playbooks",)))
    if not files:
        raise UsageError("no *.test.yaml there; `runbook test playbooks` runs those of a folder")
    if only and at_least is not None:
        raise UsageError("--at-least speaks of all tests; leave out -k")
    prepared = [_prepare(path) for path in files]
    if not any((only or "") in case.name for _, _, cases in prepared for case in cases.tests):
        raise UsageError(f"no test is called anything like {only!r}")
    done = _rehearse_all(prepared, only or "")
    covered = _covered(done)
    too_little = at_least is not None and not all(each.share() * 100 >= at_least for each in covered.values())
    if shape == "json":
        click.echo(
            json.dumps(
                [_document(each, covered[each.playbook]) for each in done], indent=2, ensure_ascii=True, default=str
            )
        )
    elif shape == "junit":
        click.echo(_junit(done))
    else:
        for line in _lines(done, covered if coverage or too_little else None):
            click.echo(line)
    failed = any(not result.passed for each in done for result in each.results)
    return FAILED if failed or too_little else 0


def _files(paths: Sequence[str]) -> Iterator[Path]:
    from ..catalog import TESTS
    from ..errors import UsageError

    for name in paths:
        path = Path(name)
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.name.endswith(TESTS) and each.is_file())
        elif path.is_file() and path.name.endswith(TESTS):
            yield path
        elif path.is_file() and path.with_suffix(".test.yaml").is_file():
            yield path.with_suffix(".test.yaml")
        else:
            raise UsageError(f"{name} is no folder, no *.test.yaml, and no playbook with one beside it")


def _prepare(path: Path) -> tuple[Path, LoadedPlaybook, Cases]:
    """The playbook under test: beside the file, else by its name. Everything that is imported is imported here."""
    from ..cases import Cases, unknown_names
    from ..catalog import SUFFIXES, find_playbook, folders, libraries_for
    from ..errors import PlaybookError, UsageError
    from ..loader import load_playbook, validate_document
    from ..runner import used_executors
    from .run import show_complaints

    try:
        cases = validate_document(path.read_bytes(), str(path), Cases, {})
        beside = next((each for end in SUFFIXES if (each := path.with_name(f"{cases.cases}{end}")).is_file()), None)
        places = folders(os.environ, Path.cwd())
        entry = find_playbook(str(beside) if beside else cases.cases, places)
        libraries = libraries_for(entry.text, places, entry.path)
        loaded = load_playbook(entry.text, str(entry.path), libraries=libraries)
    except PlaybookError as error:
        show_complaints(error)
        raise SystemExit(INVALID) from None
    if loaded.playbook.name != cases.cases:
        raise UsageError(f"{path} is for {cases.cases!r}; {loaded.path} is called {loaded.playbook.name!r}")
    if wrong := list(unknown_names(loaded, cases)):
        said = "; ".join(f"{test}: there is no {what}" for test, what in wrong[:10])
        raise UsageError(f"{path}: {loaded.playbook.name} does not know what its tests name. {said}")
    used_executors(loaded)
    return path, loaded, cases


_prepared: list[tuple[Path, LoadedPlaybook, Cases]] = []  # what the workers find when they are forked


def _rehearse_all(prepared: Sequence[tuple[Path, LoadedPlaybook, Cases]], only: str) -> list[Rehearsed]:
    """Every file, several at a time where there are several processors, each in a process that is sealed."""
    from ..errors import RunbookError
    from ..sealed import seal

    tempfile.gettempdir()  # found out by writing: later that is not allowed any more
    jobs = min(os.cpu_count() or 1, len(prepared))
    if jobs == 1:
        seal()
        return [_rehearse(*each, only) for each in prepared]
    _prepared[:] = prepared
    longest_first = sorted(range(len(prepared)), key=lambda n: -len(prepared[n][2].tests))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), initializer=seal) as pool:
        futures = {number: pool.submit(_rehearse_one, number, only) for number in longest_first}
        try:
            return [futures[number].result() for number in range(len(prepared))]
        except BrokenProcessPool as broken:
            raise RunbookError(f"a process that rehearsed ended by itself: {broken}") from broken


def _rehearse_one(number: int, only: str) -> Rehearsed:
    return _rehearse(*_prepared[number], only)


def _covered(done: Sequence[Rehearsed]) -> dict[str, Coverage]:
    """What all files of a playbook visit together, by playbook."""
    covered: dict[str, Coverage] = {}
    for each in done:
        known = covered.get(each.playbook)
        covered[each.playbook] = each.coverage if known is None else known.with_(each.coverage)
    return covered


def _rehearse(path: Path, loaded: LoadedPlaybook, cases: Cases, only: str) -> Rehearsed:
    from ..coverage import Coverage
    from ..errors import UsageError
    from ..playing import Result, play
    from ..runner import used_executors

    began = time.monotonic()
    coverage = Coverage.of(loaded)
    chosen = [case for case in cases.tests if only in case.name]
    results = []
    for case in chosen:
        try:
            result, events = play(loaded, cases, case, _cassette(path, case.cassette), used_executors(loaded))
        except UsageError as error:
            result, events = Result(case, (str(error),), {}), []
        coverage.add(result.document, events)
        results.append(result)
    lines = _lines_of_tests(path)
    places = [f"{path}:{lines.get(case.name, 1)}" for case in chosen]
    return Rehearsed(path, loaded.playbook.name, results, places, coverage, round(time.monotonic() - began, 2))


def _cassette(path: Path, name: str | None) -> Cassette | None:
    from ..cassette import read_cassette
    from ..errors import UsageError

    if name is None:
        return None
    file = path.parent / name
    try:
        if not file.resolve().is_relative_to(path.parent.resolve()) or not file.is_file():
            raise UsageError(f"{path}: the cassette {name} is no file beside it")
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"{path}: the cassette {name} is larger than {LARGEST >> 20} MiB")
        return read_cassette(content.decode("utf-8"), str(file))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UsageError(f"{path}: the cassette {file} cannot be read: {error}") from error


def _lines_of_tests(path: Path) -> dict[str, int]:
    from ..loading import yaml_reader

    root = yaml_reader.read(path.read_bytes(), str(path))
    tests = root.value.get("tests") if isinstance(root, yaml_reader.Mapping) else None
    found = {}
    for test in tests.value if isinstance(tests, yaml_reader.Sequence) else ():
        name = test.value.get("name") if isinstance(test, yaml_reader.Mapping) else None
        if isinstance(name, yaml_reader.Scalar):
            found[str(name.value)] = name.line
    return found


def _lines(done: Sequence[Rehearsed], covered: Mapping[str, Coverage] | None) -> Iterator[str]:
    from ..safe_text import safe_text

    for each in done:
        for result, place in zip(each.results, each.places, strict=True):
            if result.passed:
                continue
            yield safe_text(f"FAILED {place}: {result.case.name}")
            yield from (f"    {safe_text(difference)}" for difference in result.differences)
            yield from (f"    {line}" for line in _story(result.document))
        passed = sum(result.passed for result in each.results)
        yield f"{each.path}: {passed} of {len(each.results)} passed in {each.seconds}s"
    for playbook, found in (covered or {}).items():
        yield f"{playbook}: causes and actions visited {found.share():.0%}"
        if found.missing():
            yield f"    no test visits: {', '.join(found.missing())}"


def _story(document: Mapping[str, Json]) -> Iterator[str]:
    """What happened instead, in a few lines."""
    from ..safe_text import safe_text, shorten

    if not document:
        return
    for symptom in document["symptoms"]:
        yield safe_text(shorten(f"symptom {symptom['id']}: present {symptom['present']}, {symptom['because']}", 160))
    for cause in document["causes"][:3]:
        yield safe_text(f"cause {cause['id']}: {cause['verdict']}, score {cause['score']}")
    if document["unknown"]:
        first = list(document["unknown"].items())[:5]
        yield safe_text(shorten("unknown: " + "; ".join(f"{name} ({why})" for name, why in first), 200))
    yield safe_text(f"end: {document['outcome']}, {document['reason']}")


def _document(each: Rehearsed, covered: Coverage) -> dict[str, Json]:
    return {
        "file": str(each.path),
        "playbook": each.playbook,
        "seconds": each.seconds,
        "coverage": round(covered.share(), 4),
        "missing": covered.missing(),
        "tests": [
            {"name": result.case.name, "place": place, "passed": result.passed, "differences": list(result.differences)}
            for result, place in zip(each.results, each.places, strict=True)
        ],
    }


def _junit(done: Sequence[Rehearsed]) -> str:
    from ..safe_text import safe_text

    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for each in done:
        failures = sum(not result.passed for result in each.results)
        lines.append(
            f'<testsuite name={quoteattr(each.playbook)} tests="{len(each.results)}" failures="{failures}" '
            f'time="{each.seconds}">'
        )
        for result in each.results:
            name = f"<testcase classname={quoteattr(each.playbook)} name={quoteattr(safe_text(result.case.name))}"
            told = escape(safe_text("\n".join(result.differences), newlines=True))
            lines.append(f"{name}/>" if result.passed else f"{name}><failure>{told}</failure></testcase>")
        lines.append("</testsuite>")
    return "\n".join([*lines, "</testsuites>"])

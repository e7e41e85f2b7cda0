"""Files with tests, the playbook that each is of, and the cassettes that they play."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..case_names import misnamed, without_playbook
from ..cases import Cases
from ..cassette import Cassette, read_cassette
from ..catalog import TESTS, folders, libraries_for, playbook_of
from ..errors import PlaybookError, UsageError
from ..loader import LoadedPlaybook, load_playbook
from ..loading import yaml_reader
from ..loading.positions import find_node
from ..loading.shapes import validate_shape
from ..loading.source_text import readable_text, split_lines
from ..runner import used_executors

LARGEST = 64 << 20  # bytes of an unpacked cassette


@dataclass(frozen=True, slots=True)
class TestFile:
    """The tests of one file, and the playbook that they are of."""

    path: Path
    text: str
    root: yaml_reader.Node
    cases: Cases
    loaded: LoadedPlaybook

    def place(self, number: int) -> str:
        """file:line of a test."""
        return f"{self.path}:{find_node(self.root, ('tests', number, 'name'), ()).node.line}"

    def sources(self) -> list[Path]:
        """Every file that it depends on."""
        names = [case.cassette for case in self.cases.tests if case.cassette is not None]
        cassettes = [self.path.parent / name for name in dict.fromkeys(names)]
        return [self.path, Path(self.loaded.path), *map(Path, self.loaded.libraries), *cassettes]


def find_tests(paths: Sequence[str]) -> Iterator[Path]:
    """The files with tests that these names lead to: folders, tests, playbooks with tests beside them."""
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


def open_tests(path: Path, environ: Mapping[str, str]) -> TestFile:
    """One file with its playbook, beside it, else by its name. Raises PlaybookError with every complaint."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    text = readable_text(content, str(path))
    root, lines = yaml_reader.read(text, str(path)), split_lines(text)
    shape = validate_shape(Cases, root, {str(path): lines}, {})
    if shape.complaints or shape.model is None:
        raise PlaybookError(tuple(sorted(shape.complaints, key=lambda item: (item.line, item.column))))
    cases = shape.model
    try:
        loaded = _playbook(path, cases.cases, environ)
    except UsageError as error:
        raise PlaybookError((without_playbook(str(error), root, lines),)) from error
    if loaded.playbook.name != cases.cases:
        raise UsageError(f"{path} is for {cases.cases!r}; {loaded.path} is called {loaded.playbook.name!r}")
    if wrong := misnamed(loaded, cases, root, lines, used_executors(loaded)):
        raise PlaybookError(tuple(wrong))
    return TestFile(path, text, root, cases, loaded)


def _playbook(tests: Path, name: str, environ: Mapping[str, str]) -> LoadedPlaybook:
    places = folders(environ, Path.cwd())
    entry = playbook_of(tests, name, places)
    return load_playbook(entry.text, str(entry.path), libraries=libraries_for(entry.text, places, entry.path))


def cassette_of(tests: Path, name: str | None, playbook: str) -> Cassette | None:
    """The recorded run of the playbook that a test plays. It stands in the folder of the tests, and nowhere else."""
    if name is None:
        return None
    file = tests.parent / name
    try:
        if not file.resolve().is_relative_to(tests.parent.resolve()) or not file.is_file():
            raise UsageError(f"{tests}: the cassette {name} is no file beside it")
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"{tests}: the cassette {name} is larger than {LARGEST >> 20} MiB")
        cassette = read_cassette(content.decode("utf-8"), str(file))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UsageError(f"{tests}: the cassette {file} cannot be read: {error}") from error
    if cassette.header["playbook"] != playbook:
        raise UsageError(f"{tests}: the cassette {name} is of {cassette.header['playbook']!r}, not of {playbook!r}")
    return cassette

"""Where in a script a value that was handed to it may become something else: code, an option, several words. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from .shell_words import Command, Expansion, Word, commands_in, options

Found = tuple[int, str, str]  # offset, the variable, what becomes of it

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "su"})
# The options of these that take a program; "" is the first word that is no option.
_PROGRAMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("awk", "gawk", "mawk", "jq", "yq", "sed"), ("",)),
    **dict.fromkeys(("python", "python3", "psql", "sqlite3"), ("-c", "--command")),
    **dict.fromkeys(("perl", "ruby", "node"), ("-e", "-E", "--eval")),
    **dict.fromkeys(("mysql", "mongo", "mongosh"), ("-e", "--eval", "--execute")),
}
_HANDING_OVER = {"awk": ("-v",), "gawk": ("-v",), "mawk": ("-v",), "jq": ("--arg", "--argjson"), "yq": ("--arg",)}
_ENDS_OPTIONS_TEXT = """
grep egrep fgrep rm cat ls cp mv mkdir rmdir touch head tail wc sort cut tr chmod chown dropdb createdb
"""
_ENDS_OPTIONS = frozenset(_ENDS_OPTIONS_TEXT.split())
_COMPARED = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})


def as_code(script: str, names: Collection[str]) -> Iterator[Found]:
    """Values that a shell or another program would read as a part of its program."""
    for command in commands_in(script):
        if not command.words:
            continue
        for word, what in _read_as_code(command):
            for each in _of(word, names):
                yield each.offset, each.name, what
        for word in command.words:
            for each in word.expansions:
                if each.arithmetic and each.name in names:
                    yield each.offset, each.name, "arithmetic runs what stands in the brackets of a[$(…)]"


def unquoted(script: str, names: Collection[str]) -> Iterator[Found]:
    """Values that a shell would split into words and expand as patterns."""
    for command in commands_in(script):
        if command.name in ("[[", "case"):
            continue
        for word in command.words:
            if not word.redirected and not word.is_assignment:
                for each in word.expansions:
                    if each.name in names and not each.quoted and not each.arithmetic:
                        yield each.offset, each.name, "the shell splits it into words and expands * and ? in it"


def as_options(script: str, names: Collection[str]) -> Iterator[Found]:
    """Values that would be an option of a command when they begin with `-`, where `--` would say that they are none."""
    for command in commands_in(script):
        if command.name not in _ENDS_OPTIONS:
            continue
        for word in command.arguments:
            if word.text == "--":
                break
            if word.begins_with in names:
                yield word.offset, str(word.begins_with), f"{command.name} takes it for an option when it begins with -"


def _of(word: Word, names: Collection[str]) -> Iterator[Expansion]:
    return (each for each in word.expansions if each.name in names and not each.arithmetic)


def _read_as_code(command: Command) -> Iterator[tuple[Word, str]]:
    first, rest = command.words[0], command.arguments
    name = command.name
    if first.raw and first.begins_with is not None:
        yield first, "it is the name of the program that runs"
    if name == "eval":
        yield from ((word, "eval runs it as a script") for word in rest)
    elif name in (".", "source"):
        yield from ((word, f"{name} runs the file that it names") for word in rest[:1])
    elif name == "ssh":
        yield from ((word, "the shell at the other end reads it as a script") for word in rest[1:])
    elif name == "trap" or name == "printf":
        what = "trap runs it as a script" if name == "trap" else "printf reads it as a format: write printf '%s' first"
        yield from ((word, what) for word in rest[:1])
    elif name == "let" or (name == "[[" and any(word.text in _COMPARED for word in rest)):
        yield from ((word, "arithmetic runs what stands in the brackets of a[$(…)]") for word in rest)
    elif name in _PROGRAMS:
        yield from ((word, f"{name} reads it as a part of its program") for word in _programs(command))
    yield from _shell_programs(command)


def _programs(command: Command) -> Iterator[Word]:
    wanted = _PROGRAMS[command.name]
    previous = ""
    free = [word for word in command.arguments if not word.text.startswith("-")]
    for word in command.arguments:
        joined = word.text.startswith("--") and "=" in word.text and word.text.partition("=")[0] in wanted
        if joined or (previous in wanted and previous):
            yield word
        previous = word.text
    if "" in wanted and not any(True for _ in options(command, "ef", "--expression", "--file", "--from-file")):
        handing = _HANDING_OVER.get(command.name, ())
        taken = {id(word) for word in _behind(command.arguments, handing)}
        yield from [word for word in free if id(word) not in taken][:1]
    elif "" in wanted:
        yield from _behind(command.arguments, ("-e", "--expression"))


def _behind(words: list[Word], wanted: Collection[str]) -> Iterator[Word]:
    """The word behind each of these options; behind `--arg` two of them."""
    for index, word in enumerate(words):
        if word.text in wanted:
            yield from words[index + 1 : index + (3 if word.text.startswith("--arg") else 2)]


def _shell_programs(command: Command) -> Iterator[tuple[Word, str]]:
    """What stands behind `sh -c`, also where another command runs it: `docker exec box sh -c …`, `xargs sh -c …`."""
    words = command.words
    for index, word in enumerate(words[:-2]):
        if word.text.rpartition("/")[2] in _SHELLS and re.fullmatch(r"-[a-z]*c", words[index + 1].text):
            yield words[index + 2], f"{word.text} -c runs it as a script: hand it over behind the script, as $1"

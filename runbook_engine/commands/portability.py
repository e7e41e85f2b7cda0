"""What works with one shell or one set of tools and not with another: bash in a script for sh, GNU and nowhere else.

Pure. Scripts are run by `/bin/sh`, which is dash or BusyBox on many machines and in most images.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from .shell_words import Command, Word, commands_in, options

_BASH_WORDS = {
    "[[": "write [ … ] or case",
    "source": "write . ./file",
    "function": "write name() { …; }",
    "declare": "assign the variable",
    "typeset": "assign the variable",
    "shopt": "sh has no options like it",
    "mapfile": "read lines with while IFS= read -r line",
    "readarray": "read lines with while IFS= read -r line",
    "pushd": "write (cd folder && …)",
    "popd": "write (cd folder && …)",
    "let": "write $((…))",
}
_BASH_SIGNS = (
    (re.compile(r"(?<![<>&|\w])[<>]\((?=[^)])"), "a process substitution", "use a pipe or a file"),
    (re.compile(r"<<<"), "a here-string", "write printf '%s' \"$x\" | …"),
    (re.compile(r"&>"), "&>", "write >file 2>&1"),
    (re.compile(r"\|&"), "|&", "write 2>&1 |"),
    (re.compile(r"(?<![\w\\$])\$'"), "$'…'", "printf knows \\n and \\t"),
    (re.compile(r"\$\{\w+(?:\^|,|//?|:\d|@)"), "an expansion that only bash has", "use sed, tr or cut"),
    (re.compile(r"(?m)^\s*\w+=\("), "an array", "use the positional parameters: set -- a b"),
)
# name → option letters, long options, and what works everywhere.
_GNU = {
    "grep": ("P", ("--perl-regexp",), "grep -E knows extended expressions"),
    "sed": ("ir", ("--in-place", "--regexp-extended"), "sed -E, and a new file moved into place"),
    "readlink": ("fem", ("--canonicalize",), "cd -P there and ask pwd"),
    "date": ("d", ("--date", "--iso-8601"), "reckon with seconds: date +%s"),
    "stat": ("cf", ("--format", "--printf"), "wc -c <file gives the size, ls -l the rest"),
    "ps": ("", ("--sort", "--forest", "--no-headers"), "ps -o pid,pcpu,args -A | sort -k 2"),
    "sort": ("Vh", ("--version-sort", "--human-numeric-sort"), "sort -n sorts numbers"),
    "du": ("b", ("--max-depth", "--bytes", "--apparent-size"), "du -sk gives kilobytes"),
    "df": ("", ("--output", "--total"), "df -Pk has the same columns everywhere"),
    "find": ("", ("-printf", "-regextype"), "find … -exec ls -ld {} +"),
    "xargs": ("", ("--no-run-if-empty", "--arg-file", "--delimiter"), "find … -exec … {} +"),
    "head": ("", ("--bytes", "--lines"), "head -n"),
    "tail": ("", ("--bytes", "--lines", "--pid"), "tail -n"),
    "base64": ("w", ("--wrap",), "base64 | tr -d '\\n'"),
    "echo": ("e", (), "printf is the same everywhere"),
}


def not_portable(request: str | Sequence[Any]) -> Iterator[tuple[int | None, str]]:
    """Where in a script, or that at all in a list, something runs on some machines only, and what runs on all."""
    if not isinstance(request, str):
        words = [Word(0, str(word), str(word)) for word in request]
        yield from ((None, message) for _, message in _of_tools(Command(words)))
        return
    plain = _without_quotes(request)
    for pattern, what, instead in _BASH_SIGNS:
        for found in pattern.finditer(plain):
            yield found.start(), f"{what} is for bash, and sh runs this. {instead}"
    for command in commands_in(request):
        if command.name in _BASH_WORDS and command.words[0].raw == command.words[0].text:
            message = f"{command.name} is for bash, and sh runs this. {_BASH_WORDS[command.name]}"
            yield command.words[0].offset, message
        if command.name in ("[", "test") and any(word.raw == "==" for word in command.arguments):
            yield command.words[0].offset, "[ … == … ] is for bash, and sh runs this. write ="
        yield from _of_tools(command)


def _of_tools(command: Command) -> Iterator[tuple[int, str]]:
    letters, names, instead = _GNU.get(command.name, ("", (), ""))
    option = next(options(command, letters, *names), None) if instead else None
    if option is not None:
        yield command.words[0].offset, f"{command.name} {option.text} is not the same everywhere. {instead}"


def _without_quotes(script: str) -> str:
    """What is quoted or a comment, blotted out; lengths stay."""
    pattern = r"'[^']*'|\"(?:[^\"\\]|\\.)*\"|(?m:(?:^|(?<=[ \t;]))#.*$)"
    quoted_dollar = r"\$'[^']*'"
    return re.sub(
        rf"({quoted_dollar})|{pattern}",
        lambda found: found[0][:2] + " " * (len(found[0]) - 2) if found[1] else _blank(found[0]),
        script,
    )


def _blank(text: str) -> str:
    """An expansion within double quotes is still one."""
    kept = re.sub(r"[^\n]", " ", text)
    for found in re.finditer(r"\$\{[^}]*\}", text) if text.startswith('"') else ():
        kept = kept[: found.start()] + found[0] + kept[found.end() :]
    return kept

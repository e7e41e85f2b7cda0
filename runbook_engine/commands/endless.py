"""Which commands go on until somebody ends them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .shell_words import Command, Word, commands_in, options

_FOLLOWS = {
    "tail": ("fF", ("--follow", "--retry"), "tail -n 100 takes the last lines"),
    "journalctl": ("f", ("--follow",), "journalctl -n 100 takes the last lines"),
    "dmesg": ("wW", ("--follow", "--follow-new"), "dmesg alone ends"),
    "kubectl": ("fw", ("--follow", "--watch", "--watch-only"), "kubectl logs --tail=100 takes the last lines"),
    "docker": ("f", ("--follow",), "docker logs --tail 100 takes the last lines"),
    "docker-compose": ("f", ("--follow",), "logs --tail 100 takes the last lines"),
    "podman": ("f", ("--follow",), "podman logs --tail 100 takes the last lines"),
    "stern": ("", (), "kubectl logs --tail=100 takes the last lines"),
}
_ONLY_WITH = {"kubectl": ("logs", "get"), "docker": ("logs",), "podman": ("logs",), "docker-compose": ("logs",)}
_ENDING = {
    "watch": (None, "call the command itself, with `sample:` for several answers"),
    "top": (("-b", "-bn", "-n", "-l"), "top -b -n 1 answers once"),
    "htop": (None, "top -b -n 1 answers once"),
    "ping": (("-c",), "ping -c 3 ends after three answers"),
    "tcpdump": (("-c",), "tcpdump -c 100 ends after a hundred packets"),
}
_WRAPPERS = frozenset({"sudo", "doas", "env", "nice", "ionice", "nohup", "exec", "command", "stdbuf", "chroot"})
_BOUNDING = frozenset({"timeout"})


def endless(request: str | Sequence[Any]) -> Iterator[tuple[int | None, str]]:
    """Where in a script, or that at all in a list, something never ends by itself, and what to write instead."""
    if isinstance(request, str):
        for command in commands_in(request):
            yield from ((command.words[0].offset, message) for message in _of(command.words))
    else:
        yield from ((None, message) for message in _of([Word(0, str(word), str(word)) for word in request]))


def _of(words: list[Word]) -> Iterator[str]:
    while words and Command(words).name in _WRAPPERS:
        words = words[1:]
        while words and (words[0].raw.startswith("-") or words[0].is_assignment):
            words = words[1:]
    command = Command(words)
    name = command.name
    if name in _BOUNDING or not words:
        return
    if name in _FOLLOWS and _has_verb(command):
        letters, names, instead = _FOLLOWS[name]
        if name == "kubectl" and any(word.text == "get" for word in command.arguments):
            letters = "w"  # -f is a file there
        option = next(options(command, letters, *names), None)
        if option is not None or name == "stern":
            shown = f"{name} {option.text}" if option is not None else name
            yield f"{shown} never ends by itself. {instead}"
    elif name in _ENDING:
        ending, instead = _ENDING[name]
        texts = [word.text for word in command.arguments]
        if ending is None or not any(text.startswith(ending) for text in texts):
            yield f"{name} never ends by itself. {instead}"
    if name == "docker" and any(word.text == "stats" for word in command.arguments):
        if not any(word.text.startswith("--no-stream") for word in command.arguments):
            yield "docker stats never ends by itself. docker stats --no-stream answers once"
    elif name == "redis-cli" and any(word.text.lower() == "monitor" for word in command.arguments):
        yield "redis-cli monitor never ends by itself, and slows the server down. SLOWLOG GET answers once"


def _has_verb(command: Command) -> bool:
    verbs = _ONLY_WITH.get(command.name)
    return verbs is None or any(word.text in verbs for word in command.arguments)

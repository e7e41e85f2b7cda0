"""Looks at a command for words that plainly change something, so that an understated effect is caught. Pure.

It can only ever say "this does harm", never "this does not": a command it does not know is the author's declaration.
It must never be the reason to let something run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import lru_cache

from ..sql.effect import statements


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HARMFUL = _words(
    """
    rm rmdir unlink shred mv dd tee truncate install chmod chown chgrp ln mkdir touch cp rsync scp
    kill pkill killall skill fuser shutdown reboot halt poweroff init telinit mkfs wipefs fdisk
    parted mount umount swapoff swapon iptables nft useradd userdel usermod passwd dropdb createdb
    dropuser pg_restore pg_ctl pg_resetwal vacuumdb reindexdb modprobe rmmod logrotate at
    """
)
"""Commands that change something whatever stands behind them."""

_CONTAINERS = _words(
    """
    restart rm rmi stop kill pause unpause start run create down up prune scale update rename commit
    push pull build import load cp
    """
)
_VERBS = {
    "docker": _CONTAINERS,
    "docker-compose": _CONTAINERS | {"exec"},
    "podman": _CONTAINERS,
    "kubectl": _words(
        """
    delete apply scale patch exec edit replace create annotate label taint drain cordon uncordon set
    autoscale run expose cp restart undo pause resume debug evict
    """
    ),
    "helm": _words("install upgrade rollback uninstall delete"),
    "systemctl": _words(
        """
    start stop restart reload reload-or-restart try-restart kill enable disable mask unmask reboot
    poweroff halt isolate set-property daemon-reload reset-failed edit
    """
    ),
    "service": _words("start stop restart reload force-reload"),
    "redis-cli": _words(
        """
    flushall flushdb del unlink set shutdown debug rename expire lpush rpush ltrim zrem zadd hset
    hdel eval migrate failover replicaof slaveof publish client config script bgsave save
    bgrewriteaof restore move swapdb
    """
    ),
    "git": _words("push pull reset checkout clean commit merge rebase switch restore"),
    "apt": _words("install remove purge upgrade autoremove"),
    "apt-get": _words("install remove purge upgrade autoremove"),
    "pip": _words("install uninstall"),
    "terraform": _words("apply destroy import taint"),
    "find": _words("-delete -fprint -fprintf -fls"),
    "sed": _words("-i --in-place"),
    "sysctl": _words("-w -p --write --load"),
    "crontab": _words("-r -e -"),
    "curl": _words("-d --data --data-raw --data-binary --json -F --form -T --upload-file")
    | {"-o", "-O", "--output", "--remote-name"},
    "wget": _words("--post-data --post-file --method=POST --method=DELETE --method=PUT"),
    "tar": _words("x xf xzf -x -xf -xzf -xvf --extract"),
}
_READING_VERBS = {("redis-cli", "config"): "get", ("redis-cli", "client"): "list"}
_WRITING_METHODS = _words("POST PUT PATCH DELETE")

_COMMAND_OPTION = re.compile(r"-[A-Za-z]*c|--command")
_SQL_CHANGES = _words(
    """
    insert update delete merge truncate drop create alter grant revoke comment vacuum analyze reindex cluster refresh
    call do lock copy import reassign security
    """
)
_SHELLS = _words("sh bash dash zsh ksh ash su eval ssh watch parallel")
_WRAPPERS = _words(
    """
    sudo doas env exec command builtin time timeout nohup nice ionice setsid xargs stdbuf flock
    chroot unshare nsenter busybox if then else elif while until do ! { trap strace
    """
)
_SAFE_FILES = _words("/dev/null /dev/stdout /dev/stderr /dev/tty")
_PUNCTUATION = "();<>|&\n"
_MAX_DEPTH = 8


def harm_in_words(words: Sequence[str], depth: int = 0) -> str | None:
    """Why a command given as a list changes something, or None when that cannot be seen."""
    if not words or depth > _MAX_DEPTH:
        return None
    name, rest = words[0].rpartition("/")[2], words[1:]
    if "=" in words[0] and re.match(r"[A-Za-z_]\w*=", words[0]):
        return harm_in_words(rest, depth + 1)
    if name in HARMFUL or name.startswith("mkfs."):
        return f"{name} changes things"
    if name in _WRAPPERS:
        return _first(harm_in_words(rest[start:], depth + 1) for start in range(len(rest)))
    if name in _SHELLS:
        return _first(harm_in_script(word, depth + 1) for word in [*rest, " ".join(rest)])
    return _harmful_verb(name, rest) or _harm_in_sql(name, rest) or _harm_inside(name, rest, depth)


@lru_cache(maxsize=512)
def harm_in_script(text: str, depth: int = 0) -> str | None:
    """Why a shell script changes something, or None when that cannot be seen."""
    if depth > _MAX_DEPTH:
        return None
    tokens = _tokens(text)
    return (
        _redirection(tokens)
        or _first(harm_in_words(command, depth + 1) for command in _commands(tokens))
        or _first(harm_in_script(inner, depth + 1) for inner in _substitutions(text) if inner != text)
    )


def _harmful_verb(name: str, rest: Sequence[str]) -> str | None:
    verbs = _VERBS.get(name, frozenset())
    for index, word in enumerate(rest):
        following = rest[index + 1].lower() if index + 1 < len(rest) else ""
        known = word if word in verbs else word.lower()
        if known in verbs and not following.startswith(_READING_VERBS.get((name, known), "\0")):
            return f"{name} {word} changes things"
        if name == "curl" and (_method(word, following) in _WRITING_METHODS):
            return f"curl -X {_method(word, following)} changes things"
    return None


def _method(word: str, following: str) -> str:
    if word in ("-X", "--request"):
        return following.upper()
    return word.removeprefix("--request=").removeprefix("-X").upper() if word.startswith(("-X", "--request=")) else ""


def _harm_in_sql(name: str, rest: Sequence[str]) -> str | None:
    """`psql -c 'delete …'`, also behind `with`: only words that plainly change something."""
    if name != "psql":
        return None
    for index, word in enumerate(rest):
        following = rest[index + 1] if index + 1 < len(rest) else ""
        given = following if _COMMAND_OPTION.fullmatch(word) else word.removeprefix("--command=")
        for statement in statements(given) if given != word else ():
            words = [token.folded for token in statement]
            begins = words[:1] if words[:1] != ["with"] else words
            if found := next((each for each in begins if each in _SQL_CHANGES), None):
                return f"psql: {found} changes things"
    return None


def _harm_inside(name: str, rest: Sequence[str], depth: int) -> str | None:
    """`docker exec box rm …`, `find … -exec rm …`: the command within the command."""
    markers = {"docker": ("exec",), "podman": ("exec",), "find": ("-exec", "-execdir", "-ok", "-okdir")}.get(name, ())
    for index, word in enumerate(rest):
        if word in markers:
            inner = rest[index + 1 :]
            return _first(harm_in_words(inner[start:], depth + 1) for start in range(len(inner)))
    return None


def _tokens(text: str) -> list[str]:
    """Words and runs of operators; a script that cannot be read as such is split crudely, which finds more."""
    without_comments = re.sub(r"(?m)^\s*#.*$", "", text.replace("\\\n", " "))
    lexer = shlex.shlex(without_comments, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        return list(lexer)
    except ValueError:
        return re.findall(rf"[{re.escape(_PUNCTUATION)}]+|[^\s{re.escape(_PUNCTUATION)}'\"]+", without_comments)


def _is_operator(token: str) -> bool:
    return bool(token) and all(character in _PUNCTUATION for character in token)


def _redirection(tokens: Sequence[str]) -> str | None:
    for index, token in enumerate(tokens):
        if _is_operator(token) and ">" in token and "<>" not in token:
            target = tokens[index + 1] if index + 1 < len(tokens) else ""
            duplicates = token.endswith(">&") and (target.isdigit() or target == "-")
            if not duplicates and target not in _SAFE_FILES and not token.endswith(">("):
                return f"it writes to the file {target!r}"
    return None


def _commands(tokens: Sequence[str]) -> Iterator[list[str]]:
    """The simple commands: what stands between operators that start a new one."""
    command: list[str] = []
    for token in tokens:
        if not _is_operator(token) or set(token) <= set("<>"):
            command.append(token)
        elif not (set(token) <= set("<>&") and set(token) & set("<>")):
            yield command
            command = []
    yield command


def _substitutions(text: str) -> Iterator[str]:
    """What stands in `$(…)` or backticks, also within double quotes."""
    for match in re.finditer(r"\$\(([^()]*(?:\([^()]*\)[^()]*)*)\)|`([^`]*)`", text):
        yield match[1] or match[2] or ""


def _first(found: Iterator[str | None]) -> str | None:
    return next((reason for reason in found if reason), None)

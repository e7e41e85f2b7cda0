"""A command that was typed to a step that only looks, or the reason why it cannot be one. Knows programs, runs none."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..commands.shell_effects import harm_in_script, harm_in_words
from .recordings import Typed

Json = Any


@dataclass(frozen=True, slots=True)
class Step:
    """One request: whom it asks, and what. `note` is what was left out of it."""

    executor: str
    request: Json
    target: str
    kind: str
    note: str = ""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Programs that only look, whatever their arguments, once what stands further below is not among them.
_LOOKS = _words(
    """
    df free uptime ps ss netstat lsof dmesg cat head tail ls stat wc du find grep egrep fgrep zgrep zcat sort uniq cut
    tr date hostname whoami id uname nproc vmstat iostat mpstat sar pidstat lsblk lscpu dig host nslookup getent pgrep
    pstree file md5sum sha256sum readlink realpath jq column nl tac diff cmp journalctl pg_isready sysctl ip ping
    """
)
_VERBS = {
    "systemctl": _words("status is-active is-failed is-enabled show list-units list-timers cat"),
    "docker": _words("ps logs inspect images top port version info stats"),
    "docker compose": _words("ps logs images top config"),
    "docker-compose": _words("ps logs images top config"),
    "kubectl": _words("get describe logs top version api-resources"),
    "git": _words("status log diff show describe rev-parse"),
    "crontab": _words("-l"),
}
# Arguments with which a program goes on for ever, writes, or runs another; of letters also among others, as in -100f.
_NOT_WITH = {
    "tail": _words("-f -F --follow --retry"),
    "journalctl": _words(
        "-f --follow --rotate --flush --sync --vacuum-size --vacuum-time --vacuum-files --update-catalog"
    ),
    "dmesg": _words("-w -W -C -c -D -E -n --follow --follow-new --clear --read-clear --console-off --console-on"),
    "sort": _words("-o --output --compress-program"),
    "find": _words("-exec -execdir -ok -okdir -delete -fprint -fprintf -fls -fprint0"),
    "ip": _words("add del delete set flush replace change exec monitor -batch -b append link"),
    "ss": _words("-K -E --kill --events"),
    "docker": _words("-f --follow"),
    "docker-compose": _words("-f --follow"),
    "kubectl": _words("-f -w --follow --watch --watch-only"),
    "file": _words("-C --compile"),
    "vmstat": _words(""),
}
_SHORT = _words("tail journalctl dmesg sort ss docker")
_SECRET_FILE = re.compile(
    r"(?i)shadow|\.env\b|pgpass|netrc|id_(?:rsa|ed25519|ecdsa)|\.(?:pem|key|kdbx)\b|secret|credential|passw"
)
_CLIENT = re.compile(r"(?:[A-Za-z_]\w*=\S*\s+)*(?:psql|redis-cli|curl)\s")
_FOR_A_SHELL = re.compile(r"[|;&<>$`()\n]")
_FOR_ANY_SHELL = re.compile(r"[|;&<>$`*?(){}\[\]~#!\n]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_CURL_FLAGS = _words(
    "-s -S -sS -Ss -i -v -f -fsS -fsSL -sSf -L -sL -k -sk --silent --show-error --fail --compressed -4 -6"
)
_CURL_VALUES = _words(
    """
    -H --header -u --user -m --max-time --connect-timeout -A --user-agent -b --cookie --cacert -w --write-out -e
    """
)
_PSQL_VALUES = _words("-h --host -p --port -U --username -d --dbname -v --set -P --pset -F")
_REDIS_VALUES = _words("-h -p -a -n -u --user --pass --cacert")
_REDIS_FLAGS = _words("--tls --no-auth-warning --raw --no-raw -3 -2 --insecure")


def step_of(typed: Typed) -> Step | str:
    """The step, or why there is none."""
    text = typed.text.strip()
    if "${{" in text:
        return "it holds what would be a template"
    if typed.prompt == "psql":
        return _statement(text)
    if typed.prompt == "redis":
        return _split(text, _redis_line)
    if harm := harm_in_script(text):
        return harm
    open_text = re.sub(r"'[^']*'|\"[^\"$`\\]*\"", "", text)
    # A client's address, key or statement is its own business: a shell leaves ? and {…} alone where no file fits.
    for_a_shell = _FOR_A_SHELL if _CLIENT.match(text) else _FOR_ANY_SHELL
    return _script(text) if for_a_shell.search(open_text) else _split(text, _command)


def _split(text: str, read: Callable[[list[str]], Step | str]) -> Step | str:
    try:
        words = shlex.split(text)
    except ValueError:
        return "its quotes do not match"
    return read(words) if words else "it is empty"


def _command(words: list[str]) -> Step | str:
    while words and _ASSIGNMENT.match(words[0]):  # PGPASSWORD=… psql: the environment of runbook.yaml has it
        words = words[1:]
    program = words[0].rpartition("/")[2] if words else ""
    match program:
        case "psql":
            return _psql(words[1:])
        case "redis-cli":
            return _redis_cli(words[1:])
        case "curl":
            return _curl(words[1:])
    return Step("shell", list(words), "here", "local") if (reason := _why_not(words)) is None else reason


def _script(text: str) -> Step | str:
    """Several commands, each of which only looks, joined by pipes: the text stays as it was typed."""
    if re.search(r"[;&<>$`(){}]|\|\||\n", re.sub(r"'[^']*'|\d?>&\d|\d?>/dev/null|2> ?/dev/null", "", text)):
        return "only a shell could tell what it does"
    try:
        commands = [shlex.split(part) for part in re.split(r"\|(?=(?:[^'\"]|'[^']*'|\"[^\"]*\")*$)", text)]
    except ValueError:
        return "its quotes do not match"
    plain = [[word for word in words if not re.fullmatch(r"\d?>&\d|\d?>/dev/null", word)] for words in commands]
    reasons = [reason for words in plain if (reason := _why_not(words))]
    return Step("shell", f"{text.strip()}\n", "here", "local") if not reasons else reasons[0]


def _why_not(words: Sequence[str]) -> str | None:
    """Why a command is no look that ends, or None when it is one."""
    if not words:
        return "it is empty"
    program = words[0].rpartition("/")[2]
    if harm := harm_in_words(words):
        return harm
    if reason := _argument_against(program, words[1:]):
        return reason
    both = " ".join(words[:2])
    verbs = _VERBS.get(both, _VERBS.get(program))
    if verbs is not None:
        rest = words[2:] if both in _VERBS else words[1:]
        verb = next((word for word in rest if word in verbs or not word.startswith("-")), "")
        return None if verb in verbs else f"{program} {verb} is no command that is known to look only"
    return None if program in _LOOKS else f"{program} is not known to look only"


def _argument_against(program: str, words: Sequence[str]) -> str | None:
    """An argument that makes something else of a program that looks."""
    refused = _NOT_WITH.get(program, frozenset())
    letters = {word[1] for word in refused if len(word) == 2} if program in _SHORT else set()
    for word in words:
        short = not word.startswith("--") and re.fullmatch(r"-\w+", word) is not None
        whole = word.partition("=")[0]
        if whole in refused or (
            word.startswith("--") and len(whole) > 3 and any(each.startswith(whole) for each in refused)
        ):
            return f"{program} {word} goes on, or changes something"
        if short and letters & set(word[1:]):
            return f"{program} {word} goes on, or changes something"
        if _SECRET_FILE.search(word):
            return f"{word} may hold secrets"
    match program:
        case "ping" if not any(word.startswith("-c") for word in words):
            return "ping without -c does not end by itself"
        case "sysctl" if any("=" in word for word in words):
            return "sysctl sets something"
        case "docker" if words[:1] == ["stats"] and "--no-stream" not in words:
            return "docker stats without --no-stream does not end by itself"
        case "date" | "hostname" if any(not word.startswith(("+", "-")) or word.startswith("-s") for word in words):
            return f"{program} with such an argument sets something"
        case "vmstat" | "iostat" | "mpstat" | "sar" | "pidstat" if _goes_on(words):
            return f"{program} with an interval and no count does not end by itself"
    return None


def _goes_on(words: Sequence[str]) -> bool:
    return sum(word.isdecimal() for word in words) == 1


def _statement(text: str) -> Step | str:
    if text.startswith("\\"):
        return "a command of psql itself"
    return Step("sql", text.rstrip("; \n") + ("\n" if "\n" in text.strip() else ""), "db", "postgres")


def _psql(words: list[str]) -> Step | str:
    statement = ""
    left = list(words)
    while left:
        word = left.pop(0)
        if word in ("-c", "--command") and left:
            statement = left.pop(0)
        elif word.startswith("--command="):
            statement = word.partition("=")[2]
        elif re.fullmatch(r"-[A-Za-z]*c", word) and left:
            statement = left.pop(0)
        elif word in _PSQL_VALUES and left:
            left.pop(0)
        elif word in ("-f", "--file", "-o", "--output", "-L"):
            return f"psql {word} reads or writes a file"
    return _statement(statement) if statement.strip() else "psql without a statement"


def _redis_cli(words: list[str]) -> Step | str:
    left = list(words)
    while left and left[0].startswith("-"):
        word = left.pop(0)
        if word in _REDIS_VALUES and left:
            left.pop(0)
        elif word not in _REDIS_FLAGS:
            return f"redis-cli {word} is a mode of redis-cli itself"
    return _redis_line(left)


def _redis_line(words: list[str]) -> Step | str:
    return Step("redis", list(words), "redis", "redis") if words else "redis-cli without a command"


def _curl(words: list[str]) -> Step | str:
    address, left_out = "", []
    left = list(words)
    while left:
        word = left.pop(0)
        if word in _CURL_VALUES and left:
            left.pop(0)
            left_out.append(word)
        elif word in ("-X", "--request") and left:
            if left.pop(0).upper() != "GET":
                return "curl with another method than GET"
        elif word in ("-I", "--head"):
            return "curl -I: write `http: {head: /path}`"
        elif word.startswith("-") and word not in _CURL_FLAGS:
            return f"curl {word} is nothing that can be taken over"
        elif not word.startswith("-"):
            address = address or word
    parts = _parts(address)
    if parts is None:
        return "curl without an address that can be read"
    path, query = parts
    request: Json = {"get": path, "query": query} if query else path
    return Step("http", request, "api", "http", f"without {' '.join(left_out)}" if left_out else "")


def _parts(address: str) -> tuple[str, str] | None:
    try:
        found = urlsplit(address if "://" in address else f"http://{address}")
    except ValueError:
        return None
    if found.scheme not in ("http", "https") or not found.netloc or found.fragment:
        return None
    return found.path or "/", found.query

"""What each Redis command can do, from a list of our own: the server's flags cannot tell CONFIG SET from CONFIG GET.

Pure. It must never guess in a command's favour: what is not on the list of reads is taken for a write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..executor import Effect

CANARY_PREFIX = "rb:canary:"
CANARY_LONGEST_MS = 60_000
_CANARY_LARGEST = 200  # characters of a canary's value
_LARGEST_COUNT = 10_000  # keys or members that one command may look at: the server does nothing else meanwhile

_READS = frozenset(
    [
        "GET",
        "MGET",
        "GETRANGE",
        "STRLEN",
        "GETBIT",
        "BITCOUNT",
        "BITPOS",
        "EXISTS",
        "TYPE",
        "TTL",
        "PTTL",
        "EXPIRETIME",
        "PEXPIRETIME",
        "LLEN",
        "LRANGE",
        "LINDEX",
        "LPOS",
        "HGET",
        "HMGET",
        "HLEN",
        "HEXISTS",
        "HSTRLEN",
        "HGETALL",
        "HKEYS",
        "HVALS",
        "HSCAN",
        "HRANDFIELD",
        "SCARD",
        "SISMEMBER",
        "SMISMEMBER",
        "SMEMBERS",
        "SRANDMEMBER",
        "SSCAN",
        "ZCARD",
        "ZCOUNT",
        "ZLEXCOUNT",
        "ZSCORE",
        "ZMSCORE",
        "ZRANK",
        "ZREVRANK",
        "ZRANGE",
        "ZREVRANGE",
        "ZRANGEBYSCORE",
        "ZREVRANGEBYSCORE",
        "ZRANGEBYLEX",
        "ZREVRANGEBYLEX",
        "ZSCAN",
        "ZRANDMEMBER",
        "XLEN",
        "XRANGE",
        "XREVRANGE",
        "XPENDING",
        "SCAN",
        "DBSIZE",
        "INFO",
        "PING",
        "TIME",
        "ROLE",
        "LASTSAVE",
    ]
)
_READ_SUBCOMMANDS: Mapping[str, frozenset[str]] = {
    name: frozenset(subcommands.split())
    for name, subcommands in {
        "ACL": "CAT DRYRUN GETUSER LIST USERS WHOAMI",
        "CLIENT": "GETNAME ID INFO LIST",
        "CLUSTER": "COUNTKEYSINSLOT INFO KEYSLOT LINKS MYID NODES SHARDS SLOTS",
        "COMMAND": "COUNT DOCS GETKEYS INFO LIST",
        "CONFIG": "GET",
        "FUNCTION": "LIST STATS",
        "LATENCY": "DOCTOR HISTOGRAM HISTORY LATEST",
        "MEMORY": "DOCTOR STATS USAGE",
        "MODULE": "LIST",
        "OBJECT": "ENCODING FREQ IDLETIME REFCOUNT",
        "PUBSUB": "CHANNELS NUMPAT NUMSUB SHARDCHANNELS SHARDNUMSUB",
        "SCRIPT": "EXISTS",
        "SENTINEL": "CKQUORUM GET-MASTER-ADDR-BY-NAME MASTER MASTERS MYID REPLICAS SENTINELS",
        "SLOWLOG": "GET LEN",
        "XINFO": "CONSUMERS GROUPS STREAM",
    }.items()
}
_CONTAINERS = frozenset(_READ_SUBCOMMANDS) | {"DEBUG", "XGROUP"}

_REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("KEYS", "SORT_RO"), "walks without bound and stops the server meanwhile; use SCAN"),
    **dict.fromkeys(
        ("MONITOR", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"),
        "never ends; sample with SCAN, SLOWLOG GET or INFO instead",
    ),
    **dict.fromkeys(
        ("BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"),
        "blocks the connection; use the command without blocking",
    ),
    **dict.fromkeys(
        ("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"),
        "is the engine's: a list of commands that writes is one transaction already",
    ),
    **dict.fromkeys(
        ("AUTH", "HELLO", "SELECT", "QUIT", "RESET", "ASKING", "READONLY", "READWRITE", "SYNC", "PSYNC", "REPLCONF"),
        "changes what the connection is; say user, password and db in the environment",
    ),
    **dict.fromkeys(
        ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"), "runs code; write {script: ..., keys: [...], args: [...]}"
    ),
}
_DESTRUCTIVE = frozenset(
    [
        "FLUSHALL",
        "FLUSHDB",
        "SHUTDOWN",
        "DEBUG",
        "SWAPDB",
        "MIGRATE",
        "MODULE",
        "XTRIM",
        "XDEL",
        "RESTORE",
        "RESTORE-ASKING",
        "SCRIPT|FLUSH",
        "FUNCTION|FLUSH",
        "FUNCTION|DELETE",
        "FUNCTION|RESTORE",
        "XGROUP|DESTROY",
        "CLUSTER|RESET",
        "CLUSTER|FLUSHSLOTS",
    ]
)
_DISRUPTIVE = frozenset(
    [
        "FAILOVER",
        "REPLICAOF",
        "SLAVEOF",
        "SAVE",
        "BGSAVE",
        "BGREWRITEAOF",
        "ACL",
        "CLIENT",
        "CLUSTER",
        "CONFIG",
        "SENTINEL",
        "SLOWLOG",
        "LATENCY",
        "SCRIPT|KILL",
        "FUNCTION|KILL",
        "XGROUP|SETID",
    ]
)
_REVERSIBLE_SETTINGS = re.compile(
    r"maxmemory(-.+)?|maxclients|activedefrag|stop-writes-on-bgsave-error|min-(replicas|slaves)-.+|timeout"
    r"|slowlog-.+|latency-monitor-threshold|tcp-keepalive|repl-backlog-size|lazyfree-.+|hz|loglevel"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_TEMPLATE = "${{"
_SCANS: Mapping[str, int] = {"SCAN": 2, "HSCAN": 3, "SSCAN": 3, "ZSCAN": 3}  # where their options begin
_SAMPLES = frozenset({"SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER"})


def complaint_about(command: Sequence[Any]) -> str | None:
    """Why this command is never sent, in any step; None when it may be."""
    if not command or not isinstance(command[0], str):
        return "a command is a list that begins with its name, e.g. [GET, key]"
    name = command[0]
    if not _NAME.fullmatch(name):
        rewrite = ", ".join(name.split()) if " " in name else "GET, key"
        return f"{name!r} is not the name of one command. Write each argument as its own item, e.g. [{rewrite}]"
    upper = name.upper()
    if upper in _REFUSED:
        return f"{upper} {_REFUSED[upper]}"
    if upper in _CONTAINERS and (len(command) < 2 or not _NAME.fullmatch(str(command[1]))):
        return f"the word after {upper} decides what it does, so it is written out, e.g. {_example(upper)}"
    if upper in ("XREAD", "XREADGROUP") and any(_text(word).upper() == "BLOCK" for word in command[1:]):
        return f"{upper} with BLOCK blocks the connection; leave BLOCK out"
    if (count := _count_of(upper, command)) is not None and not _is_small(count):
        return (
            f"{upper} with a count of {count!r} may stop the server meanwhile; "
            f"expected a whole number up to {_LARGEST_COUNT}"
        )
    if upper == "CLIENT" and str(command[1]).upper() in ("REPLY", "TRACKING", "CACHING", "SETNAME", "SETINFO"):
        return f"CLIENT {str(command[1]).upper()} changes what the connection is"
    return None


def effect_of(command: Sequence[Any]) -> tuple[Effect, str]:
    """The least effect of a command that has no complaint, and why. Its arguments may still be templates."""
    name = str(command[0]).upper()
    word = str(command[1]).upper() if name in _CONTAINERS and len(command) > 1 else ""
    said = f"{name} {word}".strip()
    if name in _READS or word in _READ_SUBCOMMANDS.get(name, frozenset()):
        return Effect.read, f"{said} reads"
    if _is_canary(command):
        return Effect.touch, "a canary that expires by itself"
    if name in _DESTRUCTIVE or f"{name}|{word}" in _DESTRUCTIVE:
        return Effect.destructive, f"{said} loses something for good"
    if said == "CONFIG SET" and _only_reversible_settings(command):
        return Effect.reversible, "CONFIG SET of a setting whose old value can be put back"
    if name in _DISRUPTIVE or f"{name}|{word}" in _DISRUPTIVE:
        return Effect.disruptive, f"{said} disturbs the server or its clients"
    return Effect.reversible, f"{said} writes, or may: it is not on the list of reads"


def affected_at_most(command: Sequence[Any]) -> int | None:
    """How many keys the command names, for those that touch exactly the keys they name; else None."""
    name = str(command[0]).upper()
    if name in ("DEL", "UNLINK", "TOUCH"):
        return len(command) - 1
    if name in ("MSET", "MSETNX"):
        return (len(command) - 1) // 2
    return 1 if name in _ONE_KEY else None


def affected_by(command: Sequence[Any], reply: Any) -> int | None:
    """How many keys or members the reply says were touched; None when the reply does not say."""
    name = str(command[0]).upper()
    if name in _COUNTED and isinstance(reply, int):
        return reply
    if name in _ONE_KEY or name in ("MSET", "CONFIG"):
        return 0 if reply is None else (affected_at_most(command) or 1)
    return None


_COUNTED = frozenset(
    [
        "DEL",
        "UNLINK",
        "TOUCH",
        "HDEL",
        "SREM",
        "ZREM",
        "LREM",
        "SADD",
        "ZADD",
        "EXPIRE",
        "PEXPIRE",
        "EXPIREAT",
        "PEXPIREAT",
        "PERSIST",
        "RENAMENX",
        "SETNX",
        "MSETNX",
        "XTRIM",
        "XDEL",
        "XACK",
        "MOVE",
        "COPY",
        "SMOVE",
        "CLIENT",
        "PFADD",
        "HSETNX",
        "ZREMRANGEBYSCORE",
        "ZREMRANGEBYRANK",
        "ZREMRANGEBYLEX",
    ]
)
_ONE_KEY = frozenset(
    [
        "SET",
        "GETSET",
        "GETDEL",
        "SETEX",
        "PSETEX",
        "RENAME",
        "INCR",
        "DECR",
        "INCRBY",
        "DECRBY",
        "INCRBYFLOAT",
        "APPEND",
        "SETRANGE",
        "HSET",
        "HMSET",
        "LPUSH",
        "RPUSH",
        "LTRIM",
        "XADD",
    ]
)


def _count_of(name: str, command: Sequence[Any]) -> str | None:
    """How much at once a SCAN or a random sample is told to look at; None when it is not told."""
    if name in _SAMPLES:
        return _text(command[2]) if len(command) > 2 else None
    if name not in _SCANS:
        return None
    counts = []
    index = _SCANS[name]
    while index + 1 < len(command):
        option = _text(command[index]).upper()
        if option == "COUNT":
            counts.append(_text(command[index + 1]))
        index += 2 if option in ("COUNT", "MATCH", "TYPE") else 1
    return next((count for count in counts if not _is_small(count)), None)


def _is_small(count: str) -> bool:
    """A template is judged again when its value is known."""
    return _TEMPLATE in count or bool(re.fullmatch(r"-?[0-9]{1,5}", count) and abs(int(count)) <= _LARGEST_COUNT)


def _text(word: Any) -> str:
    """As the server reads it, bytes too."""
    return word.decode("latin-1") if isinstance(word, bytes) else str(word)


def _example(name: str) -> str:
    return f"[{name}, {min(_READ_SUBCOMMANDS.get(name, frozenset({'HELP'})))}]"


def _only_reversible_settings(command: Sequence[Any]) -> bool:
    settings = [str(setting).lower() for setting in command[2::2]]
    return bool(settings) and all(_REVERSIBLE_SETTINGS.fullmatch(setting) for setting in settings)


def _is_canary(command: Sequence[Any]) -> bool:
    """SET rb:canary:… value NX PX|EX n, nothing more: the one write that a diagnosis may make."""
    if len(command) != 6 or str(command[0]).upper() != "SET" or not str(command[1]).startswith(CANARY_PREFIX):
        return False
    options = [str(option).upper() for option in command[3:]]
    if "NX" not in options:
        return False
    options.remove("NX")
    unit, amount = options
    milliseconds = {"PX": 1, "EX": 1000}.get(unit, 0) * (int(amount) if re.fullmatch(r"\d{1,6}", amount) else 0)
    return 0 < milliseconds <= CANARY_LONGEST_MS and len(str(command[2])) <= _CANARY_LARGEST

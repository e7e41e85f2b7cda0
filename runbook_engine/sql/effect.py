"""How much harm an SQL statement can do at least, from its text alone. Pure.

Must never call something `read` that it does not understand: the read-only session of the server is the second lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..executor import Effect
from .functions import ACTING, ROLLED_BACK, reads
from .lexer import Token, code

_READERS = frozenset({"select", "with", "values", "table", "show", "explain"})
_MODIFIERS = {
    "insert": Effect.reversible,
    "update": Effect.reversible,
    "merge": Effect.reversible,
    "delete": Effect.destructive,
}
_FIRST_WORDS: dict[str, tuple[Effect, str]] = {
    "insert": (Effect.reversible, "INSERT writes rows"),
    "update": (Effect.reversible, "UPDATE writes rows"),
    "merge": (Effect.reversible, "MERGE writes rows"),
    "delete": (Effect.destructive, "DELETE removes rows"),
    "truncate": (Effect.destructive, "TRUNCATE removes every row"),
    "drop": (Effect.destructive, "DROP removes an object"),
    "create": (Effect.reversible, "CREATE makes an object"),
    "alter": (Effect.reversible, "ALTER changes an object"),
    "comment": (Effect.reversible, "COMMENT changes an object"),
    "security": (Effect.reversible, "SECURITY LABEL changes an object"),
    "grant": (Effect.reversible, "GRANT changes rights"),
    "revoke": (Effect.reversible, "REVOKE changes rights"),
    "reassign": (Effect.reversible, "REASSIGN changes owners"),
    "refresh": (Effect.reversible, "REFRESH rewrites a materialized view"),
    "import": (Effect.reversible, "IMPORT makes tables"),
    "analyze": (Effect.reversible, "ANALYZE writes statistics"),
    "analyse": (Effect.reversible, "ANALYSE writes statistics"),
    "vacuum": (Effect.reversible, "VACUUM rewrites tables"),
    "checkpoint": (Effect.reversible, "CHECKPOINT writes to disk"),
    "set": (Effect.reversible, "SET changes the session"),
    "reset": (Effect.reversible, "RESET changes the session"),
    "discard": (Effect.reversible, "DISCARD changes the session"),
    "notify": (Effect.reversible, "NOTIFY sends messages"),
    "listen": (Effect.reversible, "LISTEN changes the session"),
    "unlisten": (Effect.reversible, "UNLISTEN changes the session"),
    "cluster": (Effect.disruptive, "CLUSTER locks a table and rewrites it"),
    "reindex": (Effect.disruptive, "REINDEX locks tables"),
    "lock": (Effect.disruptive, "LOCK makes other sessions wait"),
    "copy": (Effect.disruptive, "COPY writes rows, files or runs programs"),
    "load": (Effect.disruptive, "LOAD runs a library in the server"),
    "do": (Effect.disruptive, "DO runs code that cannot be looked into"),
    "call": (Effect.disruptive, "CALL runs code that cannot be looked into"),
    "execute": (Effect.disruptive, "EXECUTE runs a statement that is not shown"),
}
# The session opens and ends the transaction itself; with these a text could leave it, or leave something behind.
_CONTROL_WORDS = "begin start commit end rollback abort savepoint release prepare deallocate declare fetch move close"
_CONTROL = frozenset(_CONTROL_WORDS.split())
# Words that cannot be a function's name without quotes (pg_get_keywords, catcode R and C).
_RESERVED_WORDS = """
all analyse analyze and any array as asc asymmetric between bigint bit boolean both case cast char character check
coalesce collate column constraint create current_catalog current_date current_role current_time current_timestamp
current_user dec decimal default deferrable desc distinct do else end except exists extract false fetch float for
foreign from grant greatest group grouping having in initially inout int integer intersect interval into json
json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize json_table
json_value lateral leading least limit localtime localtimestamp merge_action national nchar none normalize not null
nullif numeric offset on only or order out overlay placing position precision primary real references returning row
select session_user setof smallint some substring symmetric system_user table then time timestamp to trailing treat
trim true union unique user using values varchar variadic when where window with xmlattributes xmlconcat xmlelement
xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
"""
_NO_CALL = frozenset(_RESERVED_WORDS.split())
# Words that may be a name or a part of the grammar (catcode U and T): never taken for a finished value.
# After WITH ORDINALITY only an alias can stand, so that one is left out.
_LOOSE_WORDS = """
abort absent absolute access action add admin after aggregate also alter always asensitive assertion assignment at
atomic attach attribute authorization backward before begin binary breadth by cache call called cascade cascaded
catalog chain characteristics checkpoint class close cluster collation columns comment comments commit committed
compression concurrently conditional configuration conflict connection constraints content continue conversion copy
cost cross csv cube current current_schema cursor cycle data database day deallocate declare defaults deferred definer
delete delimiter delimiters depends depth detach dictionary disable discard document domain double drop each empty
enable encoding encrypted enforced enum error escape event exclude excluding exclusive execute explain expression
extension external family filter finalize first following force format forward freeze full function functions
generated global granted groups handler header hold hour identity if ilike immediate immutable implicit import include
including increment indent index indexes inherit inherits inline inner input insensitive insert instead invoker is
isnull isolation join keep key keys label language large last leakproof left level like listen load local location
lock locked logged mapping match matched materialized maxvalue merge method minute minvalue mode month move name names
natural nested new next nfc nfd nfkc nfkd no normalized nothing notify notnull nowait nulls object objects of off oids
old omit operator option options others outer over overlaps overriding owned owner parallel parameter parser partial
partition passing password path period plan plans policy preceding prepare prepared preserve prior privileges
procedural procedure procedures program publication quote quotes range read reassign recursive ref referencing refresh
reindex relative release rename repeatable replace replica reset restart restrict return returns revoke right role
rollback rollup routine routines rows rule savepoint scalar schema schemas scroll search second security sequence
sequences serializable server session set sets share show similar simple skip snapshot source sql stable standalone
start statement statistics stdin stdout storage stored strict string strip subscription support sysid system tables
tablesample tablespace target temp template temporary text ties transaction transform trigger truncate trusted type
types uescape unbounded uncommitted unconditional unencrypted unknown unlisten unlogged until update vacuum valid
validate validator value varying verbose version view views virtual volatile whitespace within without work wrapper
write xml year yes zone
"""
_UNRESERVED = frozenset(_LOOSE_WORDS.split())
# Unreserved words that are grammar, and no call, behind these words only.
_DROPPED_LIGHTLY = ("not", "default", "expression", "identity", "constraint")
_NO_CALL_AFTER = {
    "by": {"group", "order", "partition"},
    "sets": {"grouping"},
    "materialized": {"as", "not"},
    "varying": {"char", "character", "bit", "nchar"},
    "zone": {"time"},
    "join": {"left", "right", "full", "inner", "outer", "cross", "natural"},
    "first": {"fetch"},
    "next": {"fetch"},
}


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function called by a statement, under the name that the server will look up."""

    name: str
    schema: str | None
    start: int

    @property
    def reads(self) -> bool:
        return reads(self.name, self.schema)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}()" if self.schema else f"{self.name}()"


@lru_cache(maxsize=256)
def classify(text: str) -> tuple[Effect, str]:
    """The least effect of running this text, and why in a few words."""
    unread = next((token for token in code(text) if token.kind == "broken" or _is_unicode_name(token)), None)
    if unread:
        return Effect.disruptive, f"cannot be read from {unread.text[:12]!r} on"
    parts = [part for part in statements(text) if part]
    if not parts:
        return Effect.disruptive, "holds no statement"
    if len(parts) > 1:
        worst = max((_classify(part) for part in parts), key=lambda found: found[0])
        return max(worst[0], Effect.disruptive), "several statements in one text"
    return _classify(parts[0])


def statements(text: str) -> list[list[Token]]:
    """The tokens of each statement, split at semicolons."""
    parts: list[list[Token]] = [[]]
    for token in code(text):
        if _is(token, ";"):
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def controls_transaction(text: str) -> str | None:
    """The statement's first word, when it would open, end or outlive the engine's own transaction."""
    for part in statements(text):
        words = [token.folded for token in part[:2]]
        if words and words[0] in _CONTROL and words[1:] != ["prepared"]:
            return words[0].upper()
    return None


def lasting_calls(text: str) -> tuple[str, ...]:
    """Functions whose effect a rollback would not take back, as far as their names tell."""
    found = [call for part in statements(text) for call in _calls(part)]
    reader = all(part[0].folded in _READERS for part in statements(text) if part)
    lasting = [call for call in found if call.name in ACTING or (reader and not call.reads)]
    return tuple(str(call) for call in lasting if call.name not in ROLLED_BACK)


def unjudged_calls(text: str) -> tuple[FunctionCall, ...]:
    """Functions that are not known to change nothing, in a statement of any kind."""
    return tuple(
        call
        for part in statements(text)
        for call in _calls(part)
        if not call.reads and not _is_written_to(part, call.start)
    )


def _is_written_to(part: Sequence[Token], start: int) -> bool:
    """Whether the name before this parenthesis is grammar of a write: its table, or the columns that it sets."""
    index = next(index for index, token in enumerate(part) if token.start == start)
    before = _qualified(part, index) - 1
    if _is(_at(part, before), "into") and _is(_at(part, before - 1), "insert"):
        return True
    if before != index - 1 or not _is(_at(part, index + 1), "("):
        return False
    if _is(part[index], "conflict") and _is(_at(part, before), "on"):
        return _is(_at(part, _closing(part, index + 1) + 1), "do")
    return _is(part[index], "set") and _is(_at(part, before), "update") and _is(_at(part, before - 1), "do")


def _is_unicode_name(token: Token) -> bool:
    return token.kind == "name" and not token.text.startswith('"')


def _is(token: Token | None, *texts: str) -> bool:
    """Whether it is one of these words or signs, unquoted."""
    return token is not None and token.kind in ("word", "operator") and token.folded in texts


def _at(part: Sequence[Token], index: int) -> Token | None:
    return part[index] if 0 <= index < len(part) else None


def _classify(part: Sequence[Token]) -> tuple[Effect, str]:
    body = list(part)
    while body and _is(body[0], "("):
        body = body[1:]
    first = body[0].folded if body and body[0].kind == "word" else ""
    if first == "explain":
        return _explained(body)
    if first in _READERS:
        return _reader(part)
    if first in ("drop", "alter"):
        return _changed_object(first, body)
    if first in _FIRST_WORDS:
        return _raised(_FIRST_WORDS[first], part)
    if first in _CONTROL:
        return Effect.disruptive, f"{first.upper()} leaves the engine's own transaction"
    return (
        Effect.disruptive,
        f"begins with {(body[0].text if body else part[0].text)[:20]!r}, which is not known to be harmless",
    )


def _explained(body: Sequence[Token]) -> tuple[Effect, str]:
    rest = list(body[1:])
    options: list[Token] = []
    if _is(_at(rest, 0), "("):
        close = _closing(rest, 0)
        options, rest = rest[: close + 1], rest[close + 1 :]
    while rest and _is(rest[0], "verbose", "analyze", "analyse"):
        options.append(rest.pop(0))
    if any(_is(token, "analyze", "analyse") for token in options):
        return Effect.disruptive, "EXPLAIN ANALYZE runs the statement"
    if not rest:
        return Effect.disruptive, "EXPLAIN of nothing"
    effect, why = _classify(rest)
    return (effect, f"EXPLAIN, but {why}") if effect > Effect.read else (effect, "EXPLAIN reads")


def _changed_object(first: str, body: Sequence[Token]) -> tuple[Effect, str]:
    drops = [index for index, token in enumerate(body) if _is(token, "drop")]
    if first == "alter" and any(not _is(_at(body, index + 1), *_DROPPED_LIGHTLY) for index in drops):
        return Effect.destructive, "ALTER … DROP removes a part of an object"
    # An index holds nothing that is not in its table: it can be built again from its definition.
    if first == "drop" and _is(_at(body, 1), "index"):
        return Effect.reversible, "DROP INDEX removes an index"
    return _FIRST_WORDS[first]


def _reader(part: Sequence[Token]) -> tuple[Effect, str]:
    for index, token in enumerate(part):
        if token.kind != "word" or _is(_at(part, index - 1), "."):
            continue
        if token.folded == "into":
            return Effect.reversible, "SELECT INTO makes a table"
        if token.folded == "for" and _is(_at(part, index + 1), "update", "share", "no", "key"):
            return Effect.disruptive, "FOR UPDATE or FOR SHARE locks rows"
        if token.folded in _MODIFIERS:
            return _raised((_MODIFIERS[token.folded], f"{token.folded.upper()} writes rows"), part)
    unknown = next((call for call in _calls(part) if not call.reads), None)
    if unknown is None:
        return Effect.read, f"{part[0].text.upper()} reads" if part[0].kind == "word" else "SELECT reads"
    if unknown.name in ACTING:
        return _raised((ACTING[unknown.name], f"calls {unknown}"), part)
    return Effect.disruptive, f"calls {unknown}, which is not known to be free of side effects"


def _raised(found: tuple[Effect, str], part: Sequence[Token]) -> tuple[Effect, str]:
    """The effect of a write, raised to that of the worst function it is known to call."""
    for call in _calls(part):
        if ACTING.get(call.name, Effect.read) > found[0]:
            found = (ACTING[call.name], f"calls {call}")
    return found


def _calls(part: Sequence[Token]) -> Iterator[FunctionCall]:
    for index, token in enumerate(part):
        if not _is(_at(part, index + 1), "("):
            # `row.name` calls name(row) where the row has no such column: of those names only the known can be told.
            if token.identifier in ACTING and _is(_at(part, index - 1), "."):
                yield FunctionCall(token.identifier, None, token.start)
            continue
        if token.kind == "placeholder" and token.text.endswith("I"):
            yield FunctionCall(token.text, None, token.start)
        elif token.kind in ("word", "name"):
            chain = _qualified(part, index)
            if chain != index:
                schema = "".join(each.identifier for each in part[chain : index - 1])
                if not _is_type(_at(part, chain - 1)):
                    yield FunctionCall(token.identifier, schema, token.start)
            elif _is_call(part, index):
                yield FunctionCall(token.identifier, None, token.start)


def _qualified(part: Sequence[Token], index: int) -> int:
    """Where the dotted name that ends here begins."""
    while index >= 2 and _is(part[index - 1], "."):
        index -= 2
    return index


def _is_type(before: Token | None) -> bool:
    return _is(before, "::", "as")


def _is_call(part: Sequence[Token], index: int) -> bool:
    token, before = part[index], _at(part, index - 1)
    if _is_type(before) or _is_column_list(part, index):
        return False
    if token.kind == "word":
        if token.folded == "operator":
            return True
        if token.folded in _NO_CALL or (token.folded == "explain" and index == 0):
            return False
        if _is(before, *_NO_CALL_AFTER.get(token.folded, ())):
            return False
        if token.folded in ("rollup", "cube") and _is(before, "by") and _is(_at(part, index - 2), "group"):
            return False
    # A call stands where a value is expected. Behind a finished value `x (` is an alias with columns, FILTER, OVER.
    return not _ends_value(part, index - 1)


def _is_column_list(part: Sequence[Token], index: int) -> bool:
    """Whether this is `x(a, b) as (query)` of a WITH. `from f(1) as (a int)` is a call: it is the query that tells."""
    if not _is(_at(part, index - 1), "with", "recursive", ","):
        return False
    after = _closing(part, index + 1) + 1
    if not _is(_at(part, after), "as"):
        return False
    after += 1
    while _is(_at(part, after), "not", "materialized"):
        after += 1
    body, next_one = _at(part, after + 1), _at(part, after + 2)
    return _is(_at(part, after), "(") and (
        _is(body, "select", "with", "table", "(") or (_is(body, "values") and _is(next_one, "("))
    )


def _ends_value(part: Sequence[Token], index: int) -> bool:
    """Whether a value or a name is complete at this token, so that another cannot begin right behind it."""
    token = _at(part, index)
    if token is None:
        return False
    if _is(token, ")"):
        opening = _at(part, _opening(part, index) - 1)
        return not _is(opening, "on", "operator", "all", "distinct", "explain")
    if token.kind == "word":
        return token.folded not in _NO_CALL and token.folded not in _UNRESERVED
    return _is(token, "]") or token.kind in ("name", "string", "dollar", "number", "parameter", "placeholder")


def _closing(part: Sequence[Token], index: int) -> int:
    """The parenthesis that closes the one at `index`; the end when none does."""
    depth = 0
    for position in range(index, len(part)):
        depth += _is(part[position], "(") - _is(part[position], ")")
        if depth == 0:
            return position
    return len(part)


def _opening(part: Sequence[Token], index: int) -> int:
    depth = 0
    for position in range(index, -1, -1):
        depth += _is(part[position], ")") - _is(part[position], "(")
        if depth == 0:
            return position
    return -1

"""Asks the server whether a read might call a function that somebody made there: no text tells `lower` from `lower`.

A function of one's own under a familiar name wins wherever its argument types fit better, and `row.name` calls
`name(row)` where the row has no such column. What the server calls without being told a name stays open: views, row
policies, operators, casts and the types' own functions. Must never be asked outside the transaction of the read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from ..errors import Refused
from .answers import Connection, Statement
from .functions import reads
from .lexer import Token, code

# Whatever initdb made has a smaller number. A cast to `name` cuts a name where the server would.
_QUESTION = """
select p.pronamespace::regnamespace::text, p.proname::text
from pg_catalog.pg_proc p
cross join lateral (
  select p.oid >= 16384::oid and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_proc'::regclass::oid and d.objid = p.oid and d.deptype = 'e') as own) made
where p.proname = any(%(called)s::name[]) and own
  or p.proname = any(%(fields)s::name[]) and p.pronargs >= 1 and p.pronargs - p.pronargdefaults <= 1
     and (own or p.provolatile = 'v' and not p.proname = any(%(known)s::name[]))
limit 1
"""


@dataclass(frozen=True, slots=True)
class Named:
    """Names at the places where a call may stand: before a parenthesis, and behind a dot."""

    called: frozenset[str]
    fields: frozenset[str]


def named(statement: Statement) -> Named:
    part = code(statement.text)
    called: set[str] = set()
    fields: set[str] = set()
    for index, token in enumerate(part):
        if _is_sign(part, index + 1, "("):
            called |= _names(token, statement)
        if _is_sign(part, index - 1, "."):
            fields |= _names(token, statement)
    return Named(frozenset(called), frozenset(fields))


def refuse_user_functions(connection: Connection, statements: Sequence[Statement]) -> None:
    """Refused when one of the names is a function made in this database, or one behind a dot that is known to act."""
    found = [named(statement) for statement in statements]
    called = sorted(frozenset[str]().union(*(names.called for names in found)))
    fields = sorted(frozenset[str]().union(*(names.fields for names in found)))
    if not called and not fields:
        return
    known = [name for name in fields if reads(name, None)]
    asked = {"called": called, "fields": fields, "known": known}
    row = psycopg.Cursor(connection).execute(_QUESTION, asked).fetchone()
    if row:
        raise Refused(
            f"a read may not do this: the text could call the function {row[0]}.{row[1]}(), which nobody has judged "
            f"to be free of side effects. Do without the name {row[1]!r}, or make it a step of resolution"
        )


def _names(token: Token, statement: Statement) -> set[str]:
    """As written and, for databases of single-byte encodings that fold all letters, in lower case."""
    if token.kind == "placeholder":
        return set(statement.identifiers)
    if token.kind not in ("word", "name"):
        return set()
    return {token.identifier, token.identifier.lower()}


def _is_sign(part: Sequence[Token], index: int, sign: str) -> bool:
    return 0 <= index < len(part) and part[index].kind == "operator" and part[index].text == sign

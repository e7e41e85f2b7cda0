"""Foreign words made fit for a playbook: one safe line, no secret, no template; and names made of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from ..expressions import ExpressionError, compile_expression
from ..loading.checks.names import RESERVED
from ..redaction import MASK, Redactor
from ..safe_text import safe_text, shorten

LONGEST_ID = 40
# mysql -pSECRET, sshpass -p SECRET, curl -u NAME:SECRET, openssl -passin pass:SECRET, redis-cli> AUTH SECRET
_OPTION = re.compile(
    r"""(
      \b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump|mongo|mongosh)\b[^|;\n]{0,400}?\s-p\s*(?!-)
    | \bsshpass\s+-p\s*
    | (?:\s-u\s*|--(?:proxy-)?user[ =])["']?[^\s:"']{1,100}:
    | \bpass(?:in|out)?\s+pass: | \bpass:
    | (?:^|\s)auth\s+(?:\S{1,100}\s+)?(?=\S)
    )(?:"[^"\n]*"|'[^'\n]*'|[^\s"'@]+)""",
    re.VERBOSE | re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def tamed(text: str, most: int = 300) -> str:
    """One line to show. `${{` is broken apart: what comes from outside never is a template."""
    line = safe_text(" ".join(masked(text).split()))
    return shorten(line.replace("${{", "$ {{"), most).strip()


def masked(text: str) -> str:
    """Without what looks like a secret, also as options of programs that take one on their command line."""
    return Redactor({}).text(_OPTION.sub(rf"\1{MASK}", text))


def identifier(text: str, otherwise: str, taken: Collection[str] = ()) -> str:
    """`QueueBacklog` and `Queue backlog!` are `queue-backlog`; a number is put behind a name that is taken."""
    plain = unicodedata.normalize("NFKD", _CAMEL.sub(" ", text[:400])).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    found = re.sub(r"^[^a-z]+", "", words)[:LONGEST_ID].strip("-") or otherwise
    return _free(found, taken, "-")


def name(text: str, otherwise: str, taken: Collection[str] = ()) -> str:
    """The name of a fact or an input: an identifier with underscores that the language does not use itself."""
    plain = identifier(text, otherwise).replace("-", "_")
    return _free(plain if _is_a_name(plain) else f"{plain}_value", {*taken, *RESERVED}, "_")


def _is_a_name(word: str) -> bool:
    """Jinja's grammar has words of its own, `nil` for instance."""
    try:
        return compile_expression(word).names == {word}
    except ExpressionError:
        return False


def _free(found: str, taken: Collection[str], joint: str) -> str:
    number, candidate = 1, found
    while candidate in taken:
        number += 1
        candidate = f"{found}{joint}{number}"
    return candidate

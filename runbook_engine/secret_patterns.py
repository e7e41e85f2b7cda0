"""What a secret looks like when its value is not known: fixed prefixes of vendors, headers, URLs, assignments. Pure.

Every pattern is matched only where its keyword stands and every repetition is bounded,
so that no text takes quadratic time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """`regex` is matched where one of `keywords` stands; its group `secret` is what must not be shown.

    Keywords in lower case find any case when `anycase`.
    """

    kind: str
    keywords: tuple[str, ...]
    regex: re.Pattern[str]
    anycase: bool = False


_END = r"(?![A-Za-z0-9])"
_VENDORS = {
    "aws-key-id": (("AKIA", "ASIA"), r"A[KS]IA[A-Z0-9]{16}" + _END),
    "github-token": (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{30,255}"),
    "github-pat": (("github_pat_",), r"github_pat_[A-Za-z0-9_]{40,255}"),
    "gitlab-token": (("glpat-", "glrt-"), r"gl(?:pa|r)t-[A-Za-z0-9_.-]{20,300}"),
    "slack-token": (("xox", "xapp-"), r"(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,250}"),
    "slack-webhook": (
        ("hooks.slack.com/",),
        r"hooks\.slack\.com/(?:services|workflows)/(?P<secret>[A-Za-z0-9/_-]{20,200})",
    ),
    "discord-webhook": (("/api/webhooks/",), r"/api/webhooks/\d{5,30}/(?P<secret>[A-Za-z0-9_-]{30,120})"),
    "jwt": (
        ("eyJ",),
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{8,16384}(?:\.[A-Za-z0-9_-]{0,4096})?",
    ),
    "google-api-key": (("AIza",), r"AIza[A-Za-z0-9_-]{35}"),
    "google-oauth": (("ya29.", "GOCSPX-"), r"(?:ya29\.|GOCSPX-)[A-Za-z0-9_-]{20,500}"),
    "stripe-key": (("k_live_", "k_test_"), r"k_(?:live|test)_[A-Za-z0-9]{10,250}"),
    "webhook-secret": (("whsec_",), r"whsec_[A-Za-z0-9+/=]{16,250}"),
    "npm-token": (("npm_",), r"npm_[A-Za-z0-9]{36}" + _END),
    "pypi-token": (("pypi-AgE",), r"pypi-AgE[A-Za-z0-9_-]{40,500}"),
    "sendgrid-key": (("SG.",), r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
    "openai-key": (("sk-",), r"sk-(?:proj|svcacct|ant)-[A-Za-z0-9_-]{20,300}"),
    "hugging-face-token": (("hf_",), r"hf_[A-Za-z0-9]{30,60}" + _END),
    "vault-token": (("hvs.", "hvb."), r"hv[sb]\.[A-Za-z0-9_-]{20,300}"),
    "digitalocean-token": (("_v1_",), r"_v1_[a-f0-9]{64}"),
    "docker-token": (("dckr_pat_",), r"dckr_pat_[A-Za-z0-9_-]{20,60}"),
    "shopify-token": (("shp",), r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    "grafana-token": (("glsa_", "glc_"), r"gl(?:sa|c)_[A-Za-z0-9+/=_]{30,500}"),
    "sentry-token": (("sntry",), r"sntry[su]_[A-Za-z0-9+/=_-]{40,500}"),
    "newrelic-key": (("NRAK-",), r"NRAK-[A-Z0-9]{27}"),
    "atlassian-token": (("ATATT3",), r"ATATT3[A-Za-z0-9_=-]{100,300}"),
    "postman-key": (("PMAK-",), r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
    "linear-key": (("lin_api_",), r"lin_api_[A-Za-z0-9]{40}"),
    "databricks-token": (("dapi",), r"dapi[a-f0-9]{32}" + _END),
    "terraform-token": ((".atlasv1.",), r"\.atlasv1\.(?P<secret>[A-Za-z0-9_=-]{50,100})"),
    "age-key": (("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[A-Z0-9]{50,70}"),
    "square-token": (("sq0",), r"sq0(?:csp|atp)-[A-Za-z0-9_-]{22,60}"),
    "azure-key": (("Key=",), r"(?:(?<=Account)|(?<=SharedAccess))Key=(?P<secret>[A-Za-z0-9+/=]{20,200})"),
}

_KEY_BODY = r"(?P<secret>(?:[A-Za-z0-9+/=\s\\:,._\"']|-(?!----)){1,65536})"
# What stands for a value without being one: a variable, a placeholder, a mask, a type.
_STAND_IN = (
    r"(?!\$\{|\$\(|\$\w|%\(|%s|\{\{|<|\*\*\*|\[secret |(?:null|none|nil|true|false|undefined|required|redacted)\b)"
)
_VALUE = (
    rf"(?:\\?[\"'](?P<secret>{_STAND_IN}[^\"'\r\n\\]{{1,4096}})"
    rf"|{_STAND_IN}(?P<bare>[^\s\"'`,;&|<>(){{}}\[\]\\]{{1,4096}}))"
)
# Each begins with one of the keywords of its pattern below; what must stand before that is looked back at.
_STRONG = (
    r"pass(?:word|wd|phrase)|pwd|(?<=require)pass|(?<=master)auth|(?<=rediscli_)auth|"
    r"secret[_-]?(?:access[_-]?)?key|(?<=client[_-])secret|"
    r"(?:(?<=api)|(?<=api[_-])|(?<=access[_-])|(?<=private[_-]))key|"
    r"(?:(?<=access[_-])|(?<=bearer[_-])|(?<=auth[_-])|(?<=refresh[_-])|(?<=session[_-]))token"
)
# `token: expected '}'` is prose, `token=…` and `"token": "…"` are not; after a bare colon only a random look counts.
_RANDOM = r"(?P<secret>(?=[^\s\"',;]{0,64}\d)(?=[^\s\"',;]{0,64}[A-Za-z])[^\s\"',;&<>(){}\[\]\\]{12,4096})"
_ASSIGNED = r"\\?[\"']?\s{0,3}(?:=>|:=|[=:])\s{0,3}"


def _compiled(kind: str, keywords: tuple[str, ...], source: str, *, anycase: bool = False) -> Pattern:
    whole = source if "(?P<secret>" in source else f"(?P<secret>{source})"
    return Pattern(kind, keywords, re.compile(whole, re.IGNORECASE if anycase else 0), anycase)


_OPTION = r"--(?:pass(?:word|wd|phrase)?|token|secret|api-key|auth)[ \t]{1,3}"

PATTERNS: tuple[Pattern, ...] = (
    _compiled("private-key", ("-----BEGIN ",), rf"-----BEGIN [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----{_KEY_BODY}"),
    *(_compiled(kind, keywords, source) for kind, (keywords, source) in _VENDORS.items()),
    _compiled(
        "url-password",
        ("://",),
        r"://[^\s/:@\"'<>?#]{0,256}:(?P<secret>(?!\*\*\*@|\[secret )[^\s/@\"'<>]{1,256})@",
    ),
    _compiled(
        "authorization",
        ("auth",),
        rf"authorization{_ASSIGNED}\\?[\"']?(?:(?:basic|bearer|token|digest|negotiate|apikey)\s{{1,3}})?"
        rf"(?P<secret>(?!(?:basic|bearer|token|digest|negotiate|apikey)\s){_STAND_IN}[^\s\"'\\,]{{4,8192}})",
        anycase=True,
    ),
    _compiled(
        "bearer",
        ("bearer",),
        rf"bearer\s(?P<secret>{_STAND_IN}(?=\S{{0,64}}\d)[A-Za-z0-9._~+/=-]{{16,8192}})",
        anycase=True,
    ),
    _compiled(
        "cookie",
        ("cookie",),
        rf"cookie\\?[\"']?:\s?\\?[\"']?(?P<secret>{_STAND_IN}[^\r\n\"'\\]{{4,8192}})",
        anycase=True,
    ),
    _compiled(
        "assignment",
        ("pass", "pwd", "secret", "key", "token", "auth"),
        rf"(?:{_STRONG}){_ASSIGNED}{_VALUE}",
        anycase=True,
    ),
    _compiled(
        "assignment",
        ("token", "secret", "credential", "signature"),
        rf"(?:token|secret|credentials?|signature)(?:\\?[\"']?\s{{0,3}}=>?\s{{0,3}}(?!\d{{1,9}}\b){_VALUE}"
        rf"|\\?[\"']\s{{0,3}}:\s{{0,3}}\\?[\"'](?P<quoted>{_STAND_IN}[^\"'\r\n\\]{{1,4096}})"
        rf"|:\s{{0,3}}{_RANDOM.replace('secret', 'random')})",
        anycase=True,
    ),
    _compiled("option", ("--",), _OPTION + _VALUE, anycase=True),
    _compiled(
        "redis-password",
        ("pass", "auth"),
        rf"(?:(?<=require)pass|(?<=master)auth)\\?[\"']?[ ,\t]{{1,3}}{_VALUE}",
        anycase=True,
    ),
    _compiled(
        "redis-password",
        ("auth",),
        r'(?<=")auth"(?:[ ,]{1,3}"[^"\r\n]{0,256}")?[ ,]{1,3}"(?P<secret>(?!\*\*\*)[^"\r\n]{1,4096})"'
        r'(?![ ,]{1,3}"\*\*\*")',
        anycase=True,
    ),
    _compiled(
        "redis-password",
        ("redis-cli ",),
        rf"redis-cli(?:(?! -a\s)[^\r\n|;&]){{0,256}} -a[ \t]{{1,3}}{_VALUE}",
        anycase=True,
    ),
    _compiled(
        "command-password",
        ("curl", "wget"),
        r"(?:curl|wget)[^\r\n|;&]{0,256}?[\s\"',](?:-u|--user|--proxy-user)\\?[\"']?[ \t=,]{1,3}\\?[\"']?"
        rf"[^\s:\"'\\$]{{0,128}}:(?P<secret>{_STAND_IN}[^\s\"'\\]{{1,256}})",
    ),
    _compiled(
        "command-password",
        ("mysql", "mariadb"),
        r"(?:mysql|mariadb)[^\r\n|;&]{0,256}?[\s\"',]-p"
        rf"(?P<secret>{_STAND_IN}[^\s\"'\\,]{{3,256}})",
    ),
    _compiled("command-password", ("sshpass",), rf"sshpass[\"']?[\s,]{{1,3}}[\"']?-p[\"']?[\s,]{{0,3}}{_VALUE}"),
    _compiled(
        "sql-password",
        ("pass", "identified by '"),
        r"(?:password|identified by) '(?P<secret>(?!\*\*\*|\[secret )(?:[^'\r\n]|''){1,4096})'",
        anycase=True,
    ),
)


def found(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind of everything in the text that looks like a secret."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few capitals become two characters, and positions would shift
        lowered = text.translate(_ASCII_LOWER)
    absent = {keyword for keyword, anycase in _KEYWORDS if keyword not in (lowered if anycase else text)}
    for pattern in PATTERNS:
        where = lowered if pattern.anycase else text
        for keyword in pattern.keywords:
            if keyword not in absent:
                yield from _matches(pattern, keyword, where, text)


_KEYWORDS = {(keyword, pattern.anycase) for pattern in PATTERNS for keyword in pattern.keywords}
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _matches(pattern: Pattern, keyword: str, where: str, text: str) -> Iterator[tuple[int, int, str]]:
    position = where.find(keyword)
    while position >= 0:
        match = pattern.regex.match(text, position)
        end = position + len(keyword)
        if match:
            group = next(name for name, value in match.groupdict().items() if value is not None)
            yield match.start(group), match.end(group), pattern.kind
            end = max(end, match.end())
        position = where.find(keyword, end)


_SECRET_KEYS = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|passcode|pwd|secret|token|api_?key|access_?key|private_?key|secret_?key|"
    r"authorization|cookie|credentials?|requirepass|masterauth|rediscli_?auth|pgpassword|dsn)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def names_secret(key: str) -> bool:
    """Whether what stands under this key is a secret by its name: `db_password`, `apiKey`, not `token_count`."""
    return _SECRET_KEYS.search(_CAMEL.sub("_", key[-128:]).replace("-", "_").lower()) is not None

"""Files that are sound as YAML and hostile as a playbook: expressions, patterns, templates, SQL, scripts, requests."""

from __future__ import annotations

from .files import ACTION, SYMPTOM, Json, Made, block, playbook, with_action, with_fact, with_step

TEMPLATE = "${{ pong }}"


def expressions() -> Made:
    hostile = {
        "brackets-25": "(" * 25 + "1" + ")" * 25,
        "brackets-26": "(" * 26 + "1" + ")" * 26,
        "brackets-2000": "(" * 2_000 + "1" + ")" * 2_000,
        "brackets-left-open": "(" * 4_000,
        "brackets-closed": ")" * 4_000,
        "lists": "[" * 2_000 + "]" * 2_000,
        "maps": "{'a':" * 800 + "1" + "}" * 800,
        "not": "not " * 1_000 + "true",
        "minus": "-" * 4_000 + "1",
        "plus": "1" + "+1" * 2_000,
        "powers": "9" + "**9" * 1_300,
        "times": "9" + "*9" * 2_000,
        "and": "true" + " and true" * 400,
        "or": "pong" + " or pong" * 500,
        "and-or": "true" + " and true or true" * 200,
        "compare": "1" + "<1" * 2_000,
        "is": "pong" + " is known" * 400,
        "in": "1" + " in 1" * 800,
        "tilde": "pong" + "~pong" * 800,
        "ternary": "1 if pong else " * 250 + "2",
        "filters": "pong" + "|first" * 650,
        "filters-with-arguments": "pong" + "|default(1)" * 350,
        "filters-in-filters": "pong|default(" * 300 + "1" + ")" * 300,
        "calls": "rate(" * 800 + "'x'" + ")" * 800,
        "dots": "pong" + ".a" * 2_000,
        "indices": "pong" + "[0]" * 1_300,
        "indices-in-indices": "pong[" * 1_000 + "0" + "]" * 1_000,
        "names": " or ".join(f"name{number}" for number in range(350)),
        "one-name": "x" * 4_096,
        "one-name-too-long": "x" * 4_097,
        "megabyte": "1+" * 30_000 + "1",
        "text": "'" + "x" * 4_000 + "'",
        "text-left-open": "'" + "x" * 4_000,
        "backslashes": "'" + "\\" * 4_000,
        "escapes": "'" + "\\u0041" * 680 + "'",
        "surrogates": "'\\ud800'",
        "digits": "9" * 4_000,
        "exponent": "1e999999",
        "underscores": "1" + "_1" * 2_000,
        "hex": "0x" + "f" * 4_000,
        "commas": "[" + "1," * 2_000 + "]",
        "map": "{" + ",".join(f"'k{number}':1" for number in range(400)) + "}",
        "keywords": "rate(" + ",".join(f"k{number}=1" for number in range(500)) + ")",
        "stars": "rate(*pong, **pong)",
        "slices": "pong[" + ":" * 3_000 + "]",
        "spaces": " " * 4_095 + "1",
        "line-breaks": "\n" * 4_095 + "1",
        "comment": "{# " * 1_000,
        "block": "{% for a in b %}" * 200,
        "class": "pong.__class__.__mro__[1].__subclasses__()",
        "globals": "self._TemplateReference__context.cycler.__init__.__globals__.os.popen('id').read()",
        "dunder": "''.__class__",
        "attribute-filter": "pong|attr('__class__')",
        "map-filter": "pong|map(attribute='__class__.__mro__')|list",
        "format": "'%999999999d'|format(1)",
        "repeat": "'a' * 10**9",
        "repeat-in-turn": "'a' * 999999999",
        "range": "range(10**10)|list|length",
        "join": "pong|join('" + "x" * 3_900 + "')",
        "lambda": "(lambda: 1)()",
        "import": "__import__('os').system('id')",
        "unicode": "ｐｏｎｇ or 变量 > ١",
        "operators": "+-*/%~|&^<>=!" * 300,
        "quotes-in-turn": "'\"" * 2_000,
        "pipes": "|" * 4_000,
        "dollars": "${{" * 1_300,
        "durations": "duration('" + "9" * 4_000 + "h')",
        "baselines": " or ".join(f"baseline('b{number}', 1) > 1" for number in range(120)),
    }
    for name, text in hostile.items():
        yield name, with_fact(text)
    yield "a-thousand-bad-ones", playbook(symptoms=[{**SYMPTOM, "facts": {f"f{n}": f"((( {n}" for n in range(1_000)}}])
    yield (
        "a-thousand-long-ones",
        playbook(symptoms=[{**SYMPTOM, "facts": {f"f{n}": f"{n} or " + "pong or " * 100 + "1" for n in range(200)}}]),
    )
    yield (
        "everywhere",
        playbook(
            causes=[
                {"id": f"c{n}", "needs": "(" * 1_000 + str(n), "title": "${{ " + "(" * 500 + str(n)} for n in range(100)
            ]
        ),
    )


def patterns() -> Made:
    """Regular expressions, in an input and in a `matches`."""
    hostile = (
        "(a+)+$",
        "(a|a)*b",
        "(.*)*x",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "(x+x+)+y",
        "a{1,99999}",
        "(a{1,100}){1,100}",
        "((a{1,10}){1,10}){1,10}",
        "a?" * 200 + "a" * 99,
        "(" * 300 + ")" * 200,
        "[" * 500,
        "[a-z" + "a-z" * 150 + "]",
        "(?:" * 160,
        "(a)\\1",
        "(?<=a)b",
        "(?i:a)(?x) b",
        "\\p{L}+",
        "\\x{110000}",
        "[z-a]",
        "*",
        "(?P<a>b)(?P<a>c)",
        "|" * 500,
        "\\" * 499,
        "." * 501,
        "a{2,1}",
        "a{}",
        "a{" + "9" * 400 + "}",
        "\\ud800",
        "(?#" + "x" * 400 + ")",
        "^" * 500,
        "[\x80-\U0010ffff]*" * 10,
    )
    for number, pattern in enumerate(hostile):
        inputs = {"a": {"type": "string", "default": "a" * 4_000 + "!", "pattern": pattern}}
        quoted = pattern.replace("\\", "\\\\").replace("'", "\\'")
        symptom = {**SYMPTOM, "facts": {"pong": f"'{'a' * 500}!' is matches('{quoted}')"}}
        yield f"{number:02}", playbook(inputs=inputs, symptoms=[symptom])


def templates() -> Made:
    hostile = {
        "left-open": "${{ " * 4_000,
        "closed-only": "}} " * 10_000,
        "inside-each-other": "${{ " * 50 + "1" + " }}" * 50,
        "inside-a-text": "${{ '${{ pong }}' }}",
        "five-thousand": "${{ pong }}" * 1_500,
        "five-thousand-different": "".join(f"${{{{ n{number} }}}}" for number in range(1_500)),
        "two-hundred-different": "".join(f"${{{{ n{number} }}}}" for number in range(200)),
        "dollars": "$" * 19_000,
        "escaped": "$${{ " * 3_000,
        "quotes-left-open": "${{ '" * 3_000,
        "quotes-in-turn": "${{ " + "'\"" * 9_000,
        "brackets-left-open": "${{ (((" * 2_000,
        "backslashes": "${{ '" + "\\" * 19_000,
        "braces": "{{ a }}{% b %}{# c #}" * 800,
        "empty": "${{ }}" * 3_000,
        "line-breaks": "${{\n\n" * 3_000 + "}}",
    }
    for name, text in hostile.items():
        yield f"title-{name}", with_step(redis=["PING"], title=text)
        yield f"request-{name}", with_step(redis=["GET", text])
    yield "in-ids", with_step(redis=["PING"], facts={TEMPLATE: TEMPLATE}, target=TEMPLATE)
    yield "in-the-name", playbook(name=TEMPLATE, area=TEMPLATE, alerts=[{TEMPLATE: TEMPLATE}], explains=[TEMPLATE])
    yield (
        "in-code",
        playbook(
            diagnosis=[
                {"id": "a", "sql": "select ${{ pong }} " * 2_000},
                {"id": "b", "shell": "echo ${{ pong }}\n" * 2_000, "effect": "read"},
                {"id": "c", "redis": {"script": "return ${{ pong }} " * 2_000, "keys": [], "args": []}},
            ]
        ),
    )
    yield "in-the-command", with_step(redis=[TEMPLATE, "a"])
    yield "in-the-address", with_step(http={"get": TEMPLATE * 500})


def sql() -> Made:
    hostile = {
        "comments-in-comments": "/*" * 30_000,
        "comments-closed": "select 1 " + "/*" * 15_000 + "*/" * 15_000,
        "lines-of-comment": "--\n" * 20_000,
        "quote-left-open": "select '" + "x" * 60_000,
        "quotes": "'" * 60_001,
        "quoted-literals": "select " + "'a'\n" * 15_000,
        "continued-literals": "select 'a'" + "\n--\n" * 15_000 + "'b'",
        "spaces-before-a-break": "select 'a'" + " " * 60_000 + "x",
        "comments-before-a-break": "select 'a'" + "--x\r\r" * 10_000,
        "escape-literal": "select E'" + "\\'" * 30_000,
        "dollar-quotes": "$a$" * 20_001,
        "dollar-names": "".join(f"$a{number}$" for number in range(8_000)),
        "dollars": "$" * 60_000,
        "identifiers": '"' * 60_001,
        "brackets": "select " + "(" * 60_000,
        "brackets-closed": "select " + "(" * 20_000 + "1" + ")" * 20_000,
        "statements": "select 1;" * 6_000,
        "semicolons": ";" * 60_000,
        "percents": "%" * 60_000,
        "placeholders": "select " + "%(pong)s, " * 6_000,
        "placeholders-499": "select " + "%(pong)s, " * 499 + "1",
        "placeholders-in-a-list": "select 1 order by " + "f(1), " * 8_000 + "%(pong)s",
        "placeholders-499-in-order": "select 1 order by " + "%(pong)s, " * 499 + "1",
        "placeholders-in-quotes": "select '" + "%(pong)s " * 400 + "'",
        "placeholders-after-brackets": "select " + "(1)," * 5_000 + "%(pong)s," * 490 + "1",
        "operators": "select " + "<>@#&|^!~?" * 6_000,
        "words": "select " + "a " * 30_000,
        "joins": "select 1 from a " + "join a on a.a = a.a " * 3_000,
        "unions": "select 1 " + "union select 1 " * 4_000,
        "withs": "with " + ", ".join(f"a{n} as (select 1)" for n in range(3_000)) + " select 1",
        "cases": "select " + "case when a then " * 3_500,
        "functions": "select " + "f(" * 30_000,
        "functions-of-schemas": "select " + ",".join(f"s{n}.f{n}()" for n in range(6_000)),
        "sub-selects": "select * from (" * 4_000,
        "casts": "select 1" + "::int" * 12_000,
        "arrays": "select a" + "[1" * 30_000,
        "numbers": "select " + "1" * 60_000,
        "dots": "select a" + ".a" * 30_000,
        "exponents": "select " + "1e" * 30_000,
        "unicode": "select U&'" + "\\+10ffff" * 7_000,
        "no-break-spaces": "select\u00a01\u00a0" * 5_000,
        "kelvin": "\u212ail\u212a " * 10_000,
        "parameters": "select " + "$1," * 20_000,
        "copy": "copy a to program 'id'",
        "do": "do $$ begin perform pg_terminate_backend(1); end $$",
        "commit": "commit; " * 5_000,
        "explain": "explain analyze " * 4_000 + "delete from a",
        "line-feeds": "select 1\n" * 7_000,
        "templates": "select ${{ pong }} " * 3_000,
    }
    for name, text in hostile.items():
        yield name, with_step(sql=text)
    yield "a-list-of-ten-thousand", with_action(sql=["delete from a"] * 10_000)
    yield (
        "idents",
        with_action(
            sql="drop table %(a)I", idents={f"a{number}": TEMPLATE for number in range(5_000)}, limit={"affected": 1}
        ),
    )
    yield "bindings", with_step(sql="select 1", **{"with": {f"a{number}": TEMPLATE for number in range(5_000)}})
    yield (
        "a-hundred-steps-of-60k",
        playbook(diagnosis=[{"id": f"s{n}", "sql": f"select {n}, " + "(a)," * 2_000 + "1"} for n in range(60)]),
    )


def scripts() -> Made:
    hostile = {
        "heredocs": "cat <<A\n" * 8_000,
        "heredoc-left-open": "cat <<'A'\n" + "x\n" * 30_000,
        "substitutions": "$(" * 30_000,
        "backticks": "`" * 60_001,
        "quotes": "'\"" * 30_000,
        "braces": "${a" * 20_000,
        "arithmetic": "$((" * 20_000,
        "pipes": "a|" * 30_000,
        "semicolons": "a;" * 30_000,
        "ifs": "if a; then " * 5_000,
        "backslashes": "\\" * 60_000,
        "continued": "a \\\n" * 15_000,
        "comments": "#\n" * 30_000,
        "variables": "$a" * 30_000,
        "loops": "for a in b; do " * 4_000,
        "redirections": ">a" * 30_000,
        "bomb": ":(){ :|:& };:",
        "remove": "rm -rf / --no-preserve-root",
    }
    for name, text in hostile.items():
        yield name, with_step(shell=text, effect="read")
    yield "ten-thousand-words", with_step(shell=["echo"] + ["a"] * 10_000, effect="read")
    yield "no-words", with_step(shell=[], effect="read")
    yield "options", with_step(shell=["rm", TEMPLATE, "-rf", "--", TEMPLATE] * 500, effect="read")
    yield "with-of-thousands", with_step(shell="echo", effect="read", **{"with": {f"a{n}": "x" for n in range(5_000)}})


def requests() -> Made:
    deep: Json = "x"
    for _ in range(45):
        deep = {"a": [deep]}
    wide = {f"k{number}": [number] * 3 for number in range(5_000)}
    for executor in ("sql", "redis", "asynq", "shell", "http", "service", "logs", "host"):
        for name, request in {
            "deep": deep,
            "wide": wide,
            "null": None,
            "number": 10**17,
            "true": True,
            "empty-list": [],
            "empty-map": {},
            "empty-text": "",
            "lists": [[[]]],
            "list-of-maps": [{"a": 1}] * 3_000,
            "long-list": ["GET", *["a"] * 20_000],
        }.items():
            yield f"{executor}-{name}", with_step(**{executor: request}, facts={"fact": "1"})
    yield "http-json", with_step(http={"get": "/", "json": wide})
    yield "http-headers", with_step(http={"get": "/", "headers": {f"x-{n}": "a\r\nb" for n in range(3_000)}})
    yield "http-address", with_step(http={"get": "/" + "../" * 10_000})
    yield "http-schemes", with_step(http={"get": "file:///etc/passwd"})
    yield "redis-pipeline", with_step(redis=[["GET", "a"]] * 20_000)
    yield "redis-script", with_step(redis={"script": "return " * 9_000, "keys": ["a"] * 5_000, "args": ["b"] * 5_000})
    yield "redis-words", with_step(redis=["a" * 60_000])
    yield "executors-at-once", with_step(sql="select 1", redis=["PING"], shell="id", http={"get": "/"})
    yield (
        "every-executor",
        playbook(
            diagnosis=[
                {"id": f"s{n}", name: "x"} for n, name in enumerate(("sql", "redis", "asynq", "shell", "http") * 40)
            ]
        ),
    )
    yield (
        "each-of-a-bomb",
        playbook(
            resolution=[
                {**ACTION, "each": "[1,2,3] | map(attribute='a') | list", "batch": {"size": 10**17, "canary": 10**17}}
            ]
        ),
    )
    yield "each-as-everything", playbook(resolution=[{**ACTION, "each": "pong", "as": "pong"}])
    yield (
        "ask-everything",
        block("diagnosis:\n" + "\n".join(f"  - {{id: a{n}, ask: {{question: q, fact: f{n}}}}}" for n in range(2_000))),
    )

"""Files that are hostile as YAML: bombs, depth, size, keys, tags, several documents."""

from __future__ import annotations

from .files import Made, block, playbook

DEPTHS = (50, 63, 64, 65, 100, 500, 770, 1_000, 10_000, 100_000)


def bombs() -> Made:
    """Aliases that stand for more than they take to write."""
    for levels, width in ((9, 9), (10, 10), (30, 2), (60, 2), (5, 100), (3, 1000), (200, 2)):
        yield f"lists-{levels}-by-{width}", _bomb(levels, width, "[", "]")
    for levels, width in ((10, 10), (40, 2)):
        names = [f"k{number}" for number in range(width)]
        lines = ["a0: &a0 {x: 1}"]
        for level in range(1, levels):
            lines.append(f"a{level}: &a{level} {{{', '.join(f'{name}: *a{level - 1}' for name in names)}}}")
        yield f"maps-{levels}-by-{width}", block("\n".join(lines))
    yield "text-of-64k-a-thousand-times", f"a: &a {'x' * 65_000}\nb: [{', '.join(['*a'] * 1000)}]\n"
    yield "text-of-64k-in-a-title", block(f"about: &a {'x' * 19_000}\nnotes: [{', '.join(['*a'] * 1000)}]\n")
    yield "recursive-list", "a: &a [*a]\n"
    yield "recursive-map", "a: &a {b: *a}\n"
    yield "recursive-through-another", "a: &a {b: &b [*a, *b]}\n"
    yield "recursive-root", "&a [*a]\n"
    yield "recursive-key", "&a {? *a : 1}\n"
    yield "alias-as-key", "a: &a x\n*a : 1\n"
    yield "many-anchors", "\n".join(f"k{number}: &a{number} x" for number in range(30_000))
    yield "unknown-alias-among-many", "\n".join([f"k{n}: &a{n} x" for n in range(20_000)] + ["z: *nothing"])
    yield "one-anchor-again-and-again", "\n".join(f"k{number}: &a [*a0]" for number in range(2_000))
    yield "aliases-alone", "a: &a x\nb: [" + "*a," * 90_000 + "]\n"
    yield "merge", "a: &a {x: 1}\nb:\n  <<: *a\n"
    yield (
        "merge-bomb",
        "\n".join(["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60)]),
    )
    yield "merge-many", block("a: &a {x: 1}\n" + "\n".join(f"b{n}: {{<<: *a}}" for n in range(5_000)))
    yield "merge-of-itself", "a: &a {<<: *a}\n"
    yield (
        "bomb-in-a-request",
        block("diagnosis:\n  - id: deep\n    http:\n      get: /\n      json:\n" + _indented_bomb(9)),
    )
    yield "bomb-of-steps", block("a: &s {id: x, redis: [PING]}\ndiagnosis: [" + "*s," * 5_000 + "]\n")
    yield "bomb-of-causes", block("a: &c {id: x, needs: pong}\ncauses: [" + "*c," * 5_000 + "]\n")


def _bomb(levels: int, width: int, opening: str, closing: str) -> str:
    lines = [f"a0: &a0 {opening}x{closing}"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} {opening}{', '.join([f'*a{level - 1}'] * width)}{closing}")
    return "\n".join(lines)


def _indented_bomb(levels: int) -> str:
    lines = ["        - &b0 [x]"]
    lines += [f"        - &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def nesting() -> Made:
    for depth in DEPTHS:
        yield f"lists-{depth}", "a: " + "[" * depth + "]" * depth
        yield f"lists-left-open-{depth}", "[" * depth
        yield f"maps-{depth}", '{"a":' * depth + "1" + "}" * depth
    for depth in (50, 64, 65, 200, 1_000):
        yield f"blocks-{depth}", "\n".join(" " * level + f"k{level}:" for level in range(depth))
        yield f"dashes-{depth}", "- " * depth + "x"
        yield f"mixed-{depth}", "[{a: " * depth + "x" + "}]" * depth
    yield "dashes-10000", "- " * 10_000 + "x"
    yield "dashes-over-lines", "\n".join("-" + " -" * (number % 200) for number in range(2_000))
    yield "questions-10000", "? " * 10_000 + "x"
    yield "brackets-and-braces-in-turn", "[{" * 50_000
    yield "closings-alone", "]" * 100_000
    yield "a-bracket-on-every-line", "\n".join(["a: ["] * 20_000)
    yield "deep-where-a-step-should-be", block("diagnosis: " + "[" * 60 + "]" * 60)
    yield (
        "deep-in-a-request",
        block("diagnosis:\n  - id: deep\n    http: {get: /, json: " + "[" * 55 + "]" * 55 + "}\n"),
    )
    yield "indentation-of-900000", " " * 900_000 + "a: 1"


def sizes() -> Made:
    for size in (65_000, 65_537, 500_000, 1_048_000, 1_048_577):
        yield f"plain-{size}", "title: " + "x" * (size - 7)
        yield f"quoted-{size}", 'title: "' + "x" * (size - 9) + '"'
    yield "block-of-a-megabyte", "title: |\n" + "  xxxxxxx\n" * 100_000
    yield "folded-of-a-megabyte", "title: >\n" + "  xxxxxxx\n\n" * 90_000
    yield "escapes", 'title: "' + "\\u0041" * 60_000 + '"'
    yield "bad-escapes", 'title: "' + "\\q" * 60_000 + '"'
    yield "single-quotes", "title: '" + "''" * 300_000 + "'"
    yield "quote-left-open", 'title: "' + "a\n  b" * 150_000
    yield "key-of-64k", "k" * 65_000 + ": 1"
    yield "key-of-1000", block("k" * 1000 + ": 1")
    yield "key-of-200", block("k" * 200 + ": 1")
    yield "question-key-of-a-megabyte", "? " + "k" * 1_000_000 + "\n: 1"
    yield "comments-only", "# nothing\n" * 100_000
    yield "one-comment", "#" * 1_000_000
    yield "line-breaks", "\n" * 1_000_000
    yield "carriage-returns", "\r" * 1_000_000
    yield "spaces", " " * 1_000_000
    yield "tabs", "\t" * 1_000_000
    yield "tab-on-every-line", "a:\n" + "\tb: 1\n" * 100_000
    yield "colons", ":" * 500_000
    yield "colons-and-spaces", ": " * 300_000
    yield "commas", "[" + "," * 500_000 + "]"
    yield "dashes-without-space", "-" * 1_000_000
    yield "dash-on-every-line", "-\n" * 200_000
    yield "pipes", "|" * 100_000
    yield "ampersands", "&" * 100_000
    yield "anchor-of-a-megabyte", "&" + "a" * 1_000_000 + " x"
    yield "tag-of-a-megabyte", "!<" + "a" * 1_000_000 + "> x"
    yield "directive-of-a-megabyte", "%YAML " + "1" * 1_000_000
    yield "percent-lines", "%a b\n" * 100_000
    yield "empty", ""
    yield "null", "null"
    yield "one-word", "runbook"
    yield "a-list", "- runbook: 1"
    yield "dots", "..." * 3


def keys() -> Made:
    """Mappings of very many keys, twice the same ones, keys that are none."""
    for count in (1_000, 10_000, 40_000):
        yield f"top-{count}", block("\n".join(f"k{number}: {number}" for number in range(count)))
    yield "in-a-step", block("diagnosis:\n  - id: more\n" + "\n".join(f"    k{number}: 1" for number in range(10_000)))
    yield "in-inputs", block("inputs:\n" + "\n".join(f"  k{number}: {{tipe: string}}" for number in range(5_000)))
    yield "near-a-known-one", block("\n".join(f"symptom{number}: 1" for number in range(10_000)))
    yield "the-same-10000-times", block("title: x\n" * 10_000)
    yield "each-twice", block("\n".join(f"k{number % 5_000}: 1" for number in range(10_000)))
    yield "empty-ones", ": 1\n" * 20_000
    yield "lists", "[a]: 1\n" * 1_000
    yield "braces", "{{ a }}: 1\n" * 1_000
    yield "nulls", "~: 1\nnull: 2\n"
    yield "numbers", "1: a\n1.0: b\n0x1: c\n"
    yield "booleans", "true: 1\nyes: 2\nno: 3\n"
    yield "magic", "__class__: 1\n__init__: 2\n__proto__: 3\nmodel_config: 4\n" + block("model_fields: 1\n")
    yield "executor-itself", block("diagnosis:\n  - {id: more, executor: sql, request: select 1, facts: {a: rows}}\n")
    yield "pydantic-names", block("diagnosis:\n  - {id: more, bindings: {a: 1}, derived_from: x, sql: select 1}\n")
    yield (
        "key-markers",
        block("inputs: {'[key]': {type: string}}\ndiagnosis:\n  - {id: a, redis: [PING], facts: {'[key]': x}}\n"),
    )


def tags() -> Made:
    hostile = (
        "!!python/object:os.system",
        "!!python/object/apply:os.system ['id']",
        "!!python/object/new:subprocess.Popen [['id']]",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!binary aGVsbG8=",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!timestamp 2001-12-14",
        "!!float 1e400",
        "!!int 9" + "9" * 5_000,
        "!!str 1",
        "!ruby/object:Gem::Installer {}",
        "!<tag:yaml.org,2002:python/object:os.system> x",
        "!include /etc/passwd",
        "!vault |\n  $ANSIBLE_VAULT;1.1;AES256",
        "! x",
        "!e!x y",
        "!" + "a" * 60_000 + " x",
        "!%1b[31m x",
    )
    for number, tag in enumerate(hostile):
        yield f"value-{number:02}", block(f"about: {tag}\n")
    yield "on-a-key", "!!str runbook: 1\n"
    yield "on-the-root", "!!map {runbook: 1}\n"
    yield "ten-thousand", block("notes: [" + "!!str a," * 10_000 + "]\n")
    yield "handle", "%TAG !e! tag:example.com,2000:\n---\nrunbook: !e!x 1\n"
    yield "version", "%YAML 9.9\n---\nrunbook: 1\n"
    yield "version-twice", "%YAML 1.1\n%YAML 1.1\n---\nrunbook: 1\n"


def documents() -> Made:
    yield "two", f"{block('')}---\n{block('')}"
    yield "ten-thousand", "---\na: 1\n" * 10_000
    yield "empty-ones", "---\n" * 100_000
    yield "ends", "...\n" * 100_000
    yield "a-second-that-is-broken", f"{block('')}---\n[[["
    yield "only-a-marker", "---"
    yield "playbook-and-cases", block("cases: hostile\ntests: []\n")
    yield "all-four-kinds", "runbook: 1\nlibrary: a\ncases: b\nenvironments: {}\n"
    yield "kind-in-a-text", "about: |\n  x\nfoo: 1\n# library: x\n"
    yield "kind-too-deep", "a:\n  runbook: 1\n"
    yield "kind-thousands-of-times", "library:\n" * 50_000
    yield "json", playbook(extra=1)
    yield "kind-as-a-number", "runbook: 1e999\n" + block("")[11:]
    yield "version-of-tomorrow", block("").replace("runbook: 1", "runbook: 2")
    yield "version-too-long", block("").replace("runbook: 1", "runbook: " + "1" * 10_000)

"""The JSON Schemas that editors use: up to date, explained, and of one mind with the loader about what is sound.

Run as a script it writes the files of schema/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Place
from jsonschema import Draft7Validator, Draft202012Validator

from runbook_engine.cases import Cases
from runbook_engine.errors import UsageError
from runbook_engine.language import request_words
from runbook_engine.language.documents import DOCUMENTS, build
from runbook_engine.language.drafts import DIALECTS
from runbook_engine.language.help_text import help_text
from runbook_engine.language.parts import find_part
from runbook_engine.language.snippets import SNIPPETS
from runbook_engine.language.value_words import VALUES
from runbook_engine.language.words import EXAMPLES, SAYS, keyed
from runbook_engine.loader import kind_of_file, load_library, load_playbook, validate_document
from runbook_engine.loading import yaml_reader
from runbook_engine.schema import schema_files, schema_of, schema_text
from runbook_engine.targets import Configuration

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "schema"
VALIDATORS = {"7": Draft7Validator, "2020-12": Draft202012Validator}
SHIPPED = sorted(path for folder in ("playbooks", "examples") for path in (ROOT / folder).rglob("*.yaml"))
SCHEMAS = {(kind, draft): schema_of(kind, draft) for kind in DOCUMENTS for draft in DIALECTS}
BUILT = {kind: build(document) for kind, document in DOCUMENTS.items()}

MINIMAL = {
    "runbook": 1,
    "name": "x",
    "title": "X",
    "symptoms": [{"id": "a", "sql": "select 1", "facts": {"f": "row"}, "present": "f"}],
}


def document(path: Path) -> Any:
    return yaml_reader.plain(yaml_reader.read(path.read_text(encoding="utf-8"), str(path)))


def faults(value: Any, kind: str = "playbook", draft: str = "7") -> list[str]:
    """What is wrong with it, each with its place; of alternatives the nearest one."""
    found = VALIDATORS[draft](SCHEMAS[kind, draft]).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def with_symptom(**keys: Any) -> dict[str, Any]:
    return {**MINIMAL, "symptoms": [{"id": "a", "present": "f", **keys}]}


def definitions() -> Iterator[tuple[str, str, Any]]:
    """Every definition of every kind of file, with its name; the whole goes by the name of its model."""
    for kind, schema in BUILT.items():
        for name, part in {DOCUMENTS[kind].model.__name__: schema, **schema["$defs"]}.items():
            yield kind, name, part


@pytest.mark.parametrize(("file", "kind", "draft"), list(schema_files()), ids=str)
def test_the_file_is_what_the_command_prints(file: str, kind: str, draft: str) -> None:
    assert (FOLDER / file).read_text(encoding="utf-8") == schema_text(kind, draft) + "\n", "run: make schemas"


def test_no_other_file_stands_beside_them() -> None:
    kept = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.json")}
    assert kept == {file for file, _, _ in schema_files()}


@pytest.mark.parametrize(("kind", "draft"), list(SCHEMAS))
def test_each_schema_is_sound_in_its_own_draft(kind: str, draft: str) -> None:
    schema = SCHEMAS[kind, draft]
    assert schema["$schema"] == DIALECTS[draft]
    VALIDATORS[draft].check_schema(schema)


@pytest.mark.parametrize(("kind", "draft"), list(SCHEMAS))
def test_a_schema_refers_only_to_itself_and_beside_a_reference_only_annotations_stand(kind: str, draft: str) -> None:
    schema = SCHEMAS[kind, draft]
    home = "definitions" if draft == "7" else "$defs"
    for part in parts(schema):
        if isinstance(part.get("$ref"), str):
            assert part["$ref"].removeprefix(f"#/{home}/") in schema[home]
            assert part.keys() <= {"$ref", "title", "description", "markdownDescription", "default", "examples"}


def parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(item)


@pytest.mark.parametrize("draft", DIALECTS)
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_file_we_ship_fits_the_schema_of_its_kind(path: Path, draft: str) -> None:
    kind = kind_of_file(path.read_text(encoding="utf-8"), str(path))
    assert faults(document(path), kind, draft) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_file_we_ship_tells_the_editor_where_its_schema_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    kind = kind_of_file(text, str(path))
    if kind != "cases" or found:
        assert found and (path.parent / found[1]).resolve() == FOLDER / DOCUMENTS[kind].file


@pytest.mark.parametrize(
    "playbook",
    [
        with_symptom(sql="select 1", present=True),
        with_symptom(sql=["select 1", "select 2"], timeout=5, sample={"times": 2, "every": "250ms"}),
        with_symptom(redis=["GET", "key"]),
        with_symptom(redis=[["GET", "a"], ["SET", "b", 1, "PX", 1000]]),
        with_symptom(redis={"memory": {"sample": 100}}),
        with_symptom(asynq={"inspect": None}),
        with_symptom(http="/api/v1/health"),
        with_symptom(http={"get": ["api", "${{ x }}"], "query": {"a": 1}}),
        with_symptom(service="status"),
        with_symptom(service={"status": None}),
        with_symptom(service={"logs": {"lines": 50, "since": "15m"}}),
        with_symptom(shell=["ps", "-p", "${{ pid }}"], effect="read"),
        with_symptom(shell="uptime", effect="read"),
        with_symptom(ask={"question": "Who?", "fact": "f"}),
        {**MINIMAL, "symptoms": [{"use": "library.probe", "present": "f"}]},
        {**MINIMAL, "targets": {"db": "postgres", "side": {"from": "db", "port": 5433}}},
        {**MINIMAL, "not_for": "a burst", "notes": ["one", "two"], "alerts": [{"alertname": "X"}]},
        {**MINIMAL, "causes": [{"id": "c", "needs": True, "see": "other", "for": [{"when": "f", "says": "so"}]}]},
        {**MINIMAL, "causes": [{"id": "c", "needs": "f", "see": {"playbook": "other", "inputs": {"a": 1}}}]},
        {
            **MINIMAL,
            "resolution": [
                {"id": "m", "effect": "touch", "each": "f", "as": "row", "batch": {"size": 5}, "manual": "do it"},
                {
                    "id": "n",
                    "effect": "reversible",
                    "service": {"scale": "${{ n }}"},
                    "undo": {"service": {"scale": 1}},
                },
            ],
        },
    ],
)
@pytest.mark.parametrize("draft", DIALECTS)
def test_what_the_language_takes_in_short_the_schema_takes_too(playbook: Any, draft: str) -> None:
    assert faults(playbook, draft=draft) == []


@pytest.mark.parametrize(
    ("playbook", "told"),
    [
        ({**MINIMAL, "symptom": []}, "'symptom' was unexpected"),
        ({**MINIMAL, "runbook": 2}, "$.runbook"),
        ({key: value for key, value in MINIMAL.items() if key != "title"}, "'title' is a required property"),
        (with_symptom(sql="select 1", factz={"f": "row"}), "'factz' was unexpected"),
        (with_symptom(sql="select 1", facts={"Not-a-name": "row"}), "$.symptoms[0].facts"),
        (with_symptom(sql="select 1", effect="destructive"), "$.symptoms[0].effect"),
        (with_symptom(), "$.symptoms[0]"),
        (with_symptom(service="explode"), "$.symptoms[0].service"),
        (with_symptom(asynq={"inspekt": "default"}), "$.symptoms[0].asynq"),
        ({**MINIMAL, "causes": [{"id": "c", "needs": "f", "weight": "heavy"}]}, "$.causes[0].weight"),
    ],
)
@pytest.mark.parametrize("draft", DIALECTS)
def test_what_the_loader_refuses_by_its_shape_the_schema_refuses_too(playbook: Any, told: str, draft: str) -> None:
    assert told in "; ".join(faults(playbook, draft=draft))


@pytest.mark.parametrize(
    ("kind", "sound", "broken"),
    [
        ("library", {"library": "l", "probes": {"p": {"redis": ["PING"]}}}, {"library": "l", "probes": {"p": {}}}),
        (
            "cases",
            {"cases": "x", "tests": [{"name": "n", "expect": {"outcome": "fixed"}}]},
            {"cases": "x", "tests": [{"name": "n", "expects": {}}]},
        ),
        (
            "environments",
            {"environments": {"e": {"targets": {"db": {"kind": "postgres", "port": {"env": "P"}, "odd": 1}}}}},
            {"environments": {"e": {"policy": {"most": "all"}}}},
        ),
    ],
)
@pytest.mark.parametrize("draft", DIALECTS)
def test_the_other_kinds_of_file_have_schemas_too(kind: str, sound: Any, broken: Any, draft: str) -> None:
    assert faults(sound, kind, draft) == []
    assert faults(broken, kind, draft)


def test_every_key_is_explained() -> None:
    silent = [
        f"{kind}: {name}.{key}"
        for kind, name, part in definitions()
        for _, key, wanted in keyed(name, part)
        if len(wanted.get("description", "")) < 8 or not wanted.get("title")
    ]
    assert silent == [], "give them words in runbook_engine/language/*_words.py"


def test_every_definition_says_what_it_is_for_or_its_keys_do() -> None:
    for kind, name, part in definitions():
        assert part.get("description") or list(keyed(name, part)), f"{kind}: {name}"


def test_every_key_of_a_playbook_has_an_example() -> None:
    acts = set(request_words.ABOUT)
    bare = {
        f"{name}.{key}"
        for kind, name, part in definitions()
        if kind == "playbook" and name[0].isupper()
        for _, key, wanted in keyed(name, part)
        if "examples" not in wanted and key not in acts
    }
    assert bare == set()


def test_no_word_is_about_a_key_that_is_gone() -> None:
    known = {
        f"{owner}.{key}" for _, name, part in definitions() for owners, key, _ in keyed(name, part) for owner in owners
    }
    known |= {name for _, name, _ in definitions()} | {f"{name}.{name}" for _, name, _ in definitions()}
    assert (SAYS.keys() | EXAMPLES.keys() | VALUES.keys()) - known == set()


def test_every_value_of_a_closed_list_is_explained() -> None:
    for kind, name, part in definitions():
        for inner in parts(part.get("properties", {})):
            values = inner.get("enum")
            if isinstance(values, list) and "x-type" not in inner and all(isinstance(value, str) for value in values):
                assert len(inner.get("enumDescriptions", ())) == len(values), f"{kind}: {name}: {values}"


@pytest.mark.parametrize("draft", DIALECTS)
def test_every_example_fits_the_key_that_it_is_an_example_of(draft: str) -> None:
    for kind, schema in ((kind, SCHEMAS[kind, draft]) for kind in DOCUMENTS):
        home = "definitions" if draft == "7" else "$defs"
        for name, part in {"whole": schema, **schema[home]}.items():
            for _, key, wanted in keyed(name, part):
                for example in wanted.get("examples", ()):
                    judged = {**wanted, home: schema[home], "$schema": DIALECTS[draft]}
                    if "$ref" in judged:
                        judged = {"allOf": [{"$ref": judged.pop("$ref")}], home: schema[home]}
                    found = list(VALIDATORS[draft](judged).iter_errors(example))
                    assert not found, f"{kind}: {name}.{key}: {found[0].message}"


def filled(body: Any) -> Any:
    """A snippet as it stands once every place keeps the text it was offered with."""
    if isinstance(body, dict):
        return {filled(key): filled(value) for key, value in body.items()}
    if isinstance(body, list):
        return [filled(item) for item in body]
    if not isinstance(body, str):
        return body
    return yaml_reader.plain(yaml_reader.read(text, "x")) if (text := re.sub(r"\$\{\d+:(.*?)\}", r"\1", body)) else ""


FRAMES: dict[str, Any] = {
    "Playbook": lambda body: body,
    "Probe": lambda body: {**MINIMAL, "symptoms": [*MINIMAL["symptoms"], {**body, "present": "true"}]},  # type: ignore[misc]
    "Cause": lambda body: {**MINIMAL, "causes": [body]},
    "Action": lambda body: {**MINIMAL, "resolution": [body]},
    "Verify": lambda body: acting(verify=body),
    "Impact": lambda body: acting(impact=body),
    "Limit": lambda body: acting(limit=body),
    "Undo": lambda body: acting(undo=body, manual=None, asynq={"resume": "default"}),
    "Evidence": lambda body: {**MINIMAL, "causes": [{"id": "c", "needs": "f", "for": [body]}]},
    "Sample": lambda body: with_symptom(sql="select 1", facts={"f": "row"}, sample=body),
    "Input": lambda body: {**MINIMAL, "inputs": {"i": body}},
}


def acting(**keys: Any) -> dict[str, Any]:
    action = {"id": "m", "effect": "disruptive", "manual": "do it", **keys}
    return {**MINIMAL, "resolution": [{key: value for key, value in action.items() if value is not None}]}


@pytest.mark.parametrize(
    ("name", "snippet"),
    [(name, each) for name, every in SNIPPETS.items() for each in every],
    ids=lambda item: item if isinstance(item, str) else item["label"],
)
def test_a_snippet_as_it_is_inserted_is_sound(name: str, snippet: Any) -> None:
    body = filled(snippet["body"])
    targets = {"db": "postgres", "redis": "redis", "api": "http", "svc": "service", "here": "local"}
    if "host" in body:
        targets["box"] = "host"
    if name == "LibraryProbe":
        load_library(json.dumps({"library": "l", "probes": {"p": body}}), "l.yaml")
    elif name == "Case":
        validate_document(json.dumps({"cases": "x", "tests": [body]}), "x.test.yaml", Cases, {})
    elif name == "TargetSettings":
        validate_document(json.dumps({"environments": {"e": {"targets": {"t": body}}}}), "r.yaml", Configuration, {})
    else:
        playbook = {"targets": targets, **FRAMES[name](body)}
        library = json.dumps({"library": "library", "probes": {"probe": {"redis": ["PING"]}}})
        loaded = load_playbook(json.dumps(playbook), "x.yaml", libraries={"library": ("l.yaml", library)})
        assert loaded.playbook.symptoms


def explained(dotted: str, kind: str = "playbook") -> str:
    schema = SCHEMAS[kind, "2020-12"]
    return help_text(schema, find_part(schema, dotted))


def test_help_tells_type_default_meaning_example_and_where_else_it_stands() -> None:
    shown = explained("resolution.verify.hold")
    assert shown.startswith("resolution.verify.hold — a duration (250ms, 10s, 5m, 2h), default 0s\n")
    assert SAYS["Verify.hold"] in shown and "hold: 2m" in shown and "resolution.undo.verify.hold" in shown


@pytest.mark.parametrize(
    ("dotted", "told"),
    [
        ("symptoms.asynq", "failures, [since]"),
        ("symptoms[0].id", "blockers"),
        ("causes[1].needs", "must be there"),
        ("symptoms.0.facts.worst", "an expression"),
        ("inputs.backlog.type", "a number of seconds"),
        ("inputs.type", "64MiB"),
        ("causes.for.weight", "4 points"),
        ("diagnosis.http.get", "GET this path"),
        ("", "resolution"),
    ],
)
def test_help_finds_every_part(dotted: str, told: str) -> None:
    assert told in explained(dotted)


def test_help_is_there_for_every_key_of_every_kind() -> None:
    for kind in DOCUMENTS:
        schema = SCHEMAS[kind, "2020-12"]
        seen = set()
        waiting = [""]
        while waiting:
            dotted = waiting.pop()
            part = find_part(schema, dotted)
            assert help_text(schema, part)
            for key, inner in keys(schema, part).items():
                if (inner.owner, key) not in seen:
                    seen.add((inner.owner, key))
                    waiting.append(f"{dotted}.{key}".lstrip("."))
        assert len(seen) >= 10


def keys(schema: Any, part: Any) -> Any:
    from runbook_engine.language.parts import keys_of

    return keys_of(schema, part.schema)


@pytest.mark.parametrize(
    ("dotted", "told"), [("symptoms.asynk", "did you mean 'asynq'"), ("resolution.verify.holds", "did you mean 'hold'")]
)
def test_a_miss_names_the_nearest_key(dotted: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        explained(dotted)


def test_what_another_package_has_installed_is_part_of_what_the_command_prints(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "state", {"PYTHONPATH": str(with_gopher(tmp_path))})
    printed = place.run("schema", "--draft", "2020-12").document
    assert printed["$defs"]["Probe"]["properties"]["gopher"] == {
        "title": "gopher",
        "description": "Asks a gopher.",
        "$ref": "#/$defs/gopher",
    }
    playbook = with_symptom(gopher={"selector": "/"})
    assert not list(Draft202012Validator(printed).iter_errors(playbook)) and faults(playbook, draft="2020-12")
    assert "What to ask for." in place.run("schema", "symptoms.gopher").stdout


def with_gopher(folder: Path) -> Path:
    """A folder in which another package has brought an executor."""
    home = folder / "installed"
    (home / "gopher-1.0.dist-info").mkdir(parents=True)
    (home / "gopher-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: gopher\nVersion: 1.0\n")
    (home / "gopher-1.0.dist-info" / "entry_points.txt").write_text("[runbook_engine.executors]\ngopher = gopher_x\n")
    (home / "gopher_x.py").write_text(GOPHER)
    return home


GOPHER = """
from pydantic import BaseModel, ConfigDict, Field

class Params(BaseModel):
    \"\"\"Asks a gopher.\"\"\"
    model_config = ConfigDict(extra="forbid")
    selector: str = Field(description="What to ask for.")

from runbook_engine.executor import Effect

KINDS = frozenset({"gopher"})
ANSWERS = {"text": "what it says"}

def least_effect(params): return Effect.read, "gophers read"
def bound_names(params): return frozenset()
def show(call): return "gopher"
def connect(target, secrets): raise OSError
"""


if __name__ == "__main__":
    for name, kind, draft in schema_files():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(schema_text(kind, draft) + "\n", encoding="utf-8")

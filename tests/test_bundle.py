"""A bundle: packed within its limits, refused when it was changed or means harm, and judged again without a target."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_engine.asking import SILENT_AFTER, Asking, Turns
from runbook_engine.bundle.analyzing import analyze
from runbook_engine.bundle.collecting import COLLECTOR, Collected, collect
from runbook_engine.bundle.packing import MANIFEST, Moment, digest, digest_of, pack, refuse_existing, write
from runbook_engine.bundle.reading import MOST_BYTES, is_bundle, open_bundle
from runbook_engine.bundle.scrubbing import compose_settings, scrubbed
from runbook_engine.errors import UsageError
from runbook_engine.events import CallFinished, CallRequested
from runbook_engine.executor import Target
from runbook_engine.loader import LoadedPlaybook, load_playbook
from runbook_engine.sessions import Sessions
from runbook_engine.targets import Environment, load_environment

PLAYBOOK = """
runbook: 1
name: {name}
title: Workers are gone
area: worker
explains: [{explains}]
inputs:
  least: {{type: integer, default: 1}}
targets: {{workers: service}}
symptoms:
  - {{id: fleet, service: status, facts: {{running: status.running, rss: status.rss}}, present: running < least}}
diagnosis:
  - {{id: words, title: Last words, service: {{logs: {{lines: 20}}}}, facts: {{said: lines | last}}}}
  - {{id: twice, service: status, sample: {{times: 2, every: 100ms}}, facts: {{growth: delta('status.restarts')}}}}
causes:
  - id: oom
    title: "They ran out of memory: ${{{{ said }}}} (${{{{ rss }}}}, ${{{{ growth }}}})"
    needs: said is matches 'memory'
  - {{id: stopped, title: Somebody stopped them, needs: "true", weight: weak}}
"""
SERVICE = """
import sys
if sys.argv[1] == "status":
    print('{"running": 0, "rss": 5, "restarts": 3}')
else:
    print("fine\\nout of memory, said jane@example.com, password=hunter2hunter2 in select a from b where c = 'quiet'")
"""


def playbook(name: str = "no-workers", explains: str = "", change: Callable[[str], str] = str) -> LoadedPlaybook:
    return load_playbook(change(PLAYBOOK.format(name=name, explains=explains)), f"{name}.yaml")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    (tmp_path / "service.py").write_text(SERVICE)
    words = [sys.executable, str(tmp_path / "service.py")]
    target = {"kind": "service", "command": {"status": [*words, "status"], "logs": [*words, "logs"]}}
    document = {"environments": {"here": {"targets": {"workers": target}}}}
    (tmp_path / "runbook.yaml").write_text(json.dumps(document))
    return load_environment("here", environ={}, folders=[tmp_path])


@pytest.fixture
def collected(environment: Environment) -> Collected:
    return collect([playbook(), playbook("backlog", "no-workers")], environment, None, 20.0)


MOMENT = Moment("0", "here", 1_800_000_000.0, 1_800_000_001.0)


@pytest.fixture
def content(collected: Collected) -> dict[str, bytes]:
    return pack(collected, MOMENT)


def archive(path: Path, members: list[tuple[Any, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members:
            made = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            made.size = len(data)
            tar.addfile(made, io.BytesIO(data))
    return path


def test_a_bundle_is_judged_as_the_run_was_without_any_target(content: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path / "b.tar.gz", content, MOMENT.began)
    write(tmp_path / "folder", content, MOMENT.began)
    (tmp_path / "service.py").unlink()
    for path in (tmp_path / "b.tar.gz", tmp_path / "folder"):
        assert is_bundle(str(path))
        judged = analyze(open_bundle(path))
        assert [each.playbook for each in judged] == ["backlog", "no-workers"]
        assert judged[1].after == ("backlog",)
        assert [each.outcome for each in judged] == ["diagnosed", "diagnosed"]
        assert judged[0].causes[0]["id"] == "oom" and judged[0].causes[0]["verdict"] == "confirmed"
        assert "(5, 0)" in judged[0].causes[0]["title"]


def test_what_playbooks_share_is_asked_and_kept_once(content: dict[str, bytes]) -> None:
    answers = [name for name in content if name.startswith("answers/")]
    assert 2 <= len(answers) <= 4
    manifest = json.loads(content[MANIFEST])
    named = {file["file"] for entry in manifest["entries"] for file in entry["files"]}
    assert named == set(answers)
    entry = next(entry for entry in manifest["entries"] if entry["step"] == "twice")
    assert (len(entry["files"]), entry["error"], entry["facts"]) == (2, None, ["growth"])
    assert {"at", "seconds", "title", "target", "skipped"} <= entry.keys()


def test_nothing_of_what_must_be_hidden_is_in_it(content: dict[str, bytes]) -> None:
    text = b"".join(content.values()).decode()
    assert "out of memory" in text and "***@example.com" in text
    for hidden in ("jane", "hunter2", "quiet"):
        assert hidden not in text
    assert {"email", "sql-literal", "assignment"} <= json.loads(content[MANIFEST])["redaction"].keys()


def test_the_playbook_of_now_gets_the_answers_of_then(content: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path / "b.tar.gz", content, MOMENT.began)
    opened = open_bundle(tmp_path / "b.tar.gz")

    def other(text: str) -> str:
        text = text.replace("needs: said is matches 'memory'", "needs: rss == least + four")
        text = text.replace("inputs:", "inputs:\n  four: {type: integer, default: 4}")
        return text.replace(
            "causes:", "  - {id: new, service: {logs: {lines: 7}}, facts: {newly: lines | length}}\ncauses:"
        ).replace('title: Somebody stopped them, needs: "true"', "title: Seven, needs: newly > 0")

    now = {name: playbook(name, explains, other) for name, explains in (("no-workers", ""), ("backlog", "no-workers"))}
    judged = analyze(opened, now)
    assert judged[0].causes[0]["id"] == "oom" and judged[0].causes[0]["verdict"] == "confirmed"
    stopped = next(cause for cause in judged[0].causes if cause["id"] == "stopped")
    assert stopped["verdict"] == "possible" and "was not asked when the bundle was collected" in str(stopped)
    assert [each.problem for each in analyze(opened, {})] == [
        "no playbook is called backlog now",
        "no playbook is called no-workers now",
    ]


def test_the_largest_answers_go_first_when_it_becomes_too_large(collected: Collected, tmp_path: Path) -> None:
    loaded, records = collected.runs[0]
    ended = [record for record in records if record.kind == "CallFinished" and record.data["id"].startswith("words")]
    big = {**ended[0].data, "answer": {**ended[0].data["answer"], "logs": "x" * 300_000}}
    runs = ((loaded, tuple(replace(each, data=big) if each is ended[0] else each for each in records)),)
    content = pack(replace(collected, runs=runs), MOMENT, most=250_000)
    assert sum(map(len, content.values())) < 250_000
    assert [cut["bytes"] > 300_000 for cut in json.loads(content[MANIFEST])["cut"]] == [True]
    write(tmp_path / "b.tar.gz", content, MOMENT.began)
    judged = analyze(open_bundle(tmp_path / "b.tar.gz"))
    assert judged[0].causes[0]["verdict"] != "confirmed" and "left out of the bundle" in str(judged[0].causes)


def test_files_are_their_owners_and_nothing_is_written_over(content: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path / "b.tgz", content, MOMENT.began)
    write(tmp_path / "folder", content, MOMENT.began)
    written = [tmp_path / "b.tgz", tmp_path / "folder", *(tmp_path / "folder").rglob("*")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in written)
    for name in ("b.tgz", "folder"):
        with pytest.raises(UsageError, match="is there already"):
            refuse_existing(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be written"):
        write(tmp_path / "b.tgz", content, MOMENT.began)
    with pytest.raises(UsageError, match="is no folder"):
        refuse_existing(tmp_path / "nowhere" / "b.tgz")
    (tmp_path / "empty").mkdir()
    refuse_existing(tmp_path / "empty")


def changed(content: dict[str, bytes], **documents: Any) -> dict[str, bytes]:
    """The manifest with other words, and a digest that fits them again."""
    manifest = {**json.loads(content[MANIFEST]), **documents}
    manifest["digest"] = digest_of(manifest)
    return {**content, MANIFEST: json.dumps(manifest).encode()}


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_a_changed_bundle_is_refused(content: dict[str, bytes], tmp_path: Path, form: str) -> None:
    run = next(name for name in content if name.startswith("runs/"))
    answer = next(name for name in content if name.startswith("answers/"))
    cases = [
        ({**content, run: content[run].replace(b"workers", b"Workers", 1)}, "was changed"),
        ({**content, answer: b"{}"}, "was changed"),
        ({name: data for name, data in content.items() if name != answer}, "missing|no such file"),
        ({**content, MANIFEST: content[MANIFEST].replace(b"here", b"prod", 1)}, "its digest does not fit"),
        ({**content, MANIFEST: b"{"}, "is not JSON"),
        ({**content, MANIFEST: b"[]"}, "not a JSON object"),
        ({**content, MANIFEST: b'{"a":' * 100_000}, "is not JSON"),
        ({name: data for name, data in content.items() if name != MANIFEST}, "no manifest|no such file"),
        (changed(content, version=2), "this engine reads 1"),
        (changed(content, playbooks=3), "does not say which"),
        (changed(content, playbooks=[{"playbook": "x"}]), "not as the engine writes it"),
        (
            changed(content, files={**json.loads(content[MANIFEST])["files"], "../../etc/passwd": {}}),
            "no name of a file|is missing",
        ),
    ]
    for number, (given_, why) in enumerate(cases):
        path = tmp_path / f"case{number}{'.tar.gz' if form == 'archive' else ''}"
        if form == "archive":
            archive(path, list(given_.items()))
        else:
            write(path, given_, 0)
        with pytest.raises(UsageError, match=why) as caught:
            open_bundle(path)
        assert "is not read" in str(caught.value)


def link(name: str, kind: bytes, to: str = "/etc/passwd") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


def test_an_archive_that_means_harm_is_refused(content: dict[str, bytes], tmp_path: Path) -> None:
    sound = list(content.items())
    cases: list[tuple[list[tuple[Any, bytes]], str]] = [
        ([*sound, ("../escaped", b"x")], "no name of a file"),
        ([*sound, ("/etc/cron.d/x", b"x")], "no name of a file"),
        ([*sound, ("answers/../../x.json", b"x")], "no name of a file"),
        ([*sound, (link("answers/a/b.json", tarfile.SYMTYPE), b"")], "not a plain file"),
        ([*sound, (link("answers/a/b.json", tarfile.LNKTYPE, MANIFEST), b"")], "not a plain file"),
        ([*sound, (link("answers/a/b.json", tarfile.FIFOTYPE), b"")], "not a plain file"),
        ([*sound, sound[0]], "twice"),
        ([*sound, ("answers/a/b.json", b"{}")], "does not belong"),
    ]
    for number, (members, why) in enumerate(cases):
        with pytest.raises(UsageError, match=why):
            open_bundle(archive(tmp_path / f"{number}.tar.gz", members))
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name[0].isdigit()) == [".gz"] * len(cases)


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.tar.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as out:
        for _ in range((MOST_BYTES >> 20) + 2):
            out.write(bytes(1 << 20))
    with pytest.raises(UsageError, match="larger than 64 MiB"):
        open_bundle(bomb)


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", b"\x1f\x8b", gzip.compress(b"x" * 700, mtime=0), gzip.compress(b"", mtime=0)[:-4]]
)
def test_what_is_no_bundle_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "no.tar.gz").write_bytes(data)
    with pytest.raises(UsageError, match="is not read"):
        open_bundle(tmp_path / "no.tar.gz")
    with pytest.raises(UsageError, match="is not read"):
        open_bundle(tmp_path / "nowhere.tar.gz")


def test_a_folder_with_links_is_refused(content: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path / "folder", content, 0)
    run = next(name for name in content if name.startswith("runs/"))
    (tmp_path / "elsewhere").write_bytes(content[run])
    (tmp_path / "folder" / run).unlink()
    (tmp_path / "folder" / run).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is not read"):
        open_bundle(tmp_path / "folder")
    (tmp_path / "folder" / run).unlink()
    (tmp_path / "folder" / "runs").rename(tmp_path / "runs")
    (tmp_path / "runs" / Path(run).name).write_bytes(content[run])
    (tmp_path / "folder" / "runs").symlink_to(tmp_path / "runs")
    with pytest.raises(UsageError, match="is a link"):
        open_bundle(tmp_path / "folder")


def asked(number: int, deadline: float = 5.0) -> CallRequested:
    request = {"logs": {"lines": number}}
    return CallRequested(f"s/1/{number}", "s", "", "service", "workers", {}, "read", "read", request, deadline=deadline)


class Silent(Sessions):
    """A target that never answers in time, and how often it was asked."""

    def __init__(self) -> None:
        super().__init__(lambda name, overrides: Target(name, "service", {}), {})
        self.asked = 0

    def perform(self, request: CallRequested) -> CallFinished:
        self.asked += 1
        time.sleep(0.02)
        error = {"code": "timeout", "message": "no answer"}
        return CallFinished(request.id, 0.0, 0.0, error=error, happened="no")


def all_of(asking: Asking, count: int) -> list[CallFinished]:
    ended: list[CallFinished] = []

    def ask(number: int) -> None:
        ended.append(asking.perform(str(number), asked(number), rank=0))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def test_a_target_that_is_silent_is_not_asked_by_everybody() -> None:
    sessions = Silent()
    ended = all_of(Asking(sessions, Turns(time.monotonic() + 30)), 60)
    assert SILENT_AFTER <= sessions.asked < 30
    assert {each.error["code"] for each in ended if each.error} == {"timeout"} and len(ended) == 60


def test_waiting_for_a_turn_never_looks_like_a_silent_target() -> None:
    sessions = Silent()
    ended = all_of(Asking(sessions, Turns(time.monotonic() - 1)), 3)
    assert sessions.asked == 0
    assert {(each.error["code"], each.made_by) for each in ended if each.error} == {("not_asked", "engine")}


def test_the_playbook_that_collects_is_not_judged(environment: Environment, tmp_path: Path) -> None:
    made = collect([playbook(COLLECTOR), playbook()], environment, None, 20.0)
    write(tmp_path / "b.tgz", pack(made, MOMENT), 0)
    assert [each.playbook for each in analyze(open_bundle(tmp_path / "b.tgz"))] == ["no-workers"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mail jane.doe+x@example.co.uk now", "mail ***@example.co.uk now"),
        ("select * from t where a = 'x' and b = 'it''s' limit 5", "select * from t where a = ? and b = ? limit 5"),
        ("UPDATE users SET name = 'Jan", "UPDATE users SET name = ?"),
        ("insert into t values ($$secret$$, 'a')", "insert into t values (?, ?)"),
        ("can't connect: it's 'down'", "can't connect: it's 'down'"),
        (
            "can't select\nselect a from b where c = 'd'\nthat's it",
            "can't select\nselect a from b where c = ?\nthat's it",
        ),
        ("note:#:eyJhbGciOiAiSFMyNTYifQ.eyJzdWIiOiAi#NiJ#.abc# it", "note:#:<token> it"),
        ("apikey:AKIAIOSFODNN#EXAMPLE", "apikey:<token>"),
        ("asynq:{default}:t:* and workspace_id_of_it:#", "asynq:{default}:t:* and workspace_id_of_it:#"),
        ("key ghp_<n>C<n>e<n>F<n>c<n>Egh<n>k", "key <token>"),
    ],
)
def test_what_is_scrubbed(text: str, left: str) -> None:
    assert scrubbed({"a": [text]}, Counter()) == {"a": [left]}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner)
    )
)
def test_scrubbing_keeps_the_shape(value: Any) -> None:
    def shape(each: Any) -> Any:
        match each:
            case dict():
                return {key: shape(inner) for key, inner in each.items()}
            case list():
                return [shape(inner) for inner in each]
        return type(each)

    assert shape(scrubbed(value, Counter())) == shape(value)


def test_slow_commands_lose_their_arguments() -> None:
    entry = {"id": 1, "microseconds": 50, "command": ["SET", "key", "jane's letter", "EX"], "client": "127.0.0.1:5"}
    short, other = {"microseconds": 1, "command": ["PING"]}, {"command": ["a", "b", "c"]}
    kept = scrubbed({"result": [12.5, [entry, short, other, "odd"]]}, Counter())
    assert kept == {"result": [12.5, [{**entry, "command": ["SET", "key", "(2 more)"]}, short, other, "odd"]]}


def test_a_compose_project_shows_names_of_variables_and_no_values() -> None:
    service = {"image": "a", "environment": {"A": "secret", "B": "${B}"}, "build": {"args": "x"}}
    document = {"name": "p", "services": {"api": service, "odd": 3}, "secrets": {"k": {"content": "y"}}}
    assert compose_settings(document) == {
        "name": "p",
        "services": {
            "api": {"image": "a", "environment": {"A": "***", "B": "${B}"}, "build": {"args": "***"}},
            "odd": None,
        },
    }
    assert compose_settings({"services": {"a": {"environment": ["A=secret", "B"]}}})["services"]["a"] == {
        "environment": ["A", "B"]
    }


def test_digests_are_of_what_is_said() -> None:
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_of({"a": 1, "digest": "x"}) == digest_of({"a": 1})

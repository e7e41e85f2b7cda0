"""`shell:` here and over a real sshd: values stay data, effects are not understated, and nothing outlives its call."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from runbook_engine import linter
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Target
from runbook_engine.executors import shell
from runbook_engine.loader import load_playbook

CANARY = "/tmp/runbook-canary-"
COMMANDS = ["touch CANARY", "sh -c 'touch CANARY'"]
SHAPES = [
    "; {}", "| {}", "|| {}", "&& {}", "& {}", "\n{}\n", "$({})", "`{}`", "'; {}; '", '"; {}; "', "') ; {} #", '"$({})"',
    "\\'; {}", "\\\"; {}", "a[$({})]", "{{{}}}", "%0a{}", "\r{}", "#\n{}", "<({})", ">({})", "> CANARY", ">> CANARY",
    "${{IFS}}{}", "\\\n; {}", "-c '{}'", "--; {}", "'\"'; {}", "\x1b]0;{}\x07", "EOF\n{}\nEOF", "$'\\n'{}",
]  # fmt: skip
HOSTILE = [shape.format(command) for shape in SHAPES for command in COMMANDS] + [
    "-rf /", "--help", "*", "~root", "$HOME", "${PATH}", "$((1+1))", "!!", "a b  c", " lead", "trail ", "\t", "'", '"',
    "\\", "", "é ü 漢", "%s%n", "{a,b}", "[a-z]*", "\u2028", "\x01\x02", "\udc80", "$", "`",
]  # fmt: skip


def call(request: object, *, deadline: float = 15.0, effect: Effect = Effect.read, **bindings: Any) -> Call:
    return Call(id="run/step/1/1", request=request, bindings=bindings, deadline=deadline, effect=effect)


@dataclass(frozen=True)
class Sshd:
    port: int
    folder: Path

    def settings(self, **more: object) -> dict[str, object]:
        known = {"known_hosts": str(self.folder / "known_hosts"), "key": str(self.folder / "client")}
        return {"host": "127.0.0.1", "port": self.port, "user": getpass.getuser(), **known, **more}


def free_port() -> int:
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return int(plug.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as plug:
        return plug.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists():
        if os.environ.get("CI") == "1":
            pytest.fail("sshd is not installed; CI needs it")
        pytest.skip("sshd is not installed (apt-get install openssh-server)")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "client", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "wrong_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'stranger.pub').read_text()}")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/client.pub\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        limit = time.monotonic() + 10
        while not answers(port) and time.monotonic() < limit and process.poll() is None:
            time.sleep(0.05)
        assert answers(port), (folder / "log").read_text()
        yield Sshd(port, folder)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(params=["local", "ssh"])
def target(request: pytest.FixtureRequest) -> Target:
    if request.param == "local":
        return Target("host", "local", {})
    return Target("host", "ssh", request.getfixturevalue("sshd").settings())


@pytest.fixture
def reading(target: Target) -> Iterator[shell.Session]:
    session = shell.connect(target, "read")
    yield session
    session.close()


@pytest.fixture
def writing(target: Target) -> Iterator[shell.Session]:
    session = shell.connect(target, "write")
    yield session
    session.close()


def alive(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark.encode() in words:
                found.append(int(entry.name))
    return found


def gone(mark: str) -> bool:
    limit = time.monotonic() + 8
    while alive(mark) and time.monotonic() < limit:
        time.sleep(0.05)
    left = alive(mark)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not left


def begun(mark: str) -> bool:
    limit = time.monotonic() + 40  # a loaded machine needs that for a python and a login
    while time.monotonic() < limit:
        if alive(mark):  # once is enough: a second look may come while it turns into another program
            return True
        time.sleep(0.02)
    return False


def test_a_list_is_never_split_nor_given_to_a_shell(reading: shell.Session) -> None:
    answer = reading.call(call(["printf", "<%s>", "a b", "$HOME", "*", 3, True, {"a": [1]}]))
    assert answer["stdout"] == '<a b><$HOME><*><3><true><{"a": [1]}>'


def test_a_script_sees_its_values_as_variables(reading: shell.Session) -> None:
    answer = reading.call(call('printf "%s|" "$queue" "$limit" "$ids"', queue="a b", limit=5, ids=[1, "x"]))
    assert answer["stdout"] == 'a b|5|[1, "x"]|'


def test_an_answer_has_all_documented_names(reading: shell.Session) -> None:
    answer = reading.call(call("echo '{\"a\": [1, 2]}'; echo wrong >&2; exit 4"))
    assert set(answer) == set(shell.ANSWERS)
    assert (answer["exit_code"], answer["json"], answer["stderr"]) == (4, {"a": [1, 2]}, "wrong\n")
    assert answer["lines"] == ['{"a": [1, 2]}']


def test_a_script_ends_at_its_first_failing_command_or_unset_variable(reading: shell.Session) -> None:
    assert reading.call(call("false; echo on"))["stdout"] == ""
    assert reading.call(call('echo "$nothing_like_it"'))["exit_code"] != 0


MISREAD: list[tuple[list[Any], list[Any], bool]] = [
    (["sort", "${{ a }}", "f"], ["sort", "-o/tmp/x", "f"], True),
    (["sort", "f", "${{ a }}"], ["sort", "f", "--output=x"], True),
    (["sort", "-${{ a }}"], ["sort", "-o"], True),
    (["sort", "-k1${{ a }}"], ["sort", "-k1"], True),
    (["sort", "${{ a }}${{ b }}", "--"], ["sort", "-x", "--"], True),
    (["sort", "${{ a }}", "f"], ["sort", "--", "f"], True),
    (["head", "-n", "${{ n }}"], ["head", "-n", -5], True),
    (["sort", "--", "${{ a }}"], ["sort", "--", "-o/tmp/x"], False),
    (["sort", "${{ a }}"], ["sort", "file"], False),
    (["head", "-n", "${{ n }}"], ["head", "-n", 5], False),
    (["tail", "--lines=${{ n }}", "f"], ["tail", "--lines=-5", "f"], False),
    (["ls", "/var/${{ a }}"], ["ls", "/var/-x"], False),
    (["sort", "-o/tmp/x"], ["sort", "-o/tmp/x"], False),
    (["printf", "$${{ a }}"], ["printf", "-"], False),
]


@pytest.mark.parametrize(("written", "rendered", "refused"), MISREAD, ids=str)
def test_data_is_never_an_option_of_a_command(written: list[Any], rendered: list[Any], refused: bool) -> None:
    reason = shell.Params.misread(written, rendered)
    assert (reason is not None and "put a literal -- before it" in reason) is refused


def test_the_linter_names_each_item_that_data_could_turn_into_an_option() -> None:
    text = """\
runbook: 1
name: a
title: A
inputs: {path: {default: x}, label: {default: y}}
targets: {here: local}
symptoms:
  - {id: s, shell: [sort, "${{ path }}"], effect: read, facts: {n: exit_code}, present: n > 0}
  - {id: t, shell: [sort, --, "${{ path }}"], effect: read, facts: {m: exit_code}, present: m > 0}
causes: [{id: c, needs: n > 0, fix: [a]}]
resolution:
  - id: a
    effect: disruptive
    verify: {until: n == 0}
    steps:
      - {id: one, shell: [mark, --as=x, "-${{ label }}", "f-${{ path }}"]}
      - {id: two, shell: [mark, "--as=${{ label }}"], undo: {shell: [unmark, "${{ label }}"]}}
"""
    complaints = linter.run(load_playbook(text, "a.yaml"))
    found = [(item.code, item.line, item.message) for item in complaints if item.code == "RB412"]
    assert found == [
        ("RB412", 7, "step 's': item 2 could become an option: put a literal -- before it"),
        ("RB412", 15, "step 'one' of action 'a': item 3 could become an option: put a literal -- before it"),
        (
            "RB412",
            16,
            "the undo of step 'two' of action 'a': item 2 could become an option: put a literal -- before it",
        ),
    ]


@pytest.mark.parametrize("text", ["not json", '{"a": NaN}', "[" * 100_000, '"text"'])
def test_output_that_is_no_document_has_none_as_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_text(text)
    session = shell.connect(Target("host", "local", {"cwd": str(tmp_path)}), "read")
    assert session.call(call(["cat", "out"]))["json"] is None
    session.close()


def test_the_table_of_hostile_values_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 80


def test_hostile_values_arrive_unchanged_and_do_nothing(reading: shell.Session, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    values = [value.replace("CANARY", str(canary)) for value in HOSTILE]
    script = "printf '%s\\0' " + " ".join(f'"$v{n}"' for n in range(len(values)))
    named: dict[str, Any] = {f"v{n}": value for n, value in enumerate(values)}
    in_script = reading.call(call(script, **named))["stdout"]
    in_list = reading.call(call(["printf", "%s\\0", *values]))["stdout"]
    received = [value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for value in values]
    assert in_script.split("\0")[:-1] == received
    assert in_list.split("\0")[:-1] == received
    assert not canary.exists()


@pytest.mark.parametrize("value", HOSTILE)
def test_no_hostile_value_reaches_a_shell(value: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    session = shell.connect(Target("host", "local", {"cwd": str(tmp_path)}), "read")
    text = value.replace("CANARY", str(canary))
    session.call(
        call('test -n "$v" || true; echo "$v" | cat; set -- "$v"; for x in "$@"; do printf %s "$x"; done', v=text)
    )
    session.call(call(["echo", text]))
    session.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a-b", "1a", "", "a=b", "a b", "PATH", "BASH_ENV", "LD_PRELOAD", "IFS", "x\n"])
def test_names_that_no_variable_can_have_or_that_are_code_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        shell.variables({name: "x"})


@pytest.mark.parametrize("value", [None, "a\0b"])
def test_values_that_no_command_can_take_are_refused(value: object, reading: shell.Session) -> None:
    with pytest.raises(Refused):
        reading.call(call(["echo", value]))
    with pytest.raises(Refused):
        reading.call(call("echo", v=value))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("echo ${{ queue }}", "with:"),
        (["${{ program }}", "x"], "must be constant"),
        ([], "first item"),
        ([3, "x"], "first item"),
        ("  \n", "empty"),
        ({"run": "x"}, "valid"),
    ],
)
def test_code_that_is_not_constant_is_a_load_error(request_: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        shell.Params.model_validate(request_)


HARMFUL: list[Any] = [
    ["rm", "-rf", "/x"], ["/bin/rm", "x"], ["sudo", "-n", "systemctl", "restart", "x"], ["kill", "1"], ["dd", "if=/x"],
    ["docker", "compose", "-p", "p", "restart", "api"], ["docker", "rm", "-f", "x"], ["docker", "exec", "x", "rm", "y"],
    ["kubectl", "-n", "x", "delete", "pod", "y"], ["kubectl", "rollout", "restart", "x"], ["kubectl", "exec", "p"],
    ["env", "A=1", "mkfs.ext4", "/dev/x"], ["bash", "-c", "echo x; rm y"], ["curl", "-X", "POST", "http://x"],
    ["curl", "-XDELETE", "http://x"], ["redis-cli", "FLUSHALL"], ["redis-cli", "config", "set", "a", "b"],
    ["find", "/x", "-delete"], ["find", "/x", "-exec", "rm", "{}", ";"], ["sed", "-i", "s/a/b/", "x"], ["tee", "x"],
    "echo x > /etc/file", "echo x >> file", "echo x &> file", "cat y | tee x", "ls; rm x", "ls && mv a b",
    "if true\nthen rm x\nfi",
    "echo $(rm x)", 'echo "$(rm x)"', "echo `rm x`", "# don't\nrm x", "A=1 rm x", "docker-compose down", "sh -c 'rm x'",
    "xargs rm < list", "ps |\nxargs kill", "echo don't; rm x", "eval 'rm x'", "{ rm x; }", "( rm x )", "! rm x",
    "while true; do kill $p; done", "ssh host rm x", "truncate -s 0 log", "pkill api", "timeout 5 rm x",
]  # fmt: skip
HARMLESS: list[Any] = [
    ["docker", "compose", "ps", "-a"], ["kubectl", "get", "pods", "-o", "json"], ["kubectl", "rollout", "status", "x"],
    ["systemctl", "show", "x"], ["ps", "aux"], ["curl", "-sS", "http://x"], ["redis-cli", "config", "get", "x"],
    ["docker", "exec", "x", "redis-cli", "ping"], ["grep", "rm", "file"], ["echo", "kill"],
    ["find", "/x", "-name", "y"],
    "ps aux | grep rm", "echo kill", "ls >/dev/null 2>&1", "ls 2>/dev/null || true", "test 1 -gt 0", "cat <file",
    "awk '$1 > 5' file", "cat x 2>&1 | head", "echo 'a; rm b'", "df -h\nfree -m", "x=$(uptime); echo \"$x\"",
]  # fmt: skip


@pytest.mark.parametrize("request_", HARMFUL, ids=str)
def test_a_command_that_plainly_changes_something_is_disruptive(request_: Any) -> None:
    effect, why = shell.least_effect(request_)
    assert effect == Effect.disruptive and why


@pytest.mark.parametrize("request_", HARMLESS, ids=str)
def test_a_command_that_nobody_can_see_into_is_what_its_author_declares(request_: Any) -> None:
    assert shell.least_effect(request_)[0] == Effect.read
    assert shell.DECLARED and Effect.disruptive == shell.DEFAULT_EFFECT


def test_a_read_session_refuses_what_plainly_changes_something(reading: shell.Session, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="writes to the file"):
        reading.call(call(f"echo x > {tmp_path}/canary"))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_is_an_error_with_its_last_word(writing: shell.Session) -> None:
    with pytest.raises(TargetError, match="exit 3: no room") as caught:
        writing.call(call("echo no room >&2; exit 3", effect=Effect.reversible))
    assert (caught.value.code, caught.value.happened) == ("exit", "unknown")


def test_a_program_that_is_missing_did_not_happen(writing: shell.Session) -> None:
    with pytest.raises(TargetError) as caught:
        writing.call(call(["no-such-program", "x"]))
    assert (caught.value.code, caught.value.happened) == ("not_found", "no")


def test_output_is_capped_and_counted(reading: shell.Session) -> None:
    answer = reading.call(call("head -c 8000000 /dev/zero >&2; head -c 2000000 /dev/zero; echo end"))
    assert answer["stdout"].endswith("end\n")
    assert answer["dropped"] == 10_000_004 - 2 * 256 * 1024


@pytest.mark.parametrize(
    "script",
    [
        "trap '' TERM; sleep 300 & python3 -c 'import time; time.sleep(300)' \"$mark\"; sleep 300",
        "setsid python3 -c 'import time; time.sleep(300)' \"$mark\" & sleep 300",
        "(setsid python3 -c 'import time; time.sleep(300)' \"$mark\" </dev/null >/dev/null 2>&1 &); sleep 300",
        "python3 -c 'while True: print(1)' \"$mark\"",
    ],
    ids=["ignores TERM", "own session", "double fork", "endless output"],
)
@pytest.mark.parametrize("how", ["deadline", "cancel"])
@pytest.mark.parametrize("mode", ["read", "write"])
def test_nothing_survives(script: str, how: str, mode: Literal["read", "write"], target: Target) -> None:
    session = shell.connect(target, mode)
    mark = f"mark-{uuid.uuid4().hex}"
    if how == "cancel":
        threading.Thread(target=lambda: begun(mark) and session.cancel()).start()  # type: ignore[func-returns-value] # in order
    with pytest.raises(TargetError) as caught:
        session.call(call(script, deadline=1.0 if how == "deadline" else 60.0, mark=mark))
    session.close()
    assert caught.value.code == ("timeout" if how == "deadline" else "cancelled")
    assert gone(mark)


def test_a_session_goes_on_after_a_deadline(reading: shell.Session) -> None:
    with pytest.raises(TargetError):
        reading.call(call(["sleep", "60"], deadline=0.3))
    assert reading.call(call(["echo", "still"]))["stdout"] == "still\n"


def test_who_answers_is_known(reading: shell.Session, target: Target) -> None:
    identity = reading.identity()
    assert identity.facts["host"] == os.uname().nodename
    assert identity.facts["user"] == getpass.getuser()
    if target.kind == "ssh":
        assert str(identity.facts["host_key"]).startswith("SHA256:")


def test_what_is_shown_is_what_is_sent() -> None:
    assert shell.show(call(["docker", "ps", "a b"])) == "docker ps 'a b'"
    assert shell.show(call('echo "$q"\n', q="a'b")) == "q='a'\"'\"'b'\necho \"$q\""
    assert shlex.split(shell.show(call(["x", *[value for value in HOSTILE if "\udc80" not in value]])))[0] == "x"


def test_a_folder_and_variables_of_the_target_are_used(target: Target, tmp_path: Path) -> None:
    more: Mapping[str, Any] = {**target.settings, "cwd": str(tmp_path), "env": {"REGION": "eu; x"}}
    session = shell.connect(Target("host", target.kind, more), "read")
    assert session.call(call('pwd; echo "$REGION"'))["lines"] == [str(tmp_path), "eu; x"]
    session.close()


def test_a_remote_read_does_not_survive_its_closed_session(sshd: Sshd) -> None:
    session = shell.connect(Target("host", "ssh", sshd.settings()), "read")
    mark = f"mark-{uuid.uuid4().hex}"
    failed: list[TargetError] = []

    def ask() -> None:
        try:
            session.call(call(["python3", "-c", "import time; time.sleep(300)", mark], deadline=60))
        except TargetError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert begun(mark)
    session.close()
    thread.join()
    assert failed[0].code in ("reset", "cancelled")
    assert gone(mark)


def test_a_remote_read_does_not_survive_the_death_of_the_engine(sshd: Sshd) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    words = ["python3", "-c", "import time; time.sleep(300)", mark]
    program = (
        "from runbook_engine.executor import Call, Target\nfrom runbook_engine.executors import shell\n"
        f"session = shell.connect(Target('host', 'ssh', {sshd.settings()!r}), 'read')\n"
        f"session.call(Call(id='x', request={words!r}, deadline=60))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            assert begun(mark)
        finally:
            process.kill()
    assert gone(mark)


def test_values_do_not_show_in_the_remote_command_lines(sshd: Sshd) -> None:
    session = shell.connect(Target("host", "ssh", sshd.settings()), "read")
    canary = f"canary-{uuid.uuid4().hex}"
    lines = session.call(call("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' || true", secret=canary))["stdout"]
    assert canary not in lines
    session.close()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"known_hosts": "/nonexistent/known_hosts"}, "hostkey"),
        ({"known_hosts": "FOLDER/wrong_hosts"}, "hostkey"),
        ({"key": "FOLDER/stranger"}, "auth"),
        ({"key": "FOLDER/absent"}, "auth"),
        ({"port": "FREE"}, "refused"),
        ({"host": "no-such-host.invalid"}, "dns"),
        ({"host": None}, "settings"),
    ],
)
def test_a_connection_that_cannot_be_had_says_why(change: Mapping[str, object], code: str, sshd: Sshd) -> None:
    filled = {
        name: free_port() if value == "FREE" else value.replace("FOLDER", str(sshd.folder)) if value else None
        for name, value in change.items()
        if value is None or isinstance(value, str)
    }
    with pytest.raises(TargetError) as caught:
        shell.connect(Target("host", "ssh", sshd.settings(**filled)), "read")
    assert (caught.value.code, caught.value.happened) == (code, "no")

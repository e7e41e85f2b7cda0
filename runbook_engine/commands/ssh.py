"""One SSH connection and the commands on it, each with a deadline, a bound on its output and an end of its remote side.

It must never accept an unknown host key, never let a remote read outlive the connection, and never put a value where
the remote shell would read it as code: the whole script travels on stdin, quoted for a POSIX shell, where no process
list shows it and no other login shell reads it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import select
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TargetError
from ..executor import Json
from .output import OUTPUT_CAP, Capture, last_line
from .processes import CHUNK, LINGER, Cancellation, Finished

if TYPE_CHECKING:
    import paramiko

CONNECT_TIMEOUT = 5.0
AUTH_TIMEOUT = 30.0
KEEPALIVE = 15
TICK = 0.2
ENDING = 2.5
WEAK = {
    "ciphers": ["3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"],
    "macs": ["hmac-md5", "hmac-md5-96", "hmac-sha1", "hmac-sha1-96"],
    "keys": ["ssh-rsa", "ssh-dss"],
}

# The command runs beside a watchdog that waits for one word on the channel. `kill` means that we want its end; the end
# of file means that we are gone, which ends a read and lets a write finish. sshd alone would let both run on for ever.
# Processes that left the group are found by the marker in their environment.
WATCHDOG = """\
{exports}
exec 3<&0
ending=; trap ending=1 USR1; trap '' TERM HUP INT
( trap - TERM HUP INT; {body} ) </dev/null 3<&- &
p=$!
(
  exec >/dev/null 2>&1
  word=; read -r word <&3
  [ "$word" = kill ] || {on_end} || exit 0
  kill -USR1 $$
  kill -TERM {group}
  rb_sweep() {{
    for e in /proc/[0-9]*/environ; do
      if grep -qF 'RUNBOOK_CALL={marker}' "$e"; then q=${{e%/environ}}; kill "$1" "${{q#/proc/}}"; fi
    done
  }}
  rb_sweep -TERM
  i=0; while kill -0 $p && [ $i -lt 10 ]; do sleep 0.1 || sleep 1; i=$((i+1)); done
  rb_sweep -KILL; rb_sweep -KILL
  kill -KILL {group}
) &
w=$!
wait $p; rc=$?
if [ "$ending" ]; then wait $w; fi
kill -KILL $w 2>/dev/null
exit $rc
"""
# Only the leader of a process group can end the group; sshd makes the shell one, other servers may not.
LAUNCH = """\
if kill -0 -$$ 2>/dev/null; then
{own_group}
elif setsid -w true 2>/dev/null; then exec setsid -w sh -c {quoted}
else
{single}
fi
"""


@dataclass(frozen=True, slots=True)
class Remote:
    """Where an SSH target is and how to get in; what stands under the target in the environment."""

    host: str
    port: int = 22
    user: str | None = None
    key: str | None = None
    passphrase: str | None = None
    password: str | None = None
    known_hosts: str | None = None
    agent: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Json]) -> Remote:
        known = {name: settings[name] for name in cls.__slots__ if settings.get(name) is not None}
        if "host" not in known:
            raise TargetError("settings", "ssh target: 'host' is missing in the environment", "no")
        return cls(**{**known, "host": str(known["host"]), "port": int(known.get("port", 22))})


class Connection:
    """One authenticated connection; `run` is called by one thread at a time."""

    def __init__(self, remote: Remote) -> None:
        self._client = _connect(remote)
        self.remote = remote

    @property
    def fingerprint(self) -> str:
        """Of the host key, as `ssh-keygen -l` prints it."""
        return fingerprint(self._transport().get_remote_server_key())

    def run(
        self,
        body: str,
        *,
        env: Mapping[str, str],
        deadline: float,
        keep: bool,
        cancellation: Cancellation,
        name: str,
        output_cap: int = OUTPUT_CAP,
    ) -> Finished:
        """Run a line of POSIX shell remotely; `keep` is for writes, which may finish when the connection is lost."""
        started = time.monotonic()
        if cancellation.heard():
            raise TargetError("cancelled", f"{name}: cancelled before it was started", "no")
        channel = self._open(name, deadline)
        try:
            channel.exec_command("exec sh -s")
            channel.settimeout(deadline)
            channel.sendall(script(body, env, keep).encode("utf-8", "surrogateescape"))
            reading = _Reading(channel, Capture(output_cap), Capture(output_cap))
            return _finish(reading, name, started, deadline, cancellation)
        except OSError as error:
            raise TargetError("reset", f"{name}: the ssh connection was lost: {error}") from error
        finally:
            channel.close()

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._client.close()

    def _transport(self) -> paramiko.Transport:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise TargetError("reset", f"ssh {self.remote.host}: the connection was lost", "no")
        return transport

    def _open(self, name: str, deadline: float) -> paramiko.Channel:
        ssh = _paramiko()
        try:
            return self._transport().open_session(timeout=min(deadline, CONNECT_TIMEOUT))
        except (ssh.SSHException, EOFError, OSError) as error:
            raise TargetError("reset", f"{name}: ssh would not open a channel: {error}", "no") from error


def script(body: str, env: Mapping[str, str], keep: bool) -> str:
    """What is sent on stdin: the watchdog, and in it the environment and the body."""
    marker = secrets.token_hex(16)
    exports = [f"export {name}={shlex.quote(value)}" for name, value in {**env, "RUNBOOK_CALL": marker}.items()]
    words = {"exports": "\n".join(exports), "body": body, "marker": marker, "on_end": "false" if keep else "true"}
    own_group = WATCHDOG.format(group="-$$", **words)
    return LAUNCH.format(
        own_group=own_group, quoted=shlex.quote(own_group), single=WATCHDOG.format(group="$p", **words)
    )


class _Reading:
    """Both streams of one channel and one reader: reading one after the other deadlocks when the other fills."""

    def __init__(self, channel: paramiko.Channel, stdout: Capture, stderr: Capture) -> None:
        self.channel, self.stdout, self.stderr = channel, stdout, stderr

    def until(self, limit: float, cancellation: Cancellation | None, ended_is_enough: bool = True) -> bool:
        """True when the command ended, False at the limit or a cancellation."""
        while not self._over(ended_is_enough):
            left = limit - time.monotonic()
            if left <= 0:
                return False
            self._wait(min(left, TICK), cancellation)
            if cancellation is not None and _rung(cancellation):
                return False
            self._take()
        self._take()
        return True

    def _over(self, ended_is_enough: bool) -> bool:
        if self.channel.closed:
            return True
        return self.channel.exit_status_ready() and (ended_is_enough or bool(self.channel.eof_received))

    def _wait(self, seconds: float, cancellation: Cancellation | None) -> None:
        poll = select.poll()
        for fd in (self.channel.fileno(), *([] if cancellation is None else [cancellation.fileno()])):
            poll.register(fd, select.POLLIN)
        if self.channel.eof_received and not self.channel.recv_ready() and not self.channel.recv_stderr_ready():
            time.sleep(0.005)  # the end of file keeps the channel readable while the exit status is on its way
        else:
            poll.poll(max(1, int(seconds * 1000)))

    def _take(self) -> None:
        while self.channel.recv_ready():
            self.stdout.add(self.channel.recv(CHUNK))
        while self.channel.recv_stderr_ready():
            self.stderr.add(self.channel.recv_stderr(CHUNK))


def _finish(reading: _Reading, name: str, started: float, deadline: float, cancellation: Cancellation) -> Finished:
    if not reading.until(started + deadline, cancellation):
        raise _cut_short(reading, name, deadline, cancellation.heard())
    reading.until(time.monotonic() + LINGER, None, ended_is_enough=False)
    code = reading.channel.recv_exit_status() if reading.channel.exit_status_ready() else -1
    if code == -1:  # the watchdog always exits with a status, so nobody saw how the command ended
        raise TargetError("reset", f"{name}: the ssh connection or its remote shell was lost while it ran")
    return Finished(
        exit_code=code,
        stdout=reading.stdout.text(),
        stderr=reading.stderr.text(),
        stdout_dropped=reading.stdout.dropped,
        stderr_dropped=reading.stderr.dropped,
        seconds=time.monotonic() - started,
    )


def _cut_short(reading: _Reading, name: str, deadline: float, cancelled: bool) -> TargetError:
    with contextlib.suppress(OSError):
        reading.channel.sendall(b"kill\n")
        reading.until(time.monotonic() + ENDING, None)
    ended = "so it was ended" if reading.channel.exit_status_ready() else "and its end was not confirmed"
    spoken = last_line(reading.stderr.text())
    tail = f"; its last word was {spoken!r}" if spoken else ""
    if cancelled:
        return TargetError("cancelled", f"{name}: cancelled, {ended}{tail}")
    return TargetError("timeout", f"{name}: no end within {deadline:g} s, {ended}{tail}")


def _rung(cancellation: Cancellation) -> bool:
    poll = select.poll()
    poll.register(cancellation.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def fingerprint(key: paramiko.PKey) -> str:
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _connect(remote: Remote) -> paramiko.SSHClient:
    ssh = _paramiko()
    client: paramiko.SSHClient = ssh.SSHClient()
    client.set_missing_host_key_policy(ssh.RejectPolicy())
    known_hosts = Path(remote.known_hosts or "~/.ssh/known_hosts").expanduser()
    if known_hosts.exists():
        client.load_host_keys(str(known_hosts))
    plug = _socket(remote)
    try:
        client.connect(
            remote.host,
            port=remote.port,
            username=remote.user,
            password=remote.password,
            key_filename=str(Path(remote.key).expanduser()) if remote.key else None,
            passphrase=remote.passphrase,
            allow_agent=remote.agent,
            look_for_keys=False,
            timeout=CONNECT_TIMEOUT,
            banner_timeout=AUTH_TIMEOUT,
            auth_timeout=AUTH_TIMEOUT,
            channel_timeout=CONNECT_TIMEOUT,
            sock=plug,
            disabled_algorithms=WEAK,
        )
    except (ssh.SSHException, EOFError, OSError, ValueError) as error:
        client.close()
        plug.close()
        raise _refusal(error, remote, known_hosts) from error
    if (transport := client.get_transport()) is not None:
        transport.set_keepalive(KEEPALIVE)
    return client


def _refusal(error: Exception, remote: Remote, known_hosts: Path) -> TargetError:
    ssh = _paramiko()
    place = f"ssh {remote.host}:{remote.port}"
    if isinstance(error, ssh.BadHostKeyException):
        shown, known = fingerprint(error.key), fingerprint(error.expected_key)
        text = f"its host key is {shown}, {known_hosts} says {known}; somebody may be in between"
        return TargetError("hostkey", f"{place}: {text}", "no")
    if "not found in known_hosts" in str(error):
        text = f"its host key is not in {known_hosts}; check it and add it with ssh-keyscan -p {remote.port}"
        return TargetError("hostkey", f"{place}: {text} {remote.host}", "no")
    if isinstance(error, ssh.AuthenticationException | ssh.PasswordRequiredException):
        return TargetError("auth", f"{place}: user {remote.user!r} was not let in: {error}", "no")
    if isinstance(error, FileNotFoundError | PermissionError):
        return TargetError("auth", f"{place}: the key file {remote.key!r} cannot be read: {error.strerror}", "no")
    code = "timeout" if isinstance(error, TimeoutError) or "timeout" in str(error).lower() else "reset"
    return TargetError(code, f"{place}: {error or 'the server closed the connection'}", "no")


def _socket(remote: Remote) -> socket.socket:
    """Our own socket: paramiko never sets TCP_NODELAY, which costs every command 40 ms."""
    place = f"ssh {remote.host}:{remote.port}"
    try:
        plug = socket.create_connection((remote.host, remote.port), CONNECT_TIMEOUT)
    except socket.gaierror as error:
        raise TargetError("dns", f"{place}: the name cannot be resolved: {error.strerror}", "no") from error
    except ConnectionRefusedError as error:
        raise TargetError("refused", f"{place}: connection refused", "no") from error
    except TimeoutError as error:
        raise TargetError("timeout", f"{place}: no answer within {CONNECT_TIMEOUT:g} s", "no") from error
    except OSError as error:
        raise TargetError("unreachable", f"{place}: {error.strerror or error}", "no") from error
    plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plug


def _paramiko() -> Any:
    """paramiko without `invoke`, which is half of its import time and only serves `Match exec`."""
    if "paramiko" in sys.modules:
        return sys.modules["paramiko"]
    absent: Any = None
    blocked = "invoke" not in sys.modules
    if blocked:
        sys.modules["invoke"] = absent
    try:
        import paramiko  # noqa: PLC0415 - loaded only when somebody connects
    finally:
        if blocked:
            del sys.modules["invoke"]
    return paramiko

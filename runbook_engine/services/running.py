"""Runs the commands of one service, each within what is left of the call's time, and keeps nothing open."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..commands.output import last_line
from ..commands.processes import Cancellation, Finished, run
from ..errors import TargetError
from ..executor import Json
from .status import read_json

OUTPUT_CAP = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Runner:
    """Where and with what environment commands run, and the bell that ends them."""

    env: Mapping[str, str]
    cwd: str | None
    cancellation: Cancellation

    def run(
        self, words: Sequence[str], limit: float, *, keep: bool = False, cap: int = OUTPUT_CAP, stdin: bytes = b""
    ) -> Finished:
        """Any exit code is an answer. `limit` is a moment of the monotonic clock."""
        return run(
            words,
            env=self.env,
            deadline=max(0.05, limit - time.monotonic()),
            stdin=stdin,
            cwd=self.cwd,
            keep=keep,
            cancellation=self.cancellation,
            output_cap=cap,
        )

    def read(self, words: Sequence[str], limit: float, *, cap: int = OUTPUT_CAP, both: bool = False) -> str:
        """What it prints; `both` for logs, which programs write to either stream."""
        finished = self.run(words, limit, cap=cap)
        if finished.exit_code != 0:
            raise failed(words, finished)
        return finished.stdout + finished.stderr if both else finished.stdout

    def act(self, words: Sequence[str], limit: float, *, stdin: bytes = b"") -> str:
        """A write: what it leaves in the background stays."""
        finished = self.run(words, limit, keep=True, stdin=stdin)
        if finished.exit_code != 0:
            raise failed(words, finished)
        return finished.stdout

    def json(self, words: Sequence[str], limit: float) -> Json:
        return read_json(self.read(words, limit), words[0])

    def optional_json(self, words: Sequence[str], limit: float) -> Json | None:
        """None where it is refused, or not there: it must not cost what can be told."""
        try:
            return self.json(words, limit)
        except TargetError as error:
            if error.code in ("cancelled", "timeout"):
                raise
            return None


def failed(words: Sequence[str], finished: Finished) -> TargetError:
    spoken = last_line(finished.stderr) or last_line(finished.stdout) or "it said nothing"
    return TargetError("exit", f"{shlex.join(words[:6])}: exit {finished.exit_code}: {spoken}")

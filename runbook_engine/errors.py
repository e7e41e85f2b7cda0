"""What a user can be told went wrong, by whose fault it was. Pure: holds no I/O and formats no screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EXIT_USAGE = 2
EXIT_INVALID_PLAYBOOK = 65
EXIT_UNAVAILABLE = 69
EXIT_BUG = 70
EXIT_JOURNAL = 74
EXIT_NEEDS_PERSON = 75


def counted(count: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class RunbookError(Exception):
    """Base of everything that is shown to the user in one line. `exit_code` is what the command ends with."""

    exit_code = EXIT_BUG


class UsageError(RunbookError):
    """The invocation is at fault: unknown playbook, bad input value, environment that does not exist."""

    exit_code = EXIT_USAGE


class JournalError(RunbookError):
    """The journal cannot be written or read. No effect may follow."""

    exit_code = EXIT_JOURNAL


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong with one file: where (1-based), what, and how to mend it."""

    path: str
    line: int
    column: int
    message: str
    code: str = "RB000"
    snippet: str = ""
    severity: Literal["error", "warning"] = "error"
    ignored: str = ""
    """Why its author says that it does not matter here; then it is not shown."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.code} {self.message}"


class PlaybookError(RunbookError):
    """A file is not a valid playbook. Carries every complaint, not only the first."""

    exit_code = EXIT_INVALID_PLAYBOOK

    def __init__(self, complaints: tuple[Complaint, ...]) -> None:
        super().__init__("\n".join(str(complaint) for complaint in complaints))
        self.complaints = complaints


class TargetError(RunbookError):
    """A target, or the connection to it, failed.

    `code` is one of `CONNECTION_CODES` or the server's own code (an SQLSTATE, a Redis error word).
    `happened` says whether the requested effect took place: `no` only when that is proven, else `unknown`.
    """

    exit_code = EXIT_UNAVAILABLE

    def __init__(self, code: str, message: str, happened: Literal["no", "unknown"] = "unknown") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.happened = happened


class Refused(RunbookError):  # noqa: N818 - it is a refusal, by the engine, and no error of a target
    """The engine itself would not do it: a write in a read step, more rows than the limit.

    Nothing was sent, or what was sent was rolled back.
    """

    exit_code = EXIT_INVALID_PLAYBOOK


CONNECTION_CODES = ("refused", "timeout", "reset", "dns", "tls", "auth", "unreachable", "cancelled")

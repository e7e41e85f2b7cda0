"""Keeps the head and the tail of a stream within a limit and counts the rest.

Pure. It must never grow with what flows through it.
"""

from __future__ import annotations

KIB = 1024
OUTPUT_CAP = 256 * KIB
HEAD = 64 * KIB


class Capture:
    """What is kept of one stream. The head says how it began, the tail how it ended; the middle is only counted."""

    def __init__(self, cap: int = OUTPUT_CAP, head: int = HEAD) -> None:
        self._head_size = min(head, cap)
        self._tail_size = cap - self._head_size
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, chunk: bytes) -> None:
        self.total += len(chunk)
        room = self._head_size - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        # Cutting only when twice too long keeps the copying linear in what flows through.
        if len(self._tail) > 2 * self._tail_size:
            self._cut()

    @property
    def dropped(self) -> int:
        """How many bytes were not kept."""
        return max(0, self.total - self._head_size - self._tail_size)

    def text(self) -> str:
        """Head and tail as text; when something was dropped, a line between them says how much."""
        self._cut()
        if not self.dropped:
            return decode(bytes(self._head + self._tail))
        return f"{decode(bytes(self._head))}\n[{self.dropped} bytes left out]\n{decode(bytes(self._tail))}"

    def _cut(self) -> None:
        if len(self._tail) > self._tail_size:
            del self._tail[: len(self._tail) - self._tail_size]


def decode(data: bytes) -> str:
    """Text for people and expressions: what is not UTF-8 becomes the replacement character."""
    return data.decode("utf-8", "replace")


def lines_of(text: str) -> list[str]:
    """Lines as a shell counts them; `str.splitlines` would also split at form feeds and Unicode separators."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def last_line(text: str, limit: int = 200) -> str:
    """The last line that says something, for a one-line error."""
    spoken = [line.strip() for line in lines_of(text) if line.strip()]
    return spoken[-1][:limit] if spoken else ""

"""What a snapshot keeps for the undo: the reply of the executor, whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from fake_executor import World, play
from test_resolution import CAUSE, HEAD, UNPAUSE, world, writes


class RedisLike(World):
    """A store whose answers hold more than the reply, as those of Redis do."""

    truncated = False

    def answer(self, request: list[Any], mode: str = "read") -> dict[str, Any]:
        return {**super().answer(request, mode), "truncated": self.truncated and request[1] == "since"}


@pytest.fixture
def store() -> RedisLike:
    like = RedisLike(world().values)
    like.values["backlog"] = lambda now: 3 if not like.values["paused"] else 500
    return like


def test_the_undo_gets_the_reply_alone_and_not_what_stands_beside_it(store: RedisLike) -> None:
    intent = writes(play(HEAD + CAUSE + UNPAUSE, store))[0]
    assert intent.undo is not None and intent.undo["request"] == ["SET", "paused", "monday"]


def test_a_reply_that_was_cut_is_not_put_back(store: RedisLike) -> None:
    store.truncated = True
    played = play(HEAD + CAUSE + UNPAUSE, store)
    assert (played.end.outcome, store.sent) == ("refused", [])
    assert "longer than what is kept" in played.end.reason

"""The contract of dead letters: the adapter, and `ops.recovery.dead_letters` on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pytest

from consumers.broker.dead_letters import DeadLetterQueues
from consumers.broker.errors import BrokerLostError
from consumers.errors import BadAudioError
from events.event import ObjectCreated
from events.keys import ArchiveKey, AudioId, BatchId
from ops.recovery.dead_letters import DeadLetterFilter, discard, find, replay
from tests.contracts.loop import POISON, ROUTE, Recorder, notification, running, settled
from tests.contracts.sender import SenderQueues
from tests.harness.polling import eventually

BATCH = BatchId("20250622-143052-a1b2c3")


class MailedQueues(SenderQueues, Protocol):
    """The route's queues, and its dead letters."""

    def dead_letters(self) -> DeadLetterQueues:
        """Connect to the dead letters."""

    def away_dead_letters(self) -> DeadLetterQueues:
        """Connect to those of a broker that does not exist."""

    def put_dead(self, body: str | bytes) -> None:
        """Put a message among the dead letters that dropscribe did not write."""

    def dead_count(self) -> int:
        """Count the dead letters that no client holds."""


class UnstalledRows:
    """Records the archives and recordings that are no longer stalled."""

    def __init__(self) -> None:
        self.unstalled: list[ArchiveKey | AudioId] = []

    def unstall_archive(self, key: ArchiveKey) -> None:
        self.unstalled.append(key)

    def unstall_recording(self, audio: AudioId) -> None:
        self.unstalled.append(audio)


def bad(_: ObjectCreated) -> Exception:
    return BadAudioError("no sound")


def die(queues: MailedQueues, *keys: str) -> None:
    """Let a consumer give up on these objects."""
    for key in keys:
        queues.send(key)
    with running(queues, Recorder(bad)):
        settled(queues)
    eventually(lambda: queues.dead_count() == len(keys), seconds=5)


def ids(queues: MailedQueues, **selection: object) -> list[str]:
    chosen = DeadLetterFilter(routes=(ROUTE,), **selection)  # type: ignore[arg-type]
    return sorted(letter.id for letter in find(queues.dead_letters(), chosen))


def send_again(
    queues: MailedQueues, wanted: Sequence[str] | None = None, rows: UnstalledRows | None = None
) -> list[str]:
    selection = DeadLetterFilter(routes=(ROUTE,), ids=frozenset(wanted) if wanted else None)
    with queues.sender() as sender:
        done = replay(
            queues.dead_letters(), sender, rows or UnstalledRows(), selection, sleep=lambda _: None
        )
        return [letter.id for letter in done]


class DeadLettersContract:
    """Inherit it, and provide a fixture ``queues``."""

    def test_a_dead_letter_holds_all_known_facts(self, queues: MailedQueues) -> None:
        die(queues, BATCH.archive_key)
        (letter,) = find(queues.dead_letters(), DeadLetterFilter(routes=(ROUTE,)))
        assert (letter.route, letter.reason, letter.error) == (ROUTE, "permanent", "no sound")
        assert letter.attempts == 1
        assert letter.dead_at is not None
        assert letter.keys == (BATCH.archive_key,)
        assert letter.batches == (BATCH,)
        assert letter.text == notification([BATCH.archive_key])

    def test_find_leaves_dead_letters_in_their_queue(self, queues: MailedQueues) -> None:
        keys = [f"archives/{number}.tar" for number in range(23)]
        die(queues, *keys)
        first = ids(queues)
        assert len(set(first)) == 23
        assert queues.dead_count() == 23
        assert ids(queues) == first

    def test_listing_a_few_returns_all_letters_to_the_queue(self, queues: MailedQueues) -> None:
        die(queues, "archives/a.tar", "archives/b.tar", "archives/c.tar")
        with queues.dead_letters().walk(ROUTE) as letters:
            next(letters)
        assert queues.dead_count() == 3

    def test_filters_select_dead_letters_by_their_facts(self, queues: MailedQueues) -> None:
        die(queues, BATCH.archive_key, "archives/other.zip")
        queues.put_dead("no JSON")
        assert len(ids(queues, batch=BATCH)) == 1
        assert len(ids(queues, batch=BATCH, archive_key="archives/other.zip")) == 2
        assert len(ids(queues, reason="permanent")) == 2
        assert len(ids(queues, reason="lost")) == 1
        assert ids(queues, reason="lost", batch=BATCH) == []

    def test_discard_removes_only_the_selected_letters(self, queues: MailedQueues) -> None:
        die(queues, "archives/a.tar", "archives/b.tar", "archives/c.tar")
        first, *others = ids(queues)
        chosen = DeadLetterFilter(routes=(ROUTE,), ids=frozenset([first, "0" * 12]))
        gone = [each.id for each in discard(queues.dead_letters(), chosen, sleep=lambda _: None)]
        assert gone == [first]
        assert ids(queues) == others

    def test_a_replayed_letter_is_a_first_attempt(self, queues: MailedQueues) -> None:
        die(queues, BATCH.archive_key, "archives/b.tar")
        letters = ids(queues)
        rows = UnstalledRows()
        assert sorted(send_again(queues, rows=rows)) == letters
        assert ids(queues) == []
        assert {str(key.key) for key in rows.unstalled if isinstance(key, ArchiveKey)} == {
            BATCH.archive_key,
            "archives/b.tar",
        }
        attempts: list[int] = []
        inbox = queues.open_inbox(prefetch=9)
        while len(attempts) < 2:
            attempts += [each.attempt for each in inbox.drain(0.2)]
        inbox.cancel()
        inbox.close()
        assert attempts == [1, 1]

    def test_a_letter_that_dies_again_at_once_is_replayed_once(self, queues: MailedQueues) -> None:
        keys = [f"archives/{number}.tar" for number in range(5)]
        die(queues, *keys)
        handler = Recorder(bad)
        with running(queues, handler):
            assert len(send_again(queues)) == 5
            eventually(lambda: len(handler.keys) == 5, seconds=10)
            settled(queues)
        eventually(lambda: queues.dead_count() == 5, seconds=5)
        assert sorted(handler.keys) == keys

    def test_a_replay_that_is_cut_short_doubles_and_loses_nothing(
        self, queues: MailedQueues
    ) -> None:
        die(queues, "archives/a.tar")
        with queues.sender() as sender:
            with queues.dead_letters().walk(ROUTE) as letters:
                sender.send(ROUTE, next(letters).letter.body)
            assert sender.depth(ROUTE) == 1
        assert queues.dead_count() == 1

    def test_two_readers_at_once_lose_nothing(self, queues: MailedQueues) -> None:
        die(queues, "archives/a.tar", "archives/b.tar")
        letters = ids(queues)
        with queues.dead_letters().walk(ROUTE) as held:
            assert len(list(held)) == 2
            assert send_again(queues, letters) == []
        assert ids(queues) == letters
        assert sorted(send_again(queues, letters)) == letters

    def test_any_message_can_be_shown_and_replayed(self, queues: MailedQueues) -> None:
        bodies = ["x", "x", notification(["archives/a.tar"]), *POISON]
        for body in bodies:
            queues.put_dead(body)
        letters = list(find(queues.dead_letters(), DeadLetterFilter(routes=(ROUTE,))))
        assert sorted(letter.text for letter in letters) == sorted(bodies)
        assert {letter.reason for letter in letters} == {"lost"}
        assert len({letter.id for letter in letters}) == len(bodies)
        assert [letter.id[12:] for letter in letters if letter.text == "x"] == ["", "-2"]
        assert len(send_again(queues)) == len(bodies)
        assert queues.dead_count() == 0
        handler = Recorder(lambda _: None)
        with running(queues, handler):
            settled(queues)
        assert handler.keys == ["archives/a.tar"]

    def test_an_unreachable_broker_is_reported(self, queues: MailedQueues) -> None:
        away = queues.away_dead_letters()
        with pytest.raises(BrokerLostError):
            list(find(away, DeadLetterFilter(routes=(ROUTE,))))
        with pytest.raises(BrokerLostError):
            away.count(ROUTE)

"""A delivery ends in exactly one verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.broker.verdict import Ack, DeadLetter, Retry, Verdict
from consumers.errors import BadAudioError, BusyError, PermanentError, TransientError
from consumers.runtime.retry_policy import BUSY_DELAY, RETRY_DELAYS, combined, verdict_for

verdicts = st.sampled_from(
    [
        Ack(),
        Retry(10, counts=True, error="away"),
        Retry(60, counts=True, error="away"),
        Retry(10, counts=False, error="busy"),
        DeadLetter("permanent", "bad"),
    ]
)


def test_done_is_acked() -> None:
    assert verdict_for(None, 1) == Ack()


@pytest.mark.parametrize("error", [TransientError("away"), ValueError("a bug")])
def test_temporary_errors_are_retried_with_growing_delays(error: Exception) -> None:
    waits = [verdict_for(error, attempt) for attempt in (1, 2, 3)]
    assert [wait.after for wait in waits if isinstance(wait, Retry)] == list(RETRY_DELAYS)


def test_after_the_last_attempt_it_is_a_dead_letter_that_says_why() -> None:
    assert verdict_for(TransientError("away"), 4) == DeadLetter("exhausted", "away")
    assert verdict_for(ValueError("a bug"), 4) == DeadLetter("unexpected", "ValueError: a bug")


@pytest.mark.parametrize("error", [PermanentError("bad"), BadAudioError("bad")])
def test_permanent_errors_are_dead_lettered_at_once(error: Exception) -> None:
    assert verdict_for(error, 1) == DeadLetter("permanent", "bad")


@given(st.integers(1, 1000))
def test_waiting_for_another_worker_is_no_attempt(
    attempt: int,
) -> None:
    assert verdict_for(BusyError("busy"), attempt) == Retry(BUSY_DELAY, counts=False, error="busy")


@given(st.lists(verdicts))
def test_a_delivery_is_acked_only_when_everything_in_it_is_done(parts: list[Verdict]) -> None:
    whole = combined(parts)
    assert isinstance(whole, Ack) == all(isinstance(part, Ack) for part in parts)
    assert isinstance(whole, Retry) == any(isinstance(part, Retry) for part in parts)


def test_the_longest_counted_retry_wins() -> None:
    assert combined(
        [
            Retry(10, counts=False, error=""),
            Retry(60, counts=True, error=""),
            Retry(10, counts=True, error=""),
        ]
    ) == Retry(60, counts=True, error="")

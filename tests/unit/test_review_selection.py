"""The selection of passages for review."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consumers.documents.transcript import Segment
from consumers.documents.transcript.doubt import Doubt
from consumers.documents.transcript.timing import text_between
from consumers.stages.selection import Selection, select
from events.keys import AudioId, ClipKey, parse_key
from tests.harness.samples.reviews import BATCH, finding, recording, segment

ALL = Selection(sample=1.0, margin=3.0)
NONE = Selection(sample=0.0, margin=3.0)

HELLO = segment(0.0, 2.0, "Hello there.")
THREAT = segment(5.0, 9.5, "They are all vermin.")
CLEAN = (finding("hate", (0.0, 2.0, 0.1), (5.0, 9.5, 0.2)),)


def test_every_window_that_a_policy_flags_is_an_item_for_each_policy() -> None:
    flagged = (
        finding("harassment", (0.0, 9.5, 0.41), threshold=0.4),
        finding("hate", (0.0, 2.0, 0.1), (5.0, 9.5, 0.93)),
    )
    first, second = select(recording(HELLO, THREAT, findings=flagged), [], ALL)
    assert (first.kind, first.policy, first.start, first.end) == ("flagged", "harassment", 0, 9.5)
    assert first.text == "Hello there. They are all vermin."
    assert (second.policy, second.start, second.end, second.score) == ("hate", 5, 9.5, 0.93)
    assert second.text == "They are all vermin."
    assert second.reason == "policy hate scores this passage 0.93 (threshold 0.50)"


def test_an_items_clip_has_a_margin_but_stays_within_the_recording() -> None:
    flagged = (finding("hate", (1.0, 2.0, 0.9), (5.0, 9.5, 0.9)),)
    near, far = select(recording(HELLO, THREAT, findings=flagged, duration=10.0), [], NONE)
    assert near.clip_start == 0.0
    assert far.clip_start == 2.0
    assert parse_key(near.clip_key) == ClipKey(near.audio, 0, 5_000)
    assert parse_key(far.clip_key) == ClipKey(near.audio, 2_000, 10_000)


def test_a_passage_beyond_the_end_is_clamped_to_the_recording() -> None:
    """Recognisers are sometimes wrong about the end; a clip can be cut all the same."""
    late = segment(11.0, 14.0, "Thank you for watching.")
    (item,) = select(
        recording(late, duration=10.0), [Doubt("silence", 11.0, 14.0, "silence")], NONE
    )
    assert (item.start, item.end) == (9.5, 10.0)
    assert item.text == "Thank you for watching."


def test_doubts_that_follow_closely_are_one_item_with_all_reasons() -> None:
    doubts = [
        Doubt("loop", 5.0, 9.5, "a loop"),
        Doubt("unsure", 0.0, 2.0, "not sure"),
        Doubt("silence", 5.0, 9.5, "silence"),
        Doubt("unsure", 20.0, 25.0, "not sure"),
    ]
    first, second = select(recording(HELLO, THREAT), doubts, NONE)
    assert (first.kind, first.policy, first.score) == ("doubtful", None, None)
    assert (first.start, first.end, first.reason) == (0.0, 9.5, "not sure; a loop; silence")
    assert (second.start, second.end) == (20.0, 25.0)


def test_endless_doubts_become_items_of_a_minute() -> None:
    doubts = [Doubt("unsure", n * 5.0, n * 5.0 + 4, f"reason {n}") for n in range(24)]
    items = select(recording(duration=200.0), doubts, NONE)
    assert [(item.start, item.end) for item in items] == [(0.0, 59.0), (60.0, 119.0)]
    assert items[0].reason == "reason 0; reason 1; reason 2; and 9 more like these"


def test_a_sample_is_one_window_of_an_unflagged_recording() -> None:
    (item,) = select(recording(HELLO, THREAT, findings=CLEAN), [], ALL)
    assert item.kind == "sample"
    assert (item.start, item.end) in {(0.0, 2.0), (5.0, 9.5)}
    assert item.text in {"Hello there.", "They are all vermin."}


def test_flagged_and_unjudged_recordings_are_never_sampled() -> None:
    flagged = (finding("hate", (5.0, 9.5, 0.93)), finding("harassment", (5.0, 9.5, 0.1)))
    (item,) = select(recording(THREAT, findings=flagged), [], ALL)
    assert item.kind == "flagged"
    assert select(recording(THREAT), [], ALL) == []


def test_a_sample_depends_on_ids_and_has_about_the_chosen_size() -> None:
    of_each = [recording(HELLO, findings=CLEAN, audio=AudioId(BATCH, n)) for n in range(2000)]
    drawn = [bool(select(each, [], Selection(0.1, 3.0))) for each in of_each]
    # Five standard deviations.
    assert abs(sum(drawn) - 200) < 67
    assert drawn == [bool(select(each, [], Selection(0.1, 3.0))) for each in of_each]
    more = [bool(select(each, [], Selection(0.2, 3.0))) for each in of_each]
    assert all(now for now, before in zip(more, drawn, strict=True) if before)


def test_a_part_of_a_segment_has_the_words_whose_middle_is_in_it() -> None:
    timed = segment(0.0, 4.0, "one two three four", (0, 1), (1, 2), (2, 3), (3, 4))
    untimed = segment(4.0, 8.0, "five six seven eight")
    transcript = recording(timed, untimed).transcript
    assert text_between(transcript, 1.0, 3.0) == "two three"
    assert text_between(transcript, 3.0, 6.0) == "four five six"
    assert text_between(transcript, 0.0, 8.0) == "one two three four five six seven eight"


def test_a_script_without_spaces_is_shown_by_whole_segments() -> None:
    transcript = recording(segment(0.0, 9.0, "港は静かだった")).transcript
    assert text_between(transcript, 0.0, 3.0) == "港は静かだった"


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
)
def test_passages_that_follow_each_other_share_no_word_and_lose_none(
    lengths: list[int], cuts: list[int]
) -> None:
    """Whatever the segments are, and wherever they are cut."""
    segments, begin, number = [], 0.0, 0
    for length in lengths:
        words = [f"w{number + each}" for each in range(length)]
        segments.append(Segment(begin, begin + length, " ".join(words), None, ()))
        begin, number = begin + length, number + length
    whole = recording(*segments, duration=begin).transcript
    # Longer than any word, so that none is so short as to be shown by its segment.
    ends = [0.0, *sorted({min(begin, 3.0 * cut) for cut in cuts} - {begin}), begin]
    parts = [text_between(whole, a, b) for a, b in pairwise(ends)]
    assert " ".join(parts).split() == whole.text.split()


def test_a_doubt_in_one_channel_is_heard_and_shown_in_that_channel() -> None:
    both = [replace(segment(1.0, 3.0, "Yes."), channel=number) for number in (1, 2)]
    doubts = [Doubt("unsure", 1.0, 3.0, "not sure", number) for number in (1, 2)]
    items = select(recording(*both), doubts, NONE)
    # The same words at the same time: two items all the same.
    assert len({item.item_id for item in items}) == len({item.clip_key for item in items}) == 2
    for number, item in enumerate(items, 1):
        assert parse_key(item.clip_key) == ClipKey(item.audio, 0, 6_000, number)
        assert item.reason == f"channel {number}: not sure"
        assert item.text == "Yes."


def test_doubts_about_a_channel_are_joined_across_what_another_says_meanwhile() -> None:
    doubts = [
        Doubt("unsure", 0.0, 2.0, "a", 1),
        Doubt("unsure", 1.0, 5.0, "b", 2),
        Doubt("loop", 4.0, 6.0, "c", 1),
    ]
    items = select(recording(HELLO), doubts, NONE)
    assert [(item.start, item.end, item.reason) for item in items] == [
        (0.0, 6.0, "channel 1: a; c"),
        (1.0, 5.0, "channel 2: b"),
    ]


def test_a_flagged_window_of_several_channels_is_heard_in_all() -> None:
    both = [replace(HELLO, channel=1), replace(segment(1.0, 3.0, "Hi."), channel=2)]
    flagged = (finding("hate", (0.0, 3.0, 0.9)),)
    (item,) = select(recording(*both, findings=flagged), [], NONE)
    assert parse_key(item.clip_key) == ClipKey(item.audio, 0, 6_000)
    assert item.text == "Hello there. Hi."

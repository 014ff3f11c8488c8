"""The contract of the pipeline with a policy: a flagged recording reaches a reviewer.

Through real notifications, queues and rows, whichever servers they are of. There
are no models: the recogniser says how many seconds each minute of a recording has, and the
rest, and the judge flags text with the policy's last word.
"""

from __future__ import annotations

import io
import json
import math
from datetime import timedelta
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.resampler import AudioResampler

from consumers.database.review_queue import ItemFilter
from consumers.documents.review.item import ReviewItem
from consumers.documents.review.item_list import read_items
from consumers.documents.review.reviewed_item import ReviewedItem
from consumers.documents.verdict import PolicyVerdict
from consumers.store import Store
from events.keys import (
    COMPLETE,
    MANIFEST,
    POLICIES,
    REVIEW,
    TRANSCRIPT,
    VERDICT,
    BatchId,
    ClipKey,
    parse_key,
)
from ops.wiring.adapters import open_reviewing
from tests.contracts.pipeline import Place, by_path
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.harness.samples.sounds import Recipe, Signal, made
from tests.samples import RECORDINGS, SILENT, archive
from tests.schemas import check_document

POLICY = "# Policy\n\nNobody may speak of 35"

#: Hz, of a recording's first minute and of the rest.
LOW, HIGH = 300, 900
RATE = 16_000


def tones(seconds: float) -> Signal:
    """Make a tone that rises after a minute."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = np.where(time < 60, LOW, HIGH)
    return np.asarray(0.3 * np.sin(2 * math.pi * pitch * time), np.float32)


def recording(seconds: float) -> bytes:
    return made(Recipe("flac", "flac", rate=RATE, layout="mono"), tones(seconds))


#: "60 seconds of sound 35 seconds of sound", "35 seconds of sound" and others.
SPOKEN = {
    **RECORDINGS,
    "interviews/long.flac": recording(95.0),
    "silent.wav": SILENT,
    "bad.mp3": bytes(99),
    "interviews/allowed.flac": recording(64.0),
    "voicemail/short.flac": recording(35.0),
}


def played(clip: bytes) -> Signal:
    """Play a clip as any player does, at 16 kHz."""
    resampler = AudioResampler("fltp", "mono", RATE)
    with av.open(io.BytesIO(clip), "r", format="ogg") as container:
        (stream,) = container.streams
        assert stream.codec_context.name in {"opus", "libopus"}
        frames = [
            resampled
            for frame in (*container.decode(container.streams.audio[0]), None)
            for resampled in resampler.resample(frame)
        ]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def pitches(sound: Signal) -> list[int]:
    """Name the tone of each tenth of a second."""
    tenth = RATE // 10
    time = np.arange(tenth) / RATE
    found = []
    for start in range(0, len(sound) - tenth + 1, tenth):
        part = sound[start : start + tenth]
        power = {hz: abs(np.sum(part * np.exp(-2j * math.pi * hz * time))) for hz in (LOW, HIGH)}
        found.append(max(power, key=lambda hz: power[hz]))
    return found


def reviewable(place: Place, batch: BatchId) -> list[ReviewedItem]:
    """Wait until a batch is ready for review, and give its flagged items as reviewers get them."""

    def is_ready() -> bool:
        row = place.database.batch(batch)
        return row is not None and row.itemised_at is not None

    eventually(is_ready, seconds=30)
    with open_reviewing(place.environment) as reviewing:
        return reviewing.items(ItemFilter(batch, kind="flagged"), None, 100)


class ModeratedContract:
    """Inherit it, and give a fixture ``place`` whose one policy, ``length``, is `POLICY`."""

    def test_two_recordings_with_forbidden_words_end_in_review(
        self, place: Place, tmp_path: Path
    ) -> None:
        progress = place.wait(place.drop(archive(tmp_path, tar_of(SPOKEN))))
        assert progress.state == "complete"
        assert progress.counts == {"moderated": 6, "silent": 1, "rejected": 1}
        flags = {
            path: recording.flagged
            for path, recording in by_path(place.database, progress.batch).items()
        }
        assert [path for path, flagged in flags.items() if flagged] == [
            "interviews/long.flac",
            "voicemail/short.flac",
        ]
        assert [path for path, flagged in flags.items() if flagged is None] == [
            "silent.wav",
            "bad.mp3",
        ]
        complete = json.loads(place.store.read(progress.batch.complete_key))
        assert (complete["moderated"], complete["flagged"]) == (True, 2)

        long, short = sorted(
            (each.item for each in reviewable(place, progress.batch)), key=lambda item: item.path
        )
        assert (long.path, short.path) == ("interviews/long.flac", "voicemail/short.flac")
        assert long.text == short.text == "35 seconds of sound"
        assert (long.policy, long.score) == (short.policy, short.score) == ("length", 0.9)
        assert (long.start, long.end) == pytest.approx((60.0, 95.0), abs=0.05)
        assert (short.start, short.end) == pytest.approx((0.0, 35.0), abs=0.05)

        # From three seconds before the passage on, as far as there is something.
        assert (long.clip_start, short.clip_start) == (57.0, 0.0)
        sound = played(place.store.read(long.clip_key))
        assert len(sound) / RATE == pytest.approx(95.0 - 57.0, abs=0.05)
        before, passage = pitches(sound)[:30], pitches(sound)[30:]
        assert (set(before), set(passage)) == ({LOW}, {HIGH})
        sound = played(place.store.read(short.clip_key))
        assert len(sound) / RATE == pytest.approx(35.0, abs=0.05)
        assert set(pitches(sound)) == {LOW}

    def test_the_keys_tell_the_whole_story(self, place: Place, tmp_path: Path) -> None:
        batch = place.drop(archive(tmp_path, tar_of(SPOKEN)))
        assert place.wait(batch).state == "complete"
        flagged = {each.item.item_id: each.item for each in reviewable(place, batch)}
        listed = {item.item_id: item for item in _listed(place.store, batch)}
        assert flagged.items() <= listed.items()
        keys = list(place.store.keys(batch.prefix))
        clips = [key for key in keys if isinstance(parse_key(key), ClipKey)]
        assert clips == sorted(item.clip_key for item in listed.values())
        # Each transcript that is not of silence has its verdict, and the policy is kept.
        verdicts = [key for key in keys if key.endswith(VERDICT)]
        assert len(verdicts) == 6
        for key in verdicts:
            (finding,) = PolicyVerdict.from_json(place.store.read(key)).findings
            kept = f"{POLICIES}{finding.policy}/{finding.version}.md"
            assert place.store.read(kept).decode() == POLICY
        documents = {check_document(key, place.store.read(key)) for key in keys}
        assert documents == {None, MANIFEST, TRANSCRIPT, VERDICT, COMPLETE, REVIEW}

    def test_a_reviewer_gets_one_and_then_the_other(self, place: Place, tmp_path: Path) -> None:
        batch = place.drop(archive(tmp_path, tar_of(SPOKEN)))
        place.wait(batch)
        expected = {each.item.path for each in reviewable(place, batch)}
        with open_reviewing(place.environment) as reviewing:
            chosen = ItemFilter(batch, kind="flagged")
            claimed = [
                reviewing.claim(reviewer, timedelta(minutes=5), chosen)
                for reviewer in ("Ada", "Ben", "Cleo")
            ]
        assert {each.item.path for each in claimed if each is not None} == expected
        assert claimed[-1] is None


def _listed(store: Store, batch: BatchId) -> list[ReviewItem]:
    return list(read_items(io.BytesIO(store.read(batch.review_key))))

"""A batch that is ready for review, and consumers of it that die."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psycopg
import structlog

from consumers.broker.connect import open_sender
from consumers.broker.sender import Sender
from consumers.broker.topology import Topology
from consumers.database.batches import BatchRepository
from consumers.database.pool import open_pool
from consumers.database.review_items import ReviewItemRepository
from consumers.database.rows import Recording
from consumers.documents.transcript import Segment, Transcript, Word
from consumers.documents.transcript.doubt import DoubtLimits
from consumers.documents.verdict import JudgedWindow, PolicyFinding, PolicyVerdict
from consumers.stages.completion import Completion
from consumers.stages.review import Review
from consumers.stages.selection import Selection
from consumers.stages.stage_handler import StageContext
from consumers.store import Store
from consumers.store.scratch import Scratch
from events.event import ObjectCreated
from events.keys import AudioId, BatchId
from events.notification import decode, encode
from events.routes import review_queue_name
from ops.wiring.environment import Environment
from ops.wiring.settings import read_broker_address
from tests.harness.samples.sounds import Recipe, made, voice
from tests.harness.servers.store import boto_client
from tests.integration.queues import take

BATCH = BatchId("20250622-143052-a1b2c3")
SECONDS = 14.0
OPUS = made(Recipe("ogg", "libopus", 16_000, "mono"), voice(SECONDS))

GOOD = ("we meet at the harbour", -0.2)
BAD = ("they are all vermin", -0.2)
MUMBLED = ("er the the something", -1.6)

StepHook = Callable[[str], None]


class Crash(BaseException):
    """The process dies here."""


class ReviewBatch:
    """A batch on the embedded servers, with transcripts that a test chooses.

    Args:
        environment: Bootstrapped.
        store: The bucket.
        database: The tables.
        scratch_root: For the handler.
    """

    def __init__(
        self, environment: Environment, store: Store, database: BatchRepository, scratch_root: Path
    ) -> None:
        self.store = store
        self.database = database
        self.id = BATCH
        self.log: Any = structlog.wrap_logger(structlog.PrintLogger(sys.__stderr__))
        self._scratch = Scratch(scratch_root)
        self._address = read_broker_address(environment)
        #: The handler's access to the tables.
        self.url = environment.get("DATABASE_URL") or ""
        with psycopg.connect(self.url) as connection:
            connection.execute("INSERT INTO stages VALUES ('moderate') ON CONFLICT DO NOTHING")

    def add(self, ordinal: int, *said: tuple[str, float]) -> AudioId:
        """Add a recording; each part is said in two seconds, and so is each pause."""
        audio = AudioId(self.id, ordinal)
        self.store.write(audio.opus_key, OPUS, content_type="audio/ogg")
        transcript = _transcript(audio, said)
        self.database.put_transcript(
            Recording(
                audio=audio,
                state="transcribed",
                path=f"calls/{ordinal}.mp3",
                duration=SECONDS,
                opus_key=audio.opus_key,
                transcript_key=audio.transcript_key,
            ),
            transcript,
        )
        windows = tuple(
            JudgedWindow(each.start, each.end, *_judged(each.text)) for each in transcript.segments
        )
        flagged = any(window.flagged for window in windows)
        score = max((window.score for window in windows), default=0.0)
        finding = PolicyFinding("hate", "0123456789abcdef", 0.5, flagged, score, windows)
        moderation = PolicyVerdict(str(audio), "judged", None, "en", "word", None, (finding,))
        self.database.put_moderation(audio, moderation)
        return audio

    def complete(self) -> ObjectCreated:
        """Complete the batch, and return the store's event."""
        self.database.seal(self.id, rejected=0, ignored=0, failure=None)
        Completion(self.store, self.database, self.log).complete_if_done(self.id)
        return self.event

    @property
    def event(self) -> ObjectCreated:
        """The store's event of the batch's completion."""
        (event,) = decode(encode(self.store.bucket, self.id.complete_key))
        return event

    def review(
        self, *events: ObjectCreated, step: StepHook = lambda _: None, sample: float = 0.0
    ) -> Sequence[Exception | None]:
        """Let the handler handle events, with a hook after each step."""
        with self._handler(step, sample) as handler:
            return handler.handle(events)

    def give_up(self, error: str) -> None:
        """Let the handler give up the batch."""
        with self._handler(lambda _: None, 0.0) as handler:
            handler.give_up(self.event, error)

    @contextmanager
    def _handler(self, step: StepHook, sample: float) -> Iterator[Review]:
        with (
            open_pool(self.url, size=2, name="review") as pool,
            open_sender(self._address, Topology(self._address.prefix, delays=())) as sender,
        ):
            store = cast("Store", _Steps(self.store, step, "write"))
            yield Review(
                StageContext(store, self.database, self.log),
                itemising=cast(
                    "ReviewItemRepository",
                    _Steps(ReviewItemRepository(pool), step, "put_items", "supersede", "itemised"),
                ),
                sender=cast("Sender", _Steps(sender, step, "announce")),
                queue=review_queue_name(self._address.prefix),
                scratch=self._scratch,
                selection=Selection(sample, 3.0),
                limits=DoubtLimits(),
            )

    def announced(self) -> list[str]:
        """Take the announcements for other systems."""
        sqs = boto_client("sqs", self._address)
        try:
            name = review_queue_name(self._address.prefix)
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            found: list[str] = []
            while messages := take(sqs, url):
                found += messages
            return found
        finally:
            sqs.close()


class _Steps:
    """Stands around an adapter, and says each call that changes something."""

    def __init__(self, adapter: Any, step: StepHook, *names: str) -> None:
        self._adapter = adapter
        self._step = step
        self._names = names

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._adapter, name)
        if name not in self._names:
            return method

        def call(*arguments: Any, **others: Any) -> Any:
            answer = method(*arguments, **others)
            self._step(name)
            return answer

        return call


def crash_after(number: int) -> StepHook:
    """Crash after a number of steps."""
    left = [number]

    def step(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Crash

    return step


def damaged(opus: bytes) -> bytes:
    """Overwrite the middle of an object."""
    file = io.BytesIO(opus)
    file.seek(len(opus) // 4)
    file.write(bytes(len(opus) // 2))
    return file.getvalue()


def _judged(text: str) -> tuple[float, bool]:
    return (0.93, True) if "vermin" in text else (0.04, False)


def _transcript(audio: AudioId, said: Sequence[tuple[str, float]]) -> Transcript:
    segments = []
    for number, (text, logprob) in enumerate(said):
        start = number * 4.0 + 1
        words = text.split()
        each = 2.0 / len(words)
        timed = tuple(
            Word(word, start + at * each, start + (at + 1) * each, 0.9)
            for at, word in enumerate(words)
        )
        segments.append(Segment(start, start + 2, text, logprob, timed, -20.0))
    return Transcript(
        audio_id=str(audio),
        state="transcribed",
        reason=None,
        duration=SECONDS,
        language="en",
        language_probability=0.99,
        model="tiny.en",
        alignment="w2v",
        segments=tuple(segments),
    )

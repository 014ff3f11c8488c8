"""The route ``moderate``: recordings' transcripts in, what the policies say of them out.

Deliveries come in groups, as a model is fast only on many windows at a time.
Each has its own outcome all the same, and no verdict is ever made up: where the
model is away, the recording waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from consumers.database.batches import BatchRepository, Locks
from consumers.database.rows import Recording
from consumers.documents.audio_properties import AudioProperties
from consumers.documents.transcript import Transcript
from consumers.documents.verdict import DIGITS, JudgedWindow, PolicyFinding, PolicyVerdict
from consumers.errors import BusyError, ConfigurationError, PermanentError, TransientError
from consumers.policy.cope import clean
from consumers.policy.judge import Judge
from consumers.policy.policy import Policy
from consumers.policy.windows import LEAST_ROOM, Passage, windows
from consumers.runtime.observer import SILENT, Observer, stage
from consumers.stages.completion import COMPLETION_TABLES, Completion
from consumers.stages.created_object import check_bucket, check_deleted
from consumers.stages.spec import StageSpec
from consumers.stages.stored_archive import ARCHIVES_GRANT
from consumers.store import ObjectGoneError, Store
from consumers.store.grants import BucketGrant
from events.event import ObjectCreated
from events.keys import (
    COMPLETE,
    POLICIES,
    TRANSCRIPT,
    VERDICT,
    AudioId,
    MalformedKeyError,
    RecordingKey,
    parse_key,
)

SPEC = StageSpec(
    writes=(VERDICT, COMPLETE),
    grants=(
        ARCHIVES_GRANT,
        # The text of each policy that was used is kept.
        BucketGrant("Policies", ("s3:GetObject", "s3:PutObject"), (f"{POLICIES}*",)),
    ),
    tables={
        **COMPLETION_TABLES,
        # Where transcribe has died between its object and its row, this writes the row.
        "transcripts": {"SELECT": ("batch_id", "ordinal"), "INSERT": ()},
        "verdicts": {"SELECT": ("batch_id", "ordinal", "policy"), "INSERT": ()},
    },
    states=("moderated",),
)

#: Windows that are judged, and stored, together: no more than that is ever lost.
_TOGETHER = 256

Outcome = Exception | None


@dataclass(frozen=True, slots=True)
class Standard:
    """By what recordings are judged.

    Attributes:
        policies: Reads those of now; each judges by itself.
        languages: That the model knows; what is said in others is not judged.
        window: Seconds of a window.
    """

    policies: Callable[[], Sequence[Policy]]
    languages: Collection[str]
    window: float


@dataclass(frozen=True, slots=True)
class Task:
    """A recording that is to be judged, or whose verdict is to be put on record.

    Attributes:
        audio: Its id.
        transcript: What was said.
        passages: What is to be judged.
        moderation: What is known without judging.
        is_stored: Whether that is in the bucket already.
    """

    audio: AudioId
    transcript: Transcript
    passages: Sequence[Passage] = ()
    moderation: PolicyVerdict | None = None
    is_stored: bool = False


class Moderate:
    """Does the route's work."""

    def __init__(
        self,
        *,
        store: Store,
        database: BatchRepository,
        completion: Completion,
        judge: Judge,
        standard: Standard,
        group: int,
        log: Any,
        observer: Observer = SILENT,
    ) -> None:
        self.group = group
        self._store = store
        self._database = database
        self._completion = completion
        self._judge = judge
        self._standard = standard
        self._policies: Sequence[Policy] = ()
        self._room = 0
        self._kept: set[Policy] = set()
        self._log = log.bind(route="moderate")
        self._observer = observer

    def check(self) -> None:
        """Take the policies as they are now, and make sure that there is room beside each.

        Raises:
            ConfigurationError: They can't be read, or one leaves no room for what is said.
            TransientError: The model is away.
        """
        policies = self._standard.policies()
        if policies != self._policies:
            self._room = self._measured(policies)
            self._policies = policies
            versions = {policy.name: policy.version for policy in policies}
            self._log.info("policies", versions=versions)

    def _measured(self, policies: Sequence[Policy]) -> int:
        """Give the most tokens of content that every policy leaves in the model's context."""
        context = self._judge.context
        rooms = []
        for policy in policies:
            tokens = self._judge.prompt_tokens(policy.text)
            if context - tokens < LEAST_ROOM:
                raise ConfigurationError(
                    f"policy {policy.name!r} takes {tokens} of the {context} tokens that the model "
                    f"{self._judge.model} reads, and leaves too few for what is said: shorten it "
                    "(dropscribe policy check)"
                )
            rooms.append(context - tokens)
        return min(rooms)

    def handle(self, events: Sequence[ObjectCreated]) -> Sequence[Outcome]:
        """Judge each event's recording. See `consumers.runtime.handler.Handler`."""
        try:
            self.check()
        except (PermanentError, TransientError) as exc:
            return [exc] * len(events)
        with self._database.locks() as locks:
            tasks = [self._task(event, locks) for event in events]
            outcomes = self._done({task.audio: task for task in tasks if isinstance(task, Task)})
        return [outcomes[task.audio] if isinstance(task, Task) else task for task in tasks]

    def give_up(self, event: ObjectCreated, error: str) -> None:
        """Put on the recording's row why it does not go on."""
        try:
            audio = _audio_id(event)
        except PermanentError:
            return
        self._database.stall_recording(audio, error)

    def _task(self, event: ObjectCreated, locks: Locks) -> Task | Outcome:
        """Find out what an event asks for: a task, nothing, or how that failed."""
        try:
            check_bucket(event, self._store.bucket)
            audio = _audio_id(event)
            row = self._database.batch(audio.batch)
            if row is not None and not row.is_moderated:
                return None
            if not locks.acquire(f"moderate {audio}"):
                return BusyError(f"another worker is judging {audio}")
            return self._known(audio, event)
        except (PermanentError, TransientError) as exc:
            return exc

    def _known(self, audio: AudioId, event: ObjectCreated) -> Task | None:
        try:
            with stage(self._observer, "read"):
                transcript = Transcript.from_json(
                    self._store.read(audio.transcript_key), audio.transcript_key
                )
        except ObjectGoneError:
            check_deleted(event, self._store.now())
            self._log.info(
                "transcript is gone, nothing to do", key=event.key, batch=str(audio.batch)
            )
            return None
        if transcript.state != "transcribed":
            # Its consumer has finished the recording: there is nothing to be judged.
            return None
        task = Task(audio, transcript)
        if self._store.head(audio.verdict_key) is not None:
            moderation = PolicyVerdict.from_json(
                self._store.read(audio.verdict_key), audio.verdict_key
            )
            return replace(task, moderation=moderation, is_stored=True)
        reason = self._unjudged(transcript)
        if reason is not None:
            return replace(task, moderation=_unjudged(task, reason))
        return replace(task, passages=self._passages(transcript))

    def _unjudged(self, transcript: Transcript) -> str | None:
        """Say why the model is not to be asked; None where it is."""
        if not clean(transcript.text):
            return "not judged: nothing was said"
        language, languages = transcript.language, self._standard.languages
        if language is not None and language not in languages:
            known = ", ".join(sorted(languages))
            return f"not judged: the language is {language!r}, and the model is asked for {known}"
        return None

    def _passages(self, transcript: Transcript) -> Sequence[Passage]:
        room = self._room
        return tuple(
            windows(
                transcript.segments,
                seconds=self._standard.window,
                fits=lambda text: self._judge.content_tokens(text) <= room,
            )
        )

    def _done(self, tasks: Mapping[AudioId, Task]) -> dict[AudioId, Outcome]:
        """Do the tasks, those that have to be judged some at a time."""
        outcomes: dict[AudioId, Outcome] = {}
        to_judge = []
        for task in tasks.values():
            if task.moderation is None:
                to_judge.append(task)
            else:
                outcomes[task.audio] = self._finished(task, task.moderation)
        for together in _in_portions(to_judge):
            outcomes |= self._judged(together)
        return outcomes

    def _judged(self, tasks: Sequence[Task]) -> dict[AudioId, Outcome]:
        """Judge recordings together; should the model refuse, each by itself."""
        try:
            with stage(self._observer, "judge"):
                found = self._findings(tasks)
        except PermanentError as exc:
            if len(tasks) == 1:
                return {tasks[0].audio: exc}
            return {audio: end for task in tasks for audio, end in self._judged([task]).items()}
        except TransientError as exc:
            return dict.fromkeys((task.audio for task in tasks), exc)
        return {
            task.audio: self._finished(task, self._moderation(task, findings))
            for task, findings in zip(tasks, found, strict=True)
        }

    def _findings(self, tasks: Sequence[Task]) -> list[list[PolicyFinding]]:
        """Give each task's findings, one per policy."""
        contents = [passage.text for task in tasks for passage in task.passages]
        found: list[list[PolicyFinding]] = [[] for _ in tasks]
        for policy in self._policies:
            scores = iter(self._judge.scores(policy.text, contents))
            for task, findings in zip(tasks, found, strict=True):
                windows_ = [_window(policy, each, next(scores)) for each in task.passages]
                findings.append(_finding(policy, windows_))
        return found

    def _moderation(self, task: Task, findings: Sequence[PolicyFinding]) -> PolicyVerdict:
        return PolicyVerdict(
            audio_id=str(task.audio),
            state="judged",
            reason=None,
            language=task.transcript.language,
            model=self._judge.model,
            adapter=self._judge.adapter,
            findings=tuple(findings),
        )

    def _finished(self, task: Task, moderation: PolicyVerdict) -> Outcome:
        """Store the verdict, then its rows, then look whether it was the last."""
        try:
            if not task.is_stored:
                self._put(task, moderation)
            with stage(self._observer, "record"):
                self._put_transcript(task)
                self._database.put_moderation(task.audio, moderation)
                self._completion.look(task.audio.batch)
        except (PermanentError, TransientError) as exc:
            return exc
        return None

    def _put(self, task: Task, moderation: PolicyVerdict) -> None:
        with stage(self._observer, "store"):
            self._keep_policies(moderation)
            self._store.write(
                task.audio.verdict_key,
                moderation.to_json(),
                content_type="application/json",
            )
        self._observer.recording_ended(task.audio, "moderated", task.transcript.duration)

    def _put_transcript(self, task: Task) -> None:
        """Put on record what transcribe, which stores before it does, may still be about to."""
        if self._database.is_transcribed(task.audio):
            return
        stored = self._store.head(task.audio.opus_key)
        if stored is None:
            raise PermanentError(
                f"{task.audio.opus_key} is gone: 'dropscribe reprocess {task.audio.batch} --from "
                "unpack' makes it again"
            )
        path = stored.metadata.get("path", str(task.audio))
        facts = AudioProperties.from_metadata(stored.metadata)
        recording = replace(
            Recording.converted(task.audio, path, facts, task.transcript.reason),
            state="transcribed",
            transcript_key=task.audio.transcript_key,
        )
        self._database.put_transcript(recording, task.transcript)

    def _keep_policies(self, moderation: PolicyVerdict) -> None:
        """Store the texts that a verdict's versions stand for."""
        if moderation.state == "unjudged":
            return
        for policy in set(self._policies) - self._kept:
            key = f"{POLICIES}{policy.name}/{policy.version}.md"
            if self._store.head(key) is None:
                self._store.write(key, policy.text.encode(), content_type="text/markdown")
            self._kept.add(policy)


def _in_portions(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Split tasks by the number of their windows; one with more goes alone."""
    portion: list[Task] = []
    number = 0
    for task in tasks:
        if portion and number + len(task.passages) > _TOGETHER:
            yield portion
            portion, number = [], 0
        portion.append(task)
        number += len(task.passages)
    if portion:
        yield portion


def _window(policy: Policy, passage: Passage, score: float) -> JudgedWindow:
    kept = round(score, DIGITS)
    return JudgedWindow(passage.start, passage.end, kept, flagged=kept >= policy.threshold)


def _finding(policy: Policy, windows_: Sequence[JudgedWindow]) -> PolicyFinding:
    return PolicyFinding(
        policy=policy.name,
        version=policy.version,
        threshold=policy.threshold,
        flagged=any(window.flagged for window in windows_),
        score=max(window.score for window in windows_),
        windows=tuple(windows_),
    )


def _unjudged(task: Task, reason: str) -> PolicyVerdict:
    return PolicyVerdict(
        audio_id=str(task.audio),
        state="unjudged",
        reason=reason,
        language=task.transcript.language,
        model=None,
        adapter=None,
        findings=(),
    )


def _audio_id(event: ObjectCreated) -> AudioId:
    try:
        key = parse_key(event.key)
    except MalformedKeyError as exc:
        raise PermanentError(str(exc)) from exc
    if not isinstance(key, RecordingKey) or key.suffix != TRANSCRIPT:
        raise PermanentError(f"{event.key} is no transcript's key")
    return key.audio

"""The stage ``moderate``: takes transcripts, stores the verdicts of the policies.

No verdict is ever made up: while the model is unreachable, the recording waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from consumers.database.batches import Locks
from consumers.database.rows import Recording
from consumers.documents.audio_properties import AudioProperties, notes_of_metadata
from consumers.documents.transcript import Segment, Transcript
from consumers.documents.verdict import DIGITS, JudgedWindow, PolicyFinding, PolicyVerdict
from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.policy.cope import clean
from consumers.policy.judge import Judge
from consumers.policy.policy import Policy
from consumers.policy.windows import LEAST_ROOM, Passage, windows
from consumers.runtime.observer import step
from consumers.stages.completion import COMPLETION_TABLES
from consumers.stages.grouped import GroupedStage, RecordingTask
from consumers.stages.spec import StageSpec
from consumers.stages.stage_handler import Outcome, StageContext
from consumers.stages.stored_archive import ARCHIVES_GRANT
from consumers.store import ObjectGoneError
from consumers.store.grants import BucketGrant
from events.event import ObjectCreated
from events.keys import COMPLETE, POLICIES, TRANSCRIPT, VERDICT, AudioId

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


@dataclass(frozen=True, slots=True)
class ModerationCriteria:
    """The criteria by which recordings are judged.

    Attributes:
        policies: Reads the current policies; each is applied by itself.
        languages: Codes of the languages that the model knows; others are not judged.
        window: Length of a window, in seconds.
    """

    policies: Callable[[], Sequence[Policy]]
    languages: Collection[str]
    window: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationTask(RecordingTask[PolicyVerdict]):
    """A recording whose verdict is to be made or recorded.

    Attributes:
        transcript: Its transcript.
        passages: The passages to judge.
    """

    transcript: Transcript
    passages: Sequence[Passage] = ()

    def verdict(
        self,
        *,
        reason: str | None = None,
        judge: Judge | None = None,
        findings: Iterable[PolicyFinding] = (),
    ) -> PolicyVerdict:
        """Make the verdict; without a judge, no model was asked, for the given reason."""
        return PolicyVerdict(
            audio_id=str(self.audio),
            state="judged" if judge else "unjudged",
            reason=reason,
            language=self.transcript.language,
            model=judge.model if judge else None,
            adapter=judge.adapter if judge else None,
            findings=tuple(findings),
        )


class Moderate(GroupedStage[ModerationTask, PolicyVerdict]):
    """Stores the policies' verdict on each transcript."""

    _name = "moderate"
    _activity = "judging"
    _absence = "transcript is gone"
    _suffix = TRANSCRIPT

    # Windows.
    _most = 256

    def __init__(
        self, context: StageContext, *, judge: Judge, criteria: ModerationCriteria, group: int
    ) -> None:
        super().__init__(context, group)
        self._judge = judge
        self._criteria = criteria
        self._policies: Sequence[Policy] = ()
        self._room = 0
        self._kept: set[Policy] = set()

    def check(self) -> None:
        """Read the current policies, and make sure that each leaves room for a transcript.

        Raises:
            ConfigurationError: A policy is unreadable, or too long.
            TransientError: The model is unreachable.
        """
        policies = self._criteria.policies()
        if policies != self._policies:
            self._room = self._measured(policies)
            self._policies = policies
            versions = {policy.name: policy.version for policy in policies}
            self._log.info("policies", versions=versions)

    def _measured(self, policies: Sequence[Policy]) -> int:
        """Return the tokens of content that fit into the context beside the longest policy."""
        context = self._judge.context
        rooms = []
        for policy in policies:
            tokens = self._judge.prompt_tokens(policy.text)
            if context - tokens < LEAST_ROOM:
                raise ConfigurationError(
                    f"policy {policy.name!r} takes {tokens} of the {context} tokens that the model "
                    f"{self._judge.model} reads, and leaves too few for the transcript: shorten it "
                    "(dropscribe policy check)"
                )
            rooms.append(context - tokens)
        return min(rooms)

    def _begin(self, event: ObjectCreated, audio: AudioId, locks: Locks) -> ModerationTask | None:
        row = self._database.batch(audio.batch)
        if row is not None and not row.is_moderated:
            return None
        self._lock(locks, audio)
        key = audio.transcript_key
        try:
            with step(self._observer, "read"):
                transcript = Transcript.from_json(self._store.read(key), key)
        except ObjectGoneError:
            self._skip_deleted(event)
            return None
        # In any other state, `transcribe` has finished the recording.
        return self._known(audio, transcript) if transcript.state == "transcribed" else None

    def _known(self, audio: AudioId, transcript: Transcript) -> ModerationTask:
        task = ModerationTask(audio=audio, transcript=transcript)
        key = audio.verdict_key
        if self._store.head(key) is not None:
            verdict = PolicyVerdict.from_json(self._store.read(key), key)
            return replace(task, document=verdict, is_stored=True)
        reason = self._unjudged(transcript)
        if reason is not None:
            return replace(task, document=task.verdict(reason=reason))
        return replace(task, passages=self._passages(transcript))

    def _unjudged(self, transcript: Transcript) -> str | None:
        """Return the reason not to ask the model; None if it is to be asked."""
        if not clean(transcript.text):
            return "not judged: nothing was said"
        if any(clean(segment.text) for segment in self._known_segments(transcript)):
            return None
        language, known = transcript.language, ", ".join(sorted(self._criteria.languages))
        return f"not judged: the language is {language!r}, and the model is asked for {known}"

    def _known_segments(self, transcript: Transcript) -> Sequence[Segment]:
        """Return the segments in languages that the model knows, or in an unknown one."""
        return [
            segment
            for segment in transcript.segments
            if (segment.language or transcript.language) in (None, *self._criteria.languages)
        ]

    def _about(self, transcript: Transcript) -> str | None:
        """Say what of a judged recording was not judged."""
        others = {
            segment.language
            for segment in transcript.segments
            if segment.language and segment.language not in self._criteria.languages
        }
        if not others:
            return None
        return f"not judged: what is said in {', '.join(sorted(others))}"

    def _passages(self, transcript: Transcript) -> Sequence[Passage]:
        room = self._room
        return tuple(
            windows(
                self._known_segments(transcript),
                seconds=self._criteria.window,
                fits=lambda text: self._judge.content_tokens(text) <= room,
            )
        )

    def _weight(self, task: ModerationTask) -> float:
        return len(task.passages)

    def _work(self, tasks: Sequence[ModerationTask]) -> dict[AudioId, Outcome]:
        """Judge recordings together, or each by itself if the model refuses them."""
        try:
            with step(self._observer, "judge"):
                found = self._findings(tasks)
        except PermanentError as exc:
            if len(tasks) == 1:
                return {tasks[0].audio: exc}
            return {audio: end for task in tasks for audio, end in self._work([task]).items()}
        except TransientError as exc:
            return dict.fromkeys((task.audio for task in tasks), exc)
        return {
            task.audio: self._finish(
                task,
                task.verdict(
                    reason=self._about(task.transcript), judge=self._judge, findings=findings
                ),
            )
            for task, findings in zip(tasks, found, strict=True)
        }

    def _findings(self, tasks: Sequence[ModerationTask]) -> list[list[PolicyFinding]]:
        """Return each task's findings, one per policy."""
        contents = [passage.text for task in tasks for passage in task.passages]
        found: list[list[PolicyFinding]] = [[] for _ in tasks]
        for policy in self._policies:
            scores = iter(self._judge.scores(policy.text, contents))
            for task, findings in zip(tasks, found, strict=True):
                windows_ = [_window(policy, each, next(scores)) for each in task.passages]
                findings.append(_finding(policy, windows_))
        return found

    def _put(self, task: ModerationTask, verdict: PolicyVerdict) -> None:
        key = task.audio.verdict_key
        with step(self._observer, "store"):
            self._keep_policies(verdict)
            self._store.write(key, verdict.to_json(), content_type="application/json")
        self._observer.recording_ended(task.audio, "moderated", task.transcript.duration)

    def _record(self, task: ModerationTask, verdict: PolicyVerdict) -> None:
        self._put_transcript(task)
        self._database.put_moderation(task.audio, verdict)

    def _put_transcript(self, task: ModerationTask) -> None:
        """Write the transcript's rows, if transcribe has stored the object and not yet its rows."""
        if self._database.is_transcribed(task.audio):
            return
        stored = self._store.head(task.audio.opus_key)
        if stored is None:
            raise PermanentError(
                f"{task.audio.opus_key} is gone: 'dropscribe reprocess {task.audio.batch} --from "
                "unpack' makes it again"
            )
        path = stored.metadata.get("path", str(task.audio))
        recording = Recording.converted(
            task.audio,
            path,
            AudioProperties.from_metadata(stored.metadata),
            notes_of_metadata(stored.metadata),
        )
        self._database.put_transcript(recording.transcribed(task.transcript), task.transcript)

    def _keep_policies(self, verdict: PolicyVerdict) -> None:
        """Store the texts of the policies whose versions a verdict names."""
        if verdict.state == "unjudged":
            return
        for policy in set(self._policies) - self._kept:
            key = f"{POLICIES}{policy.name}/{policy.version}.md"
            if self._store.head(key) is None:
                self._store.write(key, policy.text.encode(), content_type="text/markdown")
            self._kept.add(policy)


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

"""The conversion of one member of an archive to an Opus object, if it is a recording."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import replace
from io import SEEK_END, BufferedIOBase
from pathlib import PurePosixPath
from typing import BinaryIO, cast

import msgspec

from consumers.archive import (
    ArchiveLimitError,
    ArchiveReader,
    HarmfulMemberError,
    Member,
    MemberError,
    NotAnArchiveError,
)
from consumers.audio.media import Transcoded
from consumers.audio.pool import TranscoderPool
from consumers.audio.signatures import TEXT, Sniffed
from consumers.audio.sniff import sniff
from consumers.database.rows import Original
from consumers.documents.audio_properties import AudioProperties
from consumers.documents.manifest import ManifestEntry, MemberOutcome
from consumers.documents.note import Note, NoteCode
from consumers.errors import BadArchiveError, BadAudioError, TransientError, UnknownFormatError
from consumers.runtime.observer import step
from consumers.stages.sidecar_text import SidecarTexts
from consumers.stages.stage_handler import StageContext
from consumers.store.scratch import Scratch
from events.keys import AudioId, BatchId

#: Suffixes of recordings. The bytes decide what a file is; the name only decides whether
#: somebody will miss it.
_SOUND_SUFFIX = re.compile(
    r"\.(3g2|3gp|aac|ac3|aif|aifc|aiff|amr|ape|au|awb|caf|ds2|dsf|dss|dts|flac|gsm|m4a|m4b|mka|mkv"
    r"|mov|mp2|mp3|mp4|mpc|oga|ogg|opus|pvf|ra|rm|snd|sox|spx|tta|voc|vox|w64|wav|wave|webm|wma|wv)",
    re.IGNORECASE,
)

#: Files that file managers and operating systems leave in archives.
_LITTER = frozenset({".ds_store", "thumbs.db", "desktop.ini"})

_CHUNK = 1 << 20

#: Characters of another recording's path in a note.
_SHOWN_PATH = 200


class Converter:
    """Makes manifest entries of members, and stores an Opus object for each recording.

    It serves one attempt at a batch, whose members are prepared one after the other.
    """

    def __init__(
        self, context: StageContext, transcoders: TranscoderPool, scratch: Scratch
    ) -> None:
        self._store = context.store
        self._database = context.database
        self._observer = context.observer
        self._transcoders = transcoders
        # Recordings in work, whose rows may not be written: the first by its SHA-256.
        self._in_work: dict[str, Original] = {}
        self._texts = SidecarTexts()
        self._scratch = scratch

    def prepare(
        self, batch: BatchId, member: Member, done: Set[int], archive: ArchiveReader
    ) -> Callable[[], ManifestEntry]:
        """Copy a member's content, which is readable only until the next member.

        Args:
            batch: The member's batch.
            member: The current member of the archive.
            done: Ordinals of the recordings whose objects and rows are stored already.
            archive: What the member is read from; it enters a member that is an archive.

        Returns:
            The rest of the work; it may run later, in another thread.
        """
        if member.ordinal in done:
            return lambda: self._found(AudioId(batch, member.ordinal), member)
        if (by_name := _decided_by_name(member)) is not None:
            return lambda: by_name
        with ExitStack() as stack:
            file = cast("BinaryIO", stack.enter_context(self._scratch.file()))
            digest = hashlib.sha256()
            damage = None
            try:
                _copy(member.content, file, digest)
            except (MemberError, BadArchiveError) as exc:
                # If the archive ends here, reading its next member raises again.
                damage = exc
            size = file.seek(0, SEEK_END)
            member = replace(member, size=member.size or size)
            sniffed = sniff(file)
            is_litter = sniffed.kind != "audio" and _is_litter(member)
            is_file = sniffed.kind in ("audio", "empty") or is_litter
            entered = None if is_file else _entered(archive, member, file, stack)
            # What the signatures do not know, the child may.
            may_be_sound = (
                entered is None and sniffed.kind in ("audio", "unknown") and not is_litter
            )
            if damage is not None and not is_litter:
                is_harmful = isinstance(damage, ArchiveLimitError | HarmfulMemberError)
                if is_harmful or not may_be_sound:
                    rejected = _entry(member, "rejected", str(damage))
                    return lambda: rejected
                # The part before the damage is heard.
                member = replace(member, notes=(*member.notes, Note(NoteCode.UNREAD, str(damage))))
            if not may_be_sound:
                entry = entered or _without_sound(member, sniffed, is_litter=is_litter)
                if entry.reason == TEXT.label and not member.is_part:
                    entry = self._with_text(entry, file, size)
                return lambda: entry
            owned = stack.pop_all()
        audio, sha256 = AudioId(batch, member.ordinal), digest.hexdigest()
        original = self._in_work.setdefault(sha256, Original(audio, member.path, None))
        return lambda: self._convert(member, file, sniffed, sha256, owned, audio, original)

    def _with_text(self, entry: ManifestEntry, file: BinaryIO, size: int) -> ManifestEntry:
        text, why_not = self._texts.read(entry.path, file, size)
        reason = f"{entry.reason}: {why_not}" if why_not else entry.reason
        return msgspec.structs.replace(entry, text=text, reason=reason)

    def recorded(self, audio: AudioId) -> None:
        """Take note that the row of a recording is written, if it has one."""
        for sha256, original in list(self._in_work.items()):
            if original.audio == audio:
                del self._in_work[sha256]

    def _convert(
        self,
        member: Member,
        file: BinaryIO,
        sniffed: Sniffed,
        sha256: str,
        owned: ExitStack,
        audio: AudioId,
        in_work: Original,
    ) -> ManifestEntry:
        with owned, self._scratch.file() as opus:
            try:
                transcoded = self._transcode(file, sniffed, cast("BinaryIO", opus))
            except UnknownFormatError:
                return _without_sound(member, sniffed)
            except BadAudioError as exc:
                return _entry(member, "rejected", str(exc))
            facts = _properties(transcoded, sha256)
            original = in_work if in_work.audio != audio else self._database.original(audio, sha256)
            notes = (*member.notes, *transcoded.notes, *_duplicate(original))
            with step(self._observer, "store"):
                self._store.write(
                    audio.opus_key,
                    cast("BinaryIO", opus),
                    content_type="audio/ogg",
                    metadata=facts.to_metadata(member.path, notes),
                )
        return _accepted(member, facts, notes, _tags(transcoded))

    def _transcode(self, file: BinaryIO, sniffed: Sniffed, opus: BinaryIO) -> Transcoded:
        file.seek(0)
        with step(self._observer, "transcode"):
            transcoded = self._transcoders.transcode(file, sniffed.demuxer, opus)
        opus.seek(0)
        return transcoded

    def _found(self, audio: AudioId, member: Member) -> ManifestEntry:
        """Make the entry of an object that an earlier attempt stored, with its row."""
        found = self._database.conversion(audio)
        stored = self._store.head(audio.opus_key) if found else None
        if stored is None or found is None:
            raise TransientError(f"{audio.opus_key} was deleted while its archive was read")
        facts = AudioProperties.from_metadata(stored.metadata)
        return _accepted(member, facts, found.notes, found.tags)


def _copy(content: BufferedIOBase, file: BinaryIO, digest: hashlib._Hash) -> None:
    """Copy to ``file`` and into the digest, up to the first error."""
    while chunk := content.read1(_CHUNK):
        digest.update(chunk)
        file.write(chunk)


def _decided_by_name(member: Member) -> ManifestEntry | None:
    if member.is_directory:
        return _entry(member, "ignored", "folder")
    if member.refusal is not None:
        return _entry(member, "rejected", member.refusal)
    return None


def _is_litter(member: Member) -> bool:
    """Whether a member is named like a file manager's own file, which can hold sound, too."""
    path = PurePosixPath(member.path)
    return "__MACOSX" in path.parts or path.name.startswith("._") or path.name.lower() in _LITTER


def _entered(
    archive: ArchiveReader, member: Member, file: BinaryIO, stack: ExitStack
) -> ManifestEntry | None:
    """Enter a member that is an archive; ``stack`` keeps its file open."""
    try:
        inner = archive.enter(member, file)
    except NotAnArchiveError:
        return None
    except BadArchiveError as exc:
        return _entry(member, "rejected", str(exc))
    inner.push(stack.pop_all())
    return _entry(member, "ignored", "an archive: its members follow")


def _without_sound(member: Member, sniffed: Sniffed, *, is_litter: bool = False) -> ManifestEntry:
    if is_litter:
        return _entry(member, "ignored", "a file manager's own file")
    if sniffed.kind == "undecodable":
        return _entry(member, "rejected", sniffed.label)
    if _SOUND_SUFFIX.fullmatch(PurePosixPath(member.path).suffix):
        return _entry(member, "rejected", f"not a recording, despite its name: {sniffed.label}")
    if sniffed.kind == "unknown" and not member.is_part:
        return _entry(member, "rejected", "not a known audio format")
    return _entry(member, "ignored", sniffed.label)


def _duplicate(original: Original | None) -> Iterator[Note]:
    if original is not None:
        path = original.path[:_SHOWN_PATH]
        yield Note(NoteCode.DUPLICATE, f"the same bytes as {original.audio}, {path}")


def _properties(transcoded: Transcoded, sha256: str) -> AudioProperties:
    return AudioProperties(
        duration=transcoded.duration,
        codec=transcoded.codec,
        sample_rate=transcoded.sample_rate,
        channels=transcoded.channels,
        loudness_dbfs=transcoded.loudness_dbfs,
        silent=transcoded.silent,
        damaged=transcoded.damaged,
        source_sha256=sha256,
        output_channels=transcoded.output_channels,
        layout=transcoded.layout,
    )


def _tags(transcoded: Transcoded) -> dict[str, str]:
    """Add the chapters to the tags."""
    chapters = {
        f"chapter {number}": f"{each.start:.3f} to {each.end:.3f} s: {each.title}".rstrip(": ")
        for number, each in enumerate(transcoded.chapters, 1)
    }
    return {**chapters, **transcoded.tags}


def _accepted(
    member: Member, facts: AudioProperties, notes: Sequence[Note], tags: Mapping[str, str]
) -> ManifestEntry:
    return ManifestEntry(
        member.ordinal,
        member.path,
        member.size,
        "accepted",
        facts=facts,
        notes=tuple(notes),
        tags=dict(tags),
    )


def _entry(member: Member, outcome: MemberOutcome, reason: str) -> ManifestEntry:
    return ManifestEntry(
        member.ordinal, member.path, member.size, outcome, reason, notes=member.notes
    )

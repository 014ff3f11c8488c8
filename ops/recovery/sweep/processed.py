"""The objects under ``processed/``: does each have its row, and each row its objects?"""

from __future__ import annotations

from datetime import datetime

from consumers.database.sweeping import BatchFinding, RecordingFinding
from events.keys import PROCESSED, AudioId, BatchId
from ops.recovery.sweep.errand import Errand
from ops.recovery.sweep.listing import Chunk, Gatherer, SeenBatch, SeenRecording
from ops.recovery.sweep.report import Kind

_OPUS_GONE = "its Opus object is gone: 'dropscribe reprocess BATCH --from unpack' makes it again"

#: Of which the consumer of recordings is to be told, and the consumer of transcripts.
_TELL_TRANSCRIBE = {Kind.RECORDING_UNTOLD, Kind.RECORDING_UNDONE, Kind.TRANSCRIPT_UNRECORDED}
_TELL_MODERATE = {Kind.TRANSCRIPT_UNTOLD, Kind.VERDICT_UNRECORDED}


def sweep_processed(errand: Errand) -> None:
    """Go through ``processed/``, a page at a time, and the rows that belong there."""
    gatherer = Gatherer()
    for page in errand.store.pages(PROCESSED):
        if errand.is_over():
            return
        _sweep_chunk(errand, gatherer.add(page))
        errand.report.objects += len(page)
        errand.progress(errand.report)
    _sweep_chunk(errand, gatherer.finish())


def judged(finding: RecordingFinding, seen: SeenRecording | None, cutoff: datetime) -> Kind | None:
    """Say what is wrong with a recording; None where it may still be on its way.

    Args:
        finding: Why it may not be in order.
        seen: What is stored of it.
        cutoff: What was stored after that may be on its way.
    """
    if seen is None or seen.opus is None:
        # An archive that is not read to its end will bring the object again.
        is_lost = finding.is_sealed and (finding.is_older or not finding.has_row)
        return Kind.OPUS_GONE if is_lost else None
    if not finding.is_finished:
        return _judged_unfinished(finding, seen, seen.opus, cutoff)
    if not finding.is_older:
        return None
    return Kind.TRANSCRIPT_GONE if seen.transcript is None else Kind.VERDICT_GONE


def _judged_unfinished(
    finding: RecordingFinding, seen: SeenRecording, opus: datetime, cutoff: datetime
) -> Kind | None:
    if finding.stalled is not None:
        return Kind.DEAD
    if max(opus, seen.transcript or opus, seen.verdict or opus) > cutoff:
        return None
    if finding.is_retold:
        return Kind.WAITING
    if seen.transcript is None:
        return Kind.RECORDING_UNDONE if finding.has_row else Kind.RECORDING_UNTOLD
    if not finding.is_transcribed:
        return Kind.TRANSCRIPT_UNRECORDED
    return Kind.TRANSCRIPT_UNTOLD if seen.verdict is None else Kind.VERDICT_UNRECORDED


def _sweep_chunk(errand: Errand, chunk: Chunk) -> None:
    for key in chunk.foreign:
        errand.report.add(Kind.FOREIGN, key)
    if chunk.upto != chunk.after:
        _sweep_recordings(errand, chunk)
    if chunk.upto_batch != chunk.after_batch:
        _sweep_batches(errand, chunk)


def _sweep_recordings(errand: Errand, chunk: Chunk) -> None:
    findings = _recordings(errand, chunk)
    unknown = {finding.batch_id for finding in findings if finding.is_sealed is None}
    rebuilt = [batch for batch in sorted(unknown) if _rebuild_unknown(errand, BatchId(batch))]
    if rebuilt:
        findings = _recordings(errand, chunk)
    seen = {recording.position: recording for recording in chunk.recordings} if findings else {}
    to_tell: list[tuple[Kind, AudioId]] = []
    for finding in findings:
        position = (finding.batch_id, finding.ordinal)
        kind = judged(finding, seen.get(position), errand.cutoff)
        if kind in _TELL_TRANSCRIBE or kind in _TELL_MODERATE:
            to_tell.append((kind, finding.audio))
        elif kind is not None:
            errand.report.add(kind, str(finding.audio))
        if kind is Kind.OPUS_GONE:
            _stall(errand, finding)
    _tell(errand, to_tell)


def _recordings(errand: Errand, chunk: Chunk) -> list[RecordingFinding]:
    findings = errand.rows.recordings(
        positions=[recording.position for recording in chunk.recordings],
        opus=[recording.opus is not None for recording in chunk.recordings],
        transcripts=[recording.transcript is not None for recording in chunk.recordings],
        verdicts=[recording.verdict is not None for recording in chunk.recordings],
        after=chunk.after,
        upto=chunk.upto,
        began=errand.began,
    )
    return [finding for finding in findings if finding.batch_id not in errand.rebuilt]


def _tell(errand: Errand, to_tell: list[tuple[Kind, AudioId]]) -> None:
    is_dry = errand.report.is_dry
    if not is_dry:
        telling = errand.telling
        telling.recordings([audio for kind, audio in to_tell if kind in _TELL_TRANSCRIBE])
        telling.transcripts([audio for kind, audio in to_tell if kind in _TELL_MODERATE])
    for kind, audio in to_tell:
        errand.report.add(kind, str(audio), is_done=not is_dry)


def _stall(errand: Errand, finding: RecordingFinding) -> None:
    """Put on the row why it does not go on, if nothing says so yet."""
    if not finding.is_finished and finding.stalled is None and not errand.report.is_dry:
        errand.database.stall_recording(finding.audio, _OPUS_GONE)


def _rebuild_unknown(errand: Errand, batch: BatchId) -> bool:
    """Rebuild a batch of which objects are found and no row at all; False if it can't be yet."""
    manifest = errand.store.head(batch.manifest_key)
    if manifest is None or manifest.last_modified > errand.cutoff:
        return False
    errand.rebuild(batch)
    return True


def _sweep_batches(errand: Errand, chunk: Chunk) -> None:
    findings = errand.rows.batches(
        batches=[batch.batch_id for batch in chunk.batches],
        manifests=[batch.manifest is not None for batch in chunk.batches],
        completes=[batch.complete is not None for batch in chunk.batches],
        after=chunk.after_batch,
        upto=chunk.upto_batch,
        began=errand.began,
    )
    seen = {batch.batch_id: batch for batch in chunk.batches} if findings else {}
    for finding in findings:
        if finding.batch_id not in errand.rebuilt:
            _repair_batch(errand, finding, seen.get(finding.batch_id))


def _repair_batch(errand: Errand, finding: BatchFinding, seen: SeenBatch | None) -> None:
    batch = BatchId(finding.batch_id)
    if seen is None or seen.manifest is None:
        if finding.is_older or not finding.has_row:
            errand.report.add(Kind.MANIFEST_GONE, finding.batch_id)
    elif not finding.is_sealed:
        if seen.manifest <= errand.cutoff and not _has_archive(errand, finding):
            errand.rebuild(batch)
    elif finding.is_older and errand.store.head(batch.complete_key) is None:
        errand.repair(
            Kind.ANNOUNCEMENT_GONE, finding.batch_id, lambda: _announce_again(errand, batch)
        )


def _has_archive(errand: Errand, finding: BatchFinding) -> bool:
    """Tell whether an unsealed batch's archive is there; then its consumer is to seal it."""
    if finding.archive_key is None:
        return False
    stored = errand.store.head(finding.archive_key)
    return stored is not None and stored.etag == finding.etag


def _announce_again(errand: Errand, batch: BatchId) -> None:
    errand.rows.unannounce(batch)
    errand.completion.look(batch)

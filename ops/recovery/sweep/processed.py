"""Sweeping ``processed/``: each object needs its row, and each row its objects."""

from __future__ import annotations

from datetime import datetime

from consumers.database.sweep import BatchFinding, RecordingFinding
from events.keys import PROCESSED, AudioId, BatchId
from ops.recovery.rebuild.batch_reader import has_content
from ops.recovery.sweep.listing import ListingChunk, ListingParser, SeenBatch, SeenRecording
from ops.recovery.sweep.report import Discrepancy
from ops.recovery.sweep.run import SweepRun

_OPUS_GONE = "its Opus object is gone: 'dropscribe reprocess BATCH --from unpack' makes it again"

#: Discrepancies that are repaired by an event for transcribe, and for moderate.
_FOR_TRANSCRIBE = {
    Discrepancy.RECORDING_UNTOLD,
    Discrepancy.RECORDING_UNDONE,
    Discrepancy.TRANSCRIPT_UNRECORDED,
}
_FOR_MODERATE = {Discrepancy.TRANSCRIPT_UNTOLD, Discrepancy.VERDICT_UNRECORDED}


def sweep_processed(run: SweepRun) -> None:
    """Compare ``processed/`` with the rows, a page at a time."""
    parser = ListingParser()
    for page in run.tools.store.pages(PROCESSED):
        if run.is_over():
            return
        _sweep_chunk(run, parser.add(page))
        run.report.objects += len(page)
        run.progress(run.report)
    _sweep_chunk(run, parser.finish())


def judged(
    finding: RecordingFinding, seen: SeenRecording | None, cutoff: datetime
) -> Discrepancy | None:
    """Return the discrepancy of a recording; None if it may still be in work.

    Args:
        finding: The recording's row, which does not fit its objects.
        seen: The recording's objects.
        cutoff: Objects stored after this may still be in work.
    """
    if seen is None or seen.opus is None:
        # Until the archive is unpacked, unpack will make the object again.
        is_lost = finding.is_sealed and (finding.is_older or not finding.has_row)
        return Discrepancy.OPUS_GONE if is_lost else None
    if not finding.is_finished:
        return _judged_unfinished(finding, seen, seen.opus, cutoff)
    if not finding.is_older:
        return None
    return Discrepancy.TRANSCRIPT_GONE if seen.transcript is None else Discrepancy.VERDICT_GONE


def _judged_unfinished(
    finding: RecordingFinding, seen: SeenRecording, opus: datetime, cutoff: datetime
) -> Discrepancy | None:
    if finding.stalled is not None:
        return Discrepancy.DEAD
    if max(opus, seen.transcript or opus, seen.verdict or opus) > cutoff:
        return None
    if finding.is_retold:
        return Discrepancy.WAITING
    if seen.transcript is None:
        return Discrepancy.RECORDING_UNDONE if finding.has_row else Discrepancy.RECORDING_UNTOLD
    if not finding.is_transcribed:
        return Discrepancy.TRANSCRIPT_UNRECORDED
    return Discrepancy.TRANSCRIPT_UNTOLD if seen.verdict is None else Discrepancy.VERDICT_UNRECORDED


def _sweep_chunk(run: SweepRun, chunk: ListingChunk) -> None:
    for key in chunk.foreign:
        run.report.add(Discrepancy.FOREIGN, key)
    if chunk.upto != chunk.after:
        _sweep_recordings(run, chunk)
    if chunk.upto_batch != chunk.after_batch:
        _sweep_batches(run, chunk)


def _sweep_recordings(run: SweepRun, chunk: ListingChunk) -> None:
    findings = _recordings(run, chunk)
    unknown = {finding.audio.batch for finding in findings if finding.is_sealed is None}
    rebuilt = [batch for batch in sorted(unknown) if _rebuild_unknown(run, batch)]
    if rebuilt:
        findings = _recordings(run, chunk)
    seen = {recording.position: recording for recording in chunk.recordings} if findings else {}
    to_resend: list[tuple[Discrepancy, AudioId]] = []
    without_row: dict[BatchId, set[int]] = {}
    for finding in findings:
        position = (str(finding.audio.batch), finding.audio.ordinal)
        kind = judged(finding, seen.get(position), run.cutoff)
        if kind in _FOR_TRANSCRIBE or kind in _FOR_MODERATE:
            to_resend.append((kind, finding.audio))
            if finding.is_sealed and not finding.has_row:
                without_row.setdefault(finding.audio.batch, set()).add(finding.audio.ordinal)
        elif kind is not None:
            run.report.add(kind, str(finding.audio))
        if kind is Discrepancy.OPUS_GONE:
            _stall(run, finding)
    for batch, ordinals in without_row.items() if not run.report.is_dry else ():
        with run.attempt(str(batch)):
            run.tools.rebuilder.restore_conversions(batch, ordinals)
    _resend(run, to_resend)


def _recordings(run: SweepRun, chunk: ListingChunk) -> list[RecordingFinding]:
    findings = run.tools.rows.recordings(
        positions=[recording.position for recording in chunk.recordings],
        opus=[recording.opus is not None for recording in chunk.recordings],
        transcripts=[recording.transcript is not None for recording in chunk.recordings],
        verdicts=[recording.verdict is not None for recording in chunk.recordings],
        after=chunk.after,
        upto=chunk.upto,
        began=run.began,
    )
    return [finding for finding in findings if finding.audio.batch not in run.rebuilt]


def _resend(run: SweepRun, to_resend: list[tuple[Discrepancy, AudioId]]) -> None:
    is_dry = run.report.is_dry
    if not is_dry:
        resender = run.tools.resender
        resender.recordings([audio for kind, audio in to_resend if kind in _FOR_TRANSCRIBE])
        resender.transcripts([audio for kind, audio in to_resend if kind in _FOR_MODERATE])
    for kind, audio in to_resend:
        run.report.add(kind, str(audio), is_done=not is_dry)


def _stall(run: SweepRun, finding: RecordingFinding) -> None:
    """Record on the row why the recording is stuck, unless a reason is recorded."""
    if not finding.is_finished and finding.stalled is None and not run.report.is_dry:
        run.tools.database.stall_recording(finding.audio, _OPUS_GONE)


def _rebuild_unknown(run: SweepRun, batch: BatchId) -> bool:
    """Rebuild a batch that has objects and no row; False if it is unsealed, or was just sealed."""
    with run.attempt(str(batch)):
        manifest = run.tools.store.head(batch.manifest_key)
        if manifest is not None and manifest.last_modified <= run.cutoff:
            run.rebuild(batch)
            return True
    return False


def _sweep_batches(run: SweepRun, chunk: ListingChunk) -> None:
    findings = run.tools.rows.batches(
        batches=[batch.batch_id for batch in chunk.batches],
        manifests=[batch.manifest is not None for batch in chunk.batches],
        completes=[batch.complete is not None for batch in chunk.batches],
        after=chunk.after_batch,
        upto=chunk.upto_batch,
        began=run.began,
    )
    seen = {batch.batch_id: batch for batch in chunk.batches} if findings else {}
    for finding in findings:
        if finding.batch not in run.rebuilt:
            # An error of one batch must not stop the others.
            with run.attempt(str(finding.batch)):
                _repair_batch(run, finding, seen.get(str(finding.batch)))


def _repair_batch(run: SweepRun, finding: BatchFinding, seen: SeenBatch | None) -> None:
    batch = finding.batch
    if seen is None or seen.manifest is None:
        if finding.is_older or not finding.has_row:
            run.report.add(Discrepancy.MANIFEST_GONE, str(batch))
    elif not finding.is_sealed:
        # Where its archive is there, unpack will seal the batch.
        if seen.manifest <= run.cutoff and not has_content(
            run.tools.store, finding.archive_key, finding.etag
        ):
            run.rebuild(batch)
    elif finding.is_older and run.tools.store.head(batch.complete_key) is None:
        run.repair(Discrepancy.ANNOUNCEMENT_GONE, str(batch), lambda: _announce_again(run, batch))


def _announce_again(run: SweepRun, batch: BatchId) -> None:
    run.tools.rows.unannounce(batch)
    run.tools.completion.complete_if_done(batch)

"""Sweeping archives: each has to be announced, unpacked and, in the end, tagged."""

from __future__ import annotations

from collections.abc import Mapping, Set

from consumers.database.rows import Batch
from consumers.database.sweep import LAST_ARCHIVE, ArchiveFinding
from consumers.documents.manifest import Archive
from consumers.store import ListedObject
from events.keys import ARCHIVES, BatchId
from ops.recovery.rebuild.batch_reader import describe_stored, has_content
from ops.recovery.sweep.report import Discrepancy
from ops.recovery.sweep.run import SweepRun

_GONE = (
    "the archive is gone, or was overwritten, before it was unpacked: drop it again as a new batch"
)


def sweep_archives(run: SweepRun) -> None:
    """Compare ``archives/`` with the batches, a page at a time."""
    after = ""
    described: set[BatchId] = set()
    for page in run.tools.store.pages(ARCHIVES):
        if run.is_over():
            return
        # S3 consoles create such empty objects as folders.
        folders = [listed for listed in page if listed.key.endswith("/")]
        for folder in folders:
            if folder.size:
                run.report.add(Discrepancy.ARCHIVE_FOLDER, folder.key)
        archives = [listed for listed in page if not listed.key.endswith("/")]
        upto = page[-1].key if page else after
        described |= _sweep_page(run, archives, after, upto)
        run.report.archives += len(archives)
        run.progress(run.report)
        after = upto
    _sweep_page(run, [], after, LAST_ARCHIVE)
    _sweep_unknown(run, described)


def _sweep_page(run: SweepRun, page: list[ListedObject], after: str, upto: str) -> set[BatchId]:
    """Sweep one page, and give the batches of archives without a row."""
    keys, etags = [listed.key for listed in page], [listed.etag for listed in page]
    findings = run.tools.rows.archives(keys, etags, after=after, upto=upto)
    if not run.report.is_dry:
        run.tools.rows.forget_kept(keys, etags, after=after, upto=upto)
    stored = {listed.key: listed for listed in page}
    described: set[BatchId] = set()
    for finding in findings:
        # An error of one archive must not stop the others.
        with run.attempt(finding.key):
            if not finding.is_listed:
                _look_for(run, finding)
            elif finding.batch_id is not None:
                _repair(run, finding, BatchId(finding.batch_id), stored)
            elif stored[finding.key].last_modified <= run.cutoff:
                archive = describe_stored(run.tools.store, finding.key)
                if archive is not None:
                    described.add(archive.batch)
                    _repair_unknown(run, archive)
    return described


def _repair(
    run: SweepRun, finding: ArchiveFinding, batch: BatchId, stored: Mapping[str, ListedObject]
) -> None:
    key = finding.key
    if finding.is_sealed:
        run.repair(Discrepancy.ARCHIVE_UNMARKED, key, lambda: _mark(run, batch))
    elif stored[key].last_modified > run.cutoff:
        return
    elif finding.stalled is not None:
        run.report.add(Discrepancy.DEAD, key)
    elif finding.is_retold:
        run.report.add(Discrepancy.WAITING, key)
    else:
        run.repair(Discrepancy.ARCHIVE_UNDONE, key, lambda: run.tools.resender.archive(batch, key))


def _repair_unknown(run: SweepRun, archive: Archive) -> None:
    """Repair an archive that has no row."""
    batch, key = archive.batch, archive.key
    row = run.tools.database.batch(batch)
    if row is not None and row.etag is not None:
        _repair_second(run, archive, row)
    elif run.tools.store.head(batch.manifest_key) is not None:
        # The archive was unpacked, and its rows were lost.
        run.rebuild(batch, archive)
    elif row is not None and row.stalled is not None:
        run.repair(Discrepancy.DEAD, key, lambda: run.tools.database.register(archive))
    else:
        run.repair(Discrepancy.ARCHIVE_UNTOLD, key, lambda: _tell(run, archive))


def _repair_second(run: SweepRun, archive: Archive, row: Batch) -> None:
    """Repair an archive whose batch has a row with another key or other content."""
    if archive.etag != row.etag:
        run.report.add(Discrepancy.ARCHIVE_OVERWRITTEN, archive.key)
    elif row.sealed_at is not None or has_content(run.tools.store, row.archive_key, row.etag):
        run.report.add(Discrepancy.ARCHIVE_COPY, archive.key)
    else:
        run.repair(Discrepancy.ARCHIVE_UNTOLD, archive.key, lambda: _tell_moved(run, archive))


def _tell_moved(run: SweepRun, archive: Archive) -> None:
    run.tools.rows.move_archive(archive.batch, archive.key)
    run.tools.resender.archive(archive.batch, archive.key)


def _tell(run: SweepRun, archive: Archive) -> None:
    run.tools.database.register(archive)
    run.tools.resender.archive(archive.batch, archive.key)


def _mark(run: SweepRun, batch: BatchId) -> None:
    row = run.tools.database.batch(batch)
    if row is not None:
        run.tools.completion.retire_again(row)
    run.tools.rows.mark_retired(batch)


def _look_for(run: SweepRun, finding: ArchiveFinding) -> None:
    """Look for an archive that its batch still needs and the listing lacks."""
    if finding.batch_id is None:
        return
    batch = BatchId(finding.batch_id)
    row = run.tools.database.batch(batch)
    if row is None or row.archive_key != finding.key:
        # The archive was found under another key meanwhile.
        return
    if has_content(run.tools.store, finding.key, finding.etag):
        # The archive was stored after its page was listed.
        return
    _lost(run, batch, finding.key, finding.stalled)


def _sweep_unknown(run: SweepRun, described: Set[BatchId]) -> None:
    """Look for the archives of batches for which none was found."""
    for batch, stalled in run.tools.rows.unknown_archives():
        if batch in described or batch.time > run.cutoff:
            continue
        with run.attempt(batch.archive_key):
            if run.tools.store.head(batch.archive_key) is None:
                _lost(run, batch, str(batch), stalled)


def _lost(run: SweepRun, batch: BatchId, name: str, stalled: str | None) -> None:
    if run.tools.store.head(batch.manifest_key) is not None:
        # The archive was unpacked; the rest of the sweep restores the rows.
        return
    run.report.add(Discrepancy.ARCHIVE_GONE, name)
    if stalled is None and not run.report.is_dry:
        run.tools.database.stall_batch(batch, _GONE)

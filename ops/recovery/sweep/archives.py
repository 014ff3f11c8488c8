"""The archives: is each one told, unpacked, and tagged when its batch is complete?"""

from __future__ import annotations

from collections.abc import Mapping, Set

from consumers.database.rows import Archive, Batch
from consumers.database.sweeping import LAST_ARCHIVE, ArchiveFinding
from consumers.stages.dropped import describe, retire
from consumers.store import Listed
from events.keys import ARCHIVES, ArchiveKey, BatchId, parse_key
from ops.recovery.sweep.errand import Errand
from ops.recovery.sweep.report import Kind

_GONE = (
    "the archive is gone, or was overwritten, before it was read to its end: drop it again as a "
    "batch of its own"
)


def sweep_archives(errand: Errand) -> None:
    """Go through ``archives/``, a page at a time, and the batches that belong there."""
    after = ""
    described: set[BatchId] = set()
    for page in errand.store.pages(ARCHIVES):
        if errand.is_over():
            return
        # What S3 consoles make of "create folder" is no archive.
        archives = [listed for listed in page if not listed.key.endswith("/")]
        upto = page[-1].key if page else after
        described |= _sweep_page(errand, archives, after, upto)
        errand.report.archives += len(archives)
        errand.progress(errand.report)
        after = upto
    _sweep_page(errand, [], after, LAST_ARCHIVE)
    _sweep_unknown(errand, described)


def _sweep_page(errand: Errand, page: list[Listed], after: str, upto: str) -> set[BatchId]:
    """Go through one page; gives the batches of archives that no row was of."""
    findings = errand.rows.archives(
        [listed.key for listed in page],
        [listed.etag for listed in page],
        after=after,
        upto=upto,
    )
    stored = {listed.key: listed for listed in page}
    described: set[BatchId] = set()
    for finding in findings:
        # What one archive's object is refused for does not keep the others waiting.
        with errand.attempt(finding.key):
            if not finding.is_listed:
                _look_for(errand, finding)
            elif finding.batch_id is not None:
                _repair(errand, finding, BatchId(finding.batch_id), stored)
            elif stored[finding.key].last_modified <= errand.cutoff:
                archive = _described(errand, finding.key)
                if archive is not None:
                    described.add(archive.batch)
                    _repair_unknown(errand, archive)
    return described


def _repair(
    errand: Errand, finding: ArchiveFinding, batch: BatchId, stored: Mapping[str, Listed]
) -> None:
    key = finding.key
    if finding.is_sealed:
        errand.repair(Kind.ARCHIVE_UNMARKED, key, lambda: _mark(errand, batch))
    elif stored[key].last_modified > errand.cutoff:
        return
    elif finding.stalled is not None:
        errand.report.add(Kind.DEAD, key)
    elif finding.is_retold:
        errand.report.add(Kind.WAITING, key)
    else:
        errand.repair(Kind.ARCHIVE_UNDONE, key, lambda: errand.telling.archive(batch, key))


def _repair_unknown(errand: Errand, archive: Archive) -> None:
    """Tell of an archive that has no row."""
    batch, key = archive.batch, archive.key
    row = errand.database.batch(batch)
    if row is not None and row.etag is not None:
        _repair_second(errand, archive, row)
    elif errand.store.head(batch.manifest_key) is not None:
        # It was unpacked, and its rows were lost.
        errand.rebuild(batch, archive)
    elif row is not None and row.stalled is not None:
        errand.repair(Kind.DEAD, key, lambda: errand.database.register(archive))
    else:
        errand.repair(Kind.ARCHIVE_UNTOLD, key, lambda: _tell(errand, archive))


def _repair_second(errand: Errand, archive: Archive, row: Batch) -> None:
    """Look at an archive whose batch is on record with another key, or other content."""
    if archive.etag != row.etag:
        errand.report.add(Kind.ARCHIVE_OVERWRITTEN, archive.key)
    elif row.sealed_at is not None or _is_there(errand, row):
        errand.report.add(Kind.ARCHIVE_COPY, archive.key)
    else:
        errand.repair(Kind.ARCHIVE_UNTOLD, archive.key, lambda: _tell_moved(errand, archive))


def _is_there(errand: Errand, row: Batch) -> bool:
    stored = errand.store.head(row.archive_key) if row.archive_key else None
    return stored is not None and stored.etag == row.etag


def _tell_moved(errand: Errand, archive: Archive) -> None:
    errand.rows.move_archive(archive.batch, archive.key)
    errand.telling.archive(archive.batch, archive.key)


def _tell(errand: Errand, archive: Archive) -> None:
    errand.database.register(archive)
    errand.telling.archive(archive.batch, archive.key)


def _described(errand: Errand, key: str) -> Archive | None:
    parsed = parse_key(key)
    stored = errand.store.head(key)
    if stored is None or not isinstance(parsed, ArchiveKey):
        return None
    return describe(errand.store, parsed, stored)


def _mark(errand: Errand, batch: BatchId) -> None:
    row = errand.database.batch(batch)
    if row is not None and row.archive_key is not None and row.etag is not None:
        retire(errand.store, row.archive_key, row.etag, batch, failed=row.failure is not None)
    errand.rows.mark_retired(batch)


def _look_for(errand: Errand, finding: ArchiveFinding) -> None:
    """Find out what became of an archive that its batch still needs."""
    if finding.batch_id is None:
        return
    batch = BatchId(finding.batch_id)
    row = errand.database.batch(batch)
    if row is None or row.archive_key != finding.key:
        # Found under another name by now.
        return
    stored = errand.store.head(finding.key)
    if stored is not None and stored.etag == finding.etag:
        # Stored after its page was listed.
        return
    _lost(errand, batch, finding.key, finding.stalled)


def _sweep_unknown(errand: Errand, described: Set[BatchId]) -> None:
    """Find what became of batches of which no archive was found."""
    for batch, stalled in errand.rows.unknown_archives():
        if batch in described or batch.time > errand.cutoff:
            continue
        if errand.store.head(batch.archive_key) is None:
            _lost(errand, batch, str(batch), stalled)


def _lost(errand: Errand, batch: BatchId, name: str, stalled: str | None) -> None:
    if errand.store.head(batch.manifest_key) is not None:
        # It was read to its end; the rest of the sweep puts that on record.
        return
    errand.report.add(Kind.ARCHIVE_GONE, name)
    if stalled is None and not errand.report.is_dry:
        errand.database.stall_batch(batch, _GONE)

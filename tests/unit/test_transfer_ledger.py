"""The ledger: a shipment moves forward, and no file is in two."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from consumers.errors import TransientError
from events.keys import BatchId
from ops.ingest.transfer.ledger import Ledger, Shipment, ShipmentState
from ops.ingest.transfer.source import FileVersion

NOW = datetime(2025, 6, 22, 14, 30, 52, tzinfo=UTC)
HOST = "studio"
ETAG = "0" * 32


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite3") as ledger:
        yield ledger


def batch(number: int) -> BatchId:
    return BatchId.new(NOW, number.to_bytes(3, "big"))


def begin(ledger: Ledger, number: int, *paths: bytes) -> Shipment:
    files = [(FileVersion(path, 10, 1), path) for path in paths]
    return ledger.begin(batch(number), HOST, b"/srv", files, is_pack=True, now=NOW)


def test_a_shipment_from_beginning_to_end(ledger: Ledger) -> None:
    shipment = begin(ledger, 1, b"/b", b"/a\xff")
    assert [member.name for member in ledger.members(shipment)] == [b"/b", b"/a\xff"]

    staged = ledger.record_staged(shipment, size=20, sha256="f" * 64, part_size=16)
    ledger.record_upload(staged, "upload")
    ledger.record_etag(staged, ETAG)
    ledger.record_sent(staged, NOW)

    assert ledger.shipment(shipment.number).batch == batch(1)
    assert ledger.find(HOST, FileVersion(b"/a\xff", 10, 1)) == ledger.shipment(shipment.number)
    assert ledger.find(HOST, FileVersion(b"/a\xff", 10, 2)) is None
    assert ledger.find("another", FileVersion(b"/a\xff", 10, 1)) is None


def test_no_step_is_taken_twice_or_left_out(ledger: Ledger) -> None:
    shipment = begin(ledger, 1, b"/a")
    with pytest.raises(LookupError):
        ledger.record_sent(shipment, NOW)
    staged = ledger.record_staged(shipment, size=20, sha256="f" * 64, part_size=16)
    with pytest.raises(LookupError):
        ledger.forget(staged)
    # The object's ETag has to be known before it is taken for stored.
    with pytest.raises(TransientError):
        ledger.record_sent(staged, NOW)
    ledger.record_etag(staged, ETAG)
    ledger.record_sent(staged, NOW)
    with pytest.raises(LookupError):
        ledger.restart(staged, batch(2))


def test_ledger_entries_are_on_the_disk(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite3") as ledger:
        shipment = begin(ledger, 1, b"/a")
    with Ledger(tmp_path / "ledger.sqlite3") as ledger:
        assert ledger.in_state(ShipmentState.STAGING) == [shipment]


def test_a_file_that_is_no_ledger_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(TransientError, match="cannot be used"):
        Ledger(tmp_path / "ledger.sqlite3")


class LedgerMachine(RuleBasedStateMachine):
    """Every order of steps that a run can take, killed and started again in between."""

    @initialize()
    def make(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite3"
        self.ledger = Ledger(self.path)
        self.states: dict[int, ShipmentState] = {}
        self.files: dict[FileVersion, int] = {}
        self.batches = 0

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.__exit__()
            self.folder.cleanup()

    def _pick(self, data: st.DataObject, *states: ShipmentState) -> Shipment | None:
        numbers = sorted(n for n, state in self.states.items() if state in states)
        return self.ledger.shipment(data.draw(st.sampled_from(numbers))) if numbers else None

    @rule(paths=st.sets(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=1))
    def begin(self, paths: set[bytes]) -> None:
        files = [FileVersion(path, 10, 1) for path in sorted(paths)]
        if any(self.ledger.find(HOST, file) for file in files):
            with pytest.raises(TransientError):
                self._begin(files)
            return
        shipment = self._begin(files)
        self.states[shipment.number] = ShipmentState.STAGING
        self.files |= dict.fromkeys(files, shipment.number)

    def _begin(self, files: list[FileVersion]) -> Shipment:
        self.batches += 1
        named = [(file, file.path) for file in files]
        return self.ledger.begin(batch(self.batches), HOST, b"/", named, is_pack=True, now=NOW)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        shipment = self._pick(data, ShipmentState.STAGING)
        members = self.ledger.members(shipment) if shipment else []
        if members:
            member = data.draw(st.sampled_from(members))
            self.ledger.leave(member)
            del self.files[member.file]

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        if shipment := self._pick(data, ShipmentState.STAGING):
            self.ledger.forget(shipment)
            del self.states[shipment.number]
            self.files = {f: n for f, n in self.files.items() if n != shipment.number}

    @rule(data=st.data())
    def stage(self, data: st.DataObject) -> None:
        if shipment := self._pick(data, ShipmentState.STAGING):
            staged = self.ledger.record_staged(shipment, size=1, sha256="f" * 64, part_size=1)
            assert staged.batch == shipment.batch
            self.states[shipment.number] = ShipmentState.STAGED

    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        shipment, other = (
            self._pick(data, ShipmentState.STAGING),
            self._pick(data, ShipmentState.STAGED),
        )
        members = self.ledger.members(shipment) if shipment else []
        if members and other:
            self.ledger.record_copy(members[0], "e" * 64, other)
            self.files[members[0].file] = -other.number

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        if shipment := self._pick(data, ShipmentState.STAGED):
            self.batches += 1
            self.ledger.restart(shipment, batch(self.batches))
            self.states[shipment.number] = ShipmentState.STAGING
            self.files = {f: n for f, n in self.files.items() if n != -shipment.number}

    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        if shipment := self._pick(data, ShipmentState.STAGED):
            self.ledger.record_etag(shipment, ETAG)
            self.ledger.record_sent(shipment, NOW)
            self.states[shipment.number] = ShipmentState.SENT

    @precondition(lambda self: self.states)
    @rule()
    def die(self) -> None:
        self.ledger.__exit__()
        self.ledger = Ledger(self.path)

    @invariant()
    def it_knows_what_happened(self) -> None:
        for state in ShipmentState:
            numbers = {n for n, each in self.states.items() if each is state}
            assert {s.number for s in self.ledger.in_state(state)} == numbers
        for path in (b"a", b"b", b"c", b"d"):
            file = FileVersion(path, 10, 1)
            found = self.ledger.find(HOST, file)
            assert (found.number if found else None) == (
                abs(self.files[file]) if file in self.files else None
            )
        # A copy is no part of an archive.
        for number in self.states:
            members = self.ledger.members(self.ledger.shipment(number))
            assert {m.file for m in members} == {f for f, n in self.files.items() if n == number}


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_the_ledger_recovers_from_a_failed_write(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite3") as ledger:
        begin(ledger, 1, b"/a")
        # Somebody reads it, so that what is written can't be committed.
        reader = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM files").fetchall()
        with pytest.raises(TransientError, match="locked"):
            begin(ledger, 2, b"/b")
        reader.close()

        assert begin(ledger, 3, b"/b").batch == batch(3)


def test_an_unusable_ledger_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="cannot be used"):
        Ledger(tmp_path)


def test_a_ledger_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE shipments (x)")
    other.close()
    with pytest.raises(TransientError):
        Ledger(path)

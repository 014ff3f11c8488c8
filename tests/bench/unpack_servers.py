"""Servers to unpack on, and the route ``unpack`` as a consumer runs it, in a process of its own."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psycopg

from consumers.audio.decode import SAMPLE_RATE, decode_channels
from consumers.database.migrate import migrate
from consumers.errors import ConfigurationError
from consumers.runtime.handler import Handler
from consumers.runtime.observer import Observer
from consumers.store import Store
from events.event import ObjectCreated
from events.keys import AudioId
from ops.wiring.adapters import Adapters, make_store
from ops.wiring.environment import Environment
from ops.wiring.log import configure_log
from ops.wiring.pipeline import PIPELINE
from tests.harness.servers.ceph import ceph
from tests.harness.servers.postgres import postgres
from tests.harness.servers.store import boto_client

_BUCKET = "bench"

#: How many of a batch's objects are listened to.
_LISTENED = 16


@dataclass(frozen=True, slots=True)
class StoredAudio:
    """What lies in the bucket after a run.

    Attributes:
        sounds: For some of them, by ordinal: seconds, and RMS in dB of
            full scale.
    """

    count: int
    sounds: Mapping[int, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class UnpackServers:
    """Ceph and PostgreSQL, with one bucket and the tables.

    The bucket announces nothing: the store's cost of a notification is left out for
    everybody.
    """

    variables: Mapping[str, str] = field(repr=False)
    folder: Path
    store: Store
    client: Any

    def store_archive(
        self, name: str, recordings: Iterable[bytes], kind: Literal["", "gz"] = ""
    ) -> str:
        """Store recordings, whose names are numbers, as a tar archive; gives its key."""
        key = f"archives/{name}.tar{f'.{kind}' if kind else ''}"
        path = self.folder / "packed"
        with tarfile.open(path, "w:gz" if kind else "w") as tar:
            for number, recording in enumerate(recordings):
                header = tarfile.TarInfo(f"{number:06}.mp3")
                header.size = len(recording)
                tar.addfile(header, io.BytesIO(recording))
        self.client.upload_file(str(path), _BUCKET, key)
        path.unlink()
        return key

    def clear(self) -> None:
        """Make it as it was, with the archives alone."""
        with psycopg.connect(self.variables["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("TRUNCATE batches CASCADE")
        for prefix in ("processed/", "scripts/"):
            for page in self.store.pages(prefix):
                keys = [{"Key": listed.key} for listed in page]
                self.client.delete_objects(Bucket=_BUCKET, Delete={"Objects": keys})

    def listen(self, prefix: str, ordinal: Callable[[str], int]) -> StoredAudio:
        """Count the Opus objects under a prefix, and decode some of them.

        Args:
            ordinal: Gives an object's place in the archive, by its key.
        """
        keys = [key for key in self.store.keys(prefix) if key.endswith(".opus")]
        by_place = {ordinal(key): key for key in keys}
        chosen = sorted(by_place)[:: max(1, len(keys) // _LISTENED)]
        return StoredAudio(len(keys), {place: self._sound(by_place[place]) for place in chosen})

    def _sound(self, key: str) -> tuple[float, float]:
        (sound,) = decode_channels(io.BytesIO(self.store.read(key)))
        return len(sound) / SAMPLE_RATE, 10 * float(np.log10(np.mean(np.square(sound)) + 1e-12))


@contextmanager
def open_unpack_servers(folder: Path) -> Iterator[UnpackServers]:
    """Run the servers while the block runs; the folder is for scratch and archives."""
    with ceph() as gateway, postgres() as server:
        url = server.database()
        migrate(url)
        variables = {
            **gateway.settings,
            "S3_BUCKET": _BUCKET,
            "DATABASE_URL": url,
            "SCRATCH_ROOT": str(folder),
        }
        client = boto_client("s3", gateway)
        client.create_bucket(Bucket=_BUCKET)
        yield UnpackServers(variables, folder, make_store(Environment(variables)), client)


def own_ordinal(key: str) -> int:
    """Read the ordinal of one of our objects."""
    return AudioId.parse(key.rpartition("/")[2].removesuffix(".opus")).ordinal


@contextmanager
def unpacker(variables: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
    """Make a worker that unpacks an archive as ``dropscribe consume unpack`` does."""
    with _handler(variables, Observer()) as handler:

        def work(key: str) -> None:
            _handle(handler, key)

        yield work


@contextmanager
def first_object_unpacker(
    variables: Mapping[str, str], small: str
) -> Iterator[Callable[[str], None]]:
    """Make a worker that unpacks an archive until its first object, and waits to be killed.

    Args:
        small: Key of an archive that it unpacks before, to be warm.
    """
    first = _First()
    with _handler(variables, first) as handler:
        _handle(handler, small)

        def work(key: str) -> None:
            first.stored.clear()
            threading.Thread(target=_handle, args=(handler, key), daemon=True).start()
            first.stored.wait()

        yield work


class _First(Observer):
    """Hears of the first recording whose object is stored."""

    def __init__(self) -> None:
        self.stored = threading.Event()

    def recording_ended(self, audio: AudioId, state: str, seconds: float) -> None:
        del audio, state, seconds
        self.stored.set()


@contextmanager
def _handler(variables: Mapping[str, str], observer: Observer) -> Iterator[Handler]:
    with Path(os.devnull).open("w") as nowhere:
        log = configure_log(nowhere)
        environment = Environment(variables)
        with PIPELINE["unpack"].open_handler(environment, Adapters(), log, observer) as handler:
            yield handler


def _handle(handler: Handler, key: str) -> None:
    """Act on an archive's event.

    Raises:
        ConfigurationError: It could not be unpacked.
    """
    event = ObjectCreated(_BUCKET, key, None, None, None, None, "ceph")
    (failure,) = handler.handle([event])
    if failure is not None:
        raise ConfigurationError(str(failure)) from failure

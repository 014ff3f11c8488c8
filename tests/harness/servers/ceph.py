"""A real S3 store that announces objects over AMQP: Ceph's gateway, with all it keeps in memory."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.harness.servers.grounds import Grounds, grounds
from tests.harness.servers.process import Process, answer, require, running, wait_until
from tests.harness.servers.store import StoreServer, store_settings

_PROGRAMS = ("monmaptool", "ceph-mon", "ceph-osd", "radosgw-admin", "radosgw")
_INSTALL = "apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common"

_ACCESS_KEY = "dropscribe"
_SECRET_KEY = secrets.token_hex(20)

#: Bytes that all objects together can have; taken as they are written.
_MEMORY = 16 << 30

_CONFIG = """\
[global]
fsid = {fsid}
monmap = {folder}/monmap
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
run dir = {folder}
admin socket = {folder}/$name.$pid.asok
log file = {folder}/$name.log
crash dir = {folder}
keyring = {folder}/keyring

[mon]
mon data = {folder}/mon
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 0
# By default every change of the cluster's map waits for a second; there are twenty
# until the first object is stored.
paxos propose interval = 0.05
paxos min wait = 0.01

[osd]
osd data = {folder}/osd
osd objectstore = memstore
# Seconds for which the cluster waits for a gateway that was killed.
osd client watch timeout = 5
memstore device bytes = {memory}

[client]
# How often a client that waits for the disk to come up asks whether it has.
objecter tick interval = 0.25
rgw data = {folder}/rgw
rgw frontends = beast {frontend}
"""


@dataclass(frozen=True, slots=True)
class Tls:
    """A gateway's certificate, and the authorities that it trusts.

    Attributes:
        trusted: A PEM file of authorities, read for each connection to a broker. A topic's
            ``ca-location`` is of no use: 16.2.15 reads the name from memory that it has given back.
    """

    certificate: Path
    key: Path
    trusted: Path


@dataclass(frozen=True, slots=True)
class CephGateway(StoreServer):
    """A running gateway.

    Its S3 and SNS are at one address. A topic's ``push-endpoint`` is
    ``amqp://127.0.0.1:PORT/VHOST`` without user and password, for which it uses
    guest's. The exchange must exist, and be the same for all topics of a virtual
    host: events for a second one are dropped, with "exchange mismatch" in its log.
    A persistent topic delivers up to 30 s after it was made, and then at once.

    """

    _program: partial[Process] = field(repr=False)

    def make_user(self, name: str) -> tuple[str, str]:
        """Make a user without buckets, ``arn:aws:iam:::user/NAME``.

        Returns:
            Access key and secret key.

        Raises:
            ServerError: There is one of that name.
        """
        keys = name, secrets.token_hex(20)
        _run(self._program(_make_user(name, *keys)))
        return keys

    def wait(self) -> None:
        """Wait until it answers."""
        # By TLS it is enough that it listens.
        request = b"" if self.endpoint.startswith("https:") else b"GET / HTTP/1.0\r\n\r\n"
        wait_until(lambda: answer(self.port, request), [self._process], "the start of radosgw")


@contextmanager
def ceph(
    config: Mapping[str, str | int] | None = None, *, tls: Tls | None = None
) -> Iterator[CephGateway]:
    """Run a monitor, an object store in memory and a gateway while the block runs.

    Args:
        config: Options of the gateway, such as ``{"rgw lc debug interval": 5}``.
        tls: Its certificate and the authorities that it trusts; None for no TLS.
    """
    require(_PROGRAMS, _INSTALL)
    with grounds("ceph", ports=2) as place, _cluster(place, config or {}, tls) as program:
        gateway = program(["radosgw", "-f", "-n", "client.rgw", "--no-mon-config"])
        with running(gateway):
            endpoint = f"{'http' if tls is None else 'https'}://127.0.0.1:{place.ports[1]}"
            settings = store_settings(endpoint, _ACCESS_KEY, _SECRET_KEY)
            started = CephGateway(settings, place.folder, gateway, program)
            started.wait()
            yield started


@contextmanager
def _cluster(
    place: Grounds, config: Mapping[str, str | int], tls: Tls | None
) -> Iterator[partial[Process]]:
    """Run the cluster behind the gateway; yields a factory of further programs."""
    fsid, monitor_map = str(uuid.uuid4()), str(place.folder / "monmap")
    _write_folder(place, fsid, config, tls)
    program = partial(Process, place, environment=_environment(place, tls))
    address = f"[v1:127.0.0.1:{place.ports[0]}]"
    _run(program(["monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monitor_map]))
    # Without a monitor it would ask again only after seconds.
    new_disk = ["--mkfs", "--no-mon-config", "--monmap", monitor_map]
    disk = program(["ceph-osd", "-i", "0", *new_disk, "--osd-uuid", str(uuid.uuid4())])
    with running(disk):
        _run(program(["ceph-mon", "-i", "a", "--mkfs", "--monmap", monitor_map]))
        with running(program(["ceph-mon", "-f", "-i", "a"])) as monitor:
            wait_until(lambda: answer(place.ports[0]), [monitor], "the start of ceph-mon")
            disk.finish([monitor])
            # It enters itself into the cluster's map. Told its monitors by a file alone, it
            # knows the cluster's id from the start; without, it may ask before it knows, and end.
            with running(program(["ceph-osd", "-f", "-i", "0", "--no-mon-config"])) as store:
                user = _make_user("tests", _ACCESS_KEY, _SECRET_KEY)
                _run(program(user), monitor, store)
                yield program


def _run(process: Process, *beside: Process) -> None:
    with running(process):
        process.finish(beside)


def _make_user(name: str, access_key: str, secret_key: str) -> list[str]:
    names = ["--uid", name, "--display-name", name]
    keys = ["--access-key", access_key, "--secret-key", secret_key]
    return ["radosgw-admin", "--no-mon-config", "user", "create", *names, *keys]


def _environment(place: Grounds, tls: Tls | None) -> dict[str, str]:
    trusted = {} if tls is None else {"SSL_CERT_FILE": str(tls.trusted)}
    return {**place.environment, **trusted, "CEPH_CONF": str(place.folder / "ceph.conf")}


def _frontend(port: int, tls: Tls | None) -> str:
    if tls is None:
        return f"endpoint=127.0.0.1:{port}"
    files = f"ssl_certificate={tls.certificate} ssl_private_key={tls.key}"
    return f"ssl_endpoint=127.0.0.1:{port} {files}"


def _write_folder(
    place: Grounds, fsid: str, config: Mapping[str, str | int], tls: Tls | None
) -> None:
    folder, (monitor, gateway) = place.folder, place.ports
    frontend = _frontend(gateway, tls)
    text = _CONFIG.format(fsid=fsid, mon=monitor, frontend=frontend, folder=folder, memory=_MEMORY)
    options = [f"{name} = {value}\n" for name, value in config.items()]
    (folder / "ceph.conf").write_text(text + "".join(options))
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()

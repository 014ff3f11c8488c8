"""The store and the queue service by TLS, whose certificate an authority of our own has signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from consumers.broker.connect import open_sender
from consumers.broker.errors import BrokerLostError
from consumers.errors import TransientError
from events.routes import route_named
from ops.bootstrap import bootstrap
from ops.ingest.drop import drop_archive
from ops.wiring.adapters import make_store, make_topology, open_inbox, utc_now
from ops.wiring.environment import Environment
from ops.wiring.settings import read_broker_address
from tests.harness.certificates import certify, tls_in_front_of
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline
from tests.samples import RECORDINGS, archive

UNPACK = route_named("unpack")

_REFUSED = "SSL validation failed"


@pytest.fixture
def variables(variables: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings by which only TLS leads to the store and to the queues."""
    certificate, key = certify(tmp_path, "ours")
    port = urlsplit(variables["S3_ENDPOINT"]).port
    assert port is not None
    with tls_in_front_of(port, certificate, key) as relayed:
        yield {
            **variables,
            "S3_ENDPOINT": f"https://127.0.0.1:{relayed}",
            "S3_CA_FILE": str(certificate),
            "BROKER_URL": f"sqs+tls://key:secret@127.0.0.1:{relayed}",
            "BROKER_CA_FILE": str(certificate),
        }


@pytest.fixture
def distrusting(variables: dict[str, str], tmp_path: Path) -> Environment:
    """Settings by which an authority is trusted that has signed nothing here."""
    other, _ = certify(tmp_path, "other")
    return Environment({**variables, "S3_CA_FILE": str(other), "BROKER_CA_FILE": str(other)})


def test_the_pipeline_works_over_tls(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    progress = pipeline.run(archive(tmp_path, tar_of(RECORDINGS)))
    assert progress.state == "complete"
    assert progress.counts == {"transcribed": 3}
    address = read_broker_address(pipeline.environment)
    with open_sender(address, make_topology(pipeline.environment)) as sender:
        assert sender.depth(UNPACK) == 0


def test_a_store_that_is_not_trusted_is_refused(distrusting: Environment) -> None:
    with pytest.raises(TransientError, match=_REFUSED):
        make_store(distrusting).head("archives/a.tar")


@pytest.mark.parametrize("change", [("S3_CA_FILE", ""), ("S3_ENDPOINT", "https://localhost:{}")])
def test_a_store_with_an_untrusted_certificate_is_refused(
    variables: dict[str, str], change: tuple[str, str]
) -> None:
    name, value = change
    port = urlsplit(variables["S3_ENDPOINT"]).port
    with pytest.raises(TransientError, match=_REFUSED):
        make_store(Environment({**variables, name: value.format(port)})).head("archives/a.tar")


def test_an_archive_is_not_sent_to_a_store_that_is_not_trusted(
    distrusting: Environment, tmp_path: Path
) -> None:
    store, path = make_store(distrusting), archive(tmp_path, b"sound")
    with pytest.raises(TransientError, match=_REFUSED):
        drop_archive(store, path, now=utc_now(), host="field-recorder")


def test_queues_that_are_not_trusted_are_refused(distrusting: Environment) -> None:
    with pytest.raises(BrokerLostError, match=_REFUSED):
        open_inbox(distrusting, UNPACK)(prefetch=1)
    with (
        open_sender(read_broker_address(distrusting), make_topology(distrusting)) as sender,
        pytest.raises(BrokerLostError, match=_REFUSED),
    ):
        sender.depth(UNPACK)


def test_bootstrap_asks_nobody_whom_it_does_not_trust(distrusting: Environment) -> None:
    with pytest.raises(TransientError, match=_REFUSED):
        list(bootstrap(distrusting))

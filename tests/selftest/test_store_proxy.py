"""A store that fails as stores do, in front of one that does not."""

from __future__ import annotations

import hashlib
import io
import random
import secrets
import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)

from consumers.errors import TransientError
from consumers.store import Store, connect_store
from tests.harness.faults.store_proxy import Misbehaviour, StoreProxy
from tests.harness.servers.ceph import CephGateway
from tests.selftest.conftest import client

#: A name that each way of encoding a key turns into another one.
KEY = "archives/field notes+take%2B1.tar"
SOUND = secrets.token_bytes(3_000_000)


@pytest.fixture
def proxy(gateway: CephGateway) -> Iterator[StoreProxy]:
    with StoreProxy(gateway.endpoint, random.Random(7)) as proxy:
        yield proxy


@pytest.fixture
def direct(gateway: CephGateway) -> Any:
    return client(gateway)


@pytest.fixture
def s3(gateway: CephGateway, proxy: StoreProxy) -> Any:
    return client(gateway, proxy.endpoint)


@pytest.fixture
def store(gateway: CephGateway, proxy: StoreProxy, bucket: str) -> Store:
    """The consumers' adapter, which retries."""
    return connect_store(
        endpoint=proxy.endpoint,
        access_key=gateway.access_key,
        secret_key=gateway.secret_key,
        region="default",
        bucket=bucket,
    )


def is_stored(s3: Any, bucket: str, key: str) -> bool:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", ())
    return any(entry["Key"] == key for entry in listed)


def new_key() -> str:
    return f"processed/{uuid.uuid4().hex}.opus"


class TestWithoutFaults:
    @pytest.mark.parametrize("content", [b"", b"x", SOUND], ids=["nothing", "a byte", "much"])
    def test_content_and_metadata_pass_both_ways(
        self, s3: Any, bucket: str, content: bytes
    ) -> None:
        s3.put_object(Bucket=bucket, Key=KEY, Body=content, Metadata={"path": "a/b c"})

        head = s3.head_object(Bucket=bucket, Key=KEY)
        with s3.get_object(Bucket=bucket, Key=KEY)["Body"] as body:
            assert body.read() == content
        assert head["ContentLength"] == len(content)
        assert head["Metadata"] == {"path": "a/b c"}
        assert is_stored(s3, bucket, KEY)

    def test_a_part_is_read(self, s3: Any, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key=KEY, Body=SOUND)

        with s3.get_object(Bucket=bucket, Key=KEY, Range="bytes=10-19")["Body"] as body:
            assert body.read() == SOUND[10:20]

    def test_an_upload_in_parts_passes(self, s3: Any, bucket: str) -> None:
        s3.upload_fileobj(io.BytesIO(SOUND * 5), bucket, KEY)

        with s3.get_object(Bucket=bucket, Key=KEY)["Body"] as body:
            assert hashlib.sha256(body.read()).digest() == hashlib.sha256(SOUND * 5).digest()

    def test_a_refusal_of_an_upload_in_chunks_passes(self, s3: Any, bucket: str) -> None:
        chunks = (SOUND[at : at + 100_000] for at in range(0, len(SOUND), 100_000))
        url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": KEY})
        address = urlsplit(url)
        with closing(HTTPConnection(address.netloc)) as connection:
            connection.request(
                "PUT",
                f"{address.path}?{address.query}",
                chunks,
                {"Transfer-Encoding": "chunked"},
                encode_chunked=True,
            )
            # Ceph needs the length in advance.
            assert connection.getresponse().status == 411

    def test_the_stores_own_refusals_pass(self, s3: Any, bucket: str) -> None:
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket=bucket, Key="nothing/here")

        assert caught.value.response["Error"]["Code"] == "NoSuchKey"

    def test_the_proxy_can_be_cut_and_mended(self, s3: Any, bucket: str, proxy: StoreProxy) -> None:
        proxy.cut()
        with pytest.raises(ReadTimeoutError):
            s3.head_bucket(Bucket=bucket)
        proxy.mend()

        s3.head_bucket(Bucket=bucket)


class TestRefusals:
    @pytest.mark.parametrize(
        ("misbehaviour", "status"),
        [(Misbehaviour.INTERNAL_ERROR, 500), (Misbehaviour.SLOW_DOWN, 503)],
    )
    @pytest.mark.parametrize("content", [b"", SOUND], ids=["nothing", "much"])
    def test_an_upload_is_refused(
        self,
        s3: Any,
        bucket: str,
        proxy: StoreProxy,
        misbehaviour: Misbehaviour,
        status: int,
        content: bytes,
    ) -> None:
        key = new_key()
        proxy.fail(misbehaviour, method="PUT")

        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=bucket, Key=key, Body=content)

        assert caught.value.response["Error"]["Code"] == misbehaviour
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
        assert not is_stored(s3, bucket, key)
        assert proxy.hits == {misbehaviour: 1}

    def test_a_head_is_refused_without_a_body(
        self, s3: Any, bucket: str, proxy: StoreProxy
    ) -> None:
        proxy.fail(Misbehaviour.SLOW_DOWN)

        with pytest.raises(ClientError, match="503"):
            s3.head_bucket(Bucket=bucket)

    def test_the_consumers_adapter_tries_again(self, store: Store, proxy: StoreProxy) -> None:
        proxy.fail(Misbehaviour.SLOW_DOWN, method="PUT")

        store.write(KEY, SOUND, content_type="audio/ogg")

        assert proxy.hits == {Misbehaviour.SLOW_DOWN: 1}
        assert store.read(KEY) == SOUND


class TestConnections:
    def test_a_cut_proxy_does_not_answer(self, s3: Any, bucket: str, proxy: StoreProxy) -> None:
        proxy.fail(Misbehaviour.HANG)

        with pytest.raises(ReadTimeoutError):
            s3.head_bucket(Bucket=bucket)

    def test_a_connection_is_reset_before_anything(
        self, s3: Any, bucket: str, proxy: StoreProxy
    ) -> None:
        proxy.fail(Misbehaviour.RESET)

        with pytest.raises(HTTPClientError):
            s3.head_bucket(Bucket=bucket)

    def test_an_upload_is_cut_and_nothing_is_stored(
        self, s3: Any, direct: Any, bucket: str, proxy: StoreProxy
    ) -> None:
        key = new_key()
        proxy.fail(Misbehaviour.CUT_UPLOAD)

        with pytest.raises(HTTPClientError):
            s3.put_object(Bucket=bucket, Key=key, Body=SOUND)

        assert not is_stored(direct, bucket, key)

    def test_an_upload_is_stored_and_its_answer_is_lost(
        self, s3: Any, direct: Any, bucket: str, proxy: StoreProxy
    ) -> None:
        key = new_key()
        proxy.fail(Misbehaviour.LOSE_ANSWER)

        with pytest.raises(ConnectionClosedError):
            s3.put_object(Bucket=bucket, Key=key, Body=SOUND)

        with direct.get_object(Bucket=bucket, Key=key)["Body"] as body:
            assert body.read() == SOUND

    @pytest.mark.parametrize("misbehaviour", [Misbehaviour.CUT_DOWNLOAD, Misbehaviour.END_DOWNLOAD])
    def test_a_download_breaks_off_at_half(
        self, s3: Any, bucket: str, proxy: StoreProxy, misbehaviour: Misbehaviour
    ) -> None:
        s3.put_object(Bucket=bucket, Key=KEY, Body=SOUND)
        proxy.fail(misbehaviour)

        pieces: list[bytes] = []
        # In a `with` block urllib3 would take half a body for the whole.
        body = s3.get_object(Bucket=bucket, Key=KEY)["Body"]
        with closing(body), pytest.raises(BotoCoreError):
            pieces += iter(partial(body.read, 65536), b"")

        assert proxy.hits == {misbehaviour: 1}
        assert body.tell() <= len(SOUND) // 2

    def test_a_download_that_broke_off_is_taken_up_again(
        self, store: Store, proxy: StoreProxy
    ) -> None:
        store.write(KEY, SOUND, content_type="audio/ogg")
        proxy.fail(Misbehaviour.CUT_DOWNLOAD)
        file = io.BytesIO()

        store.download(KEY, file)

        assert file.getvalue() == SOUND
        assert proxy.hits == {Misbehaviour.CUT_DOWNLOAD: 1}

    def test_half_of_a_download_passes_for_the_whole(
        self, s3: Any, bucket: str, proxy: StoreProxy
    ) -> None:
        s3.put_object(Bucket=bucket, Key=KEY, Body=SOUND)
        proxy.fail(Misbehaviour.SHORTEN_DOWNLOAD)

        answer = s3.get_object(Bucket=bucket, Key=KEY)
        with answer["Body"] as body:
            assert body.read() == SOUND[: len(SOUND) // 2]
        assert answer["ContentLength"] == len(SOUND) // 2


class TestRules:
    def test_only_matching_requests_fail(self, s3: Any, bucket: str, proxy: StoreProxy) -> None:
        proxy.fail(Misbehaviour.SLOW_DOWN, method="PUT", key=r"\.opus$", times=None)

        s3.put_object(Bucket=bucket, Key="a.json", Body=b"{}")
        s3.list_objects_v2(Bucket=bucket, Prefix="a.opus")
        for _ in range(3):
            with pytest.raises(ClientError):
                s3.put_object(Bucket=bucket, Key="sub/a b.opus", Body=b"sound")

        assert proxy.hits == {Misbehaviour.SLOW_DOWN: 3}

    def test_an_answer_without_a_body_is_not_cut_and_does_not_count(
        self, s3: Any, bucket: str, proxy: StoreProxy
    ) -> None:
        proxy.fail(Misbehaviour.CUT_DOWNLOAD)
        proxy.fail(Misbehaviour.CUT_UPLOAD)

        s3.head_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="empty", Body=b"")
        s3.get_object(Bucket=bucket, Key="empty")["Body"].close()

        assert not proxy.hits

    def test_the_proxy_fails_as_often_as_asked(
        self, s3: Any, bucket: str, proxy: StoreProxy
    ) -> None:
        proxy.fail(Misbehaviour.SLOW_DOWN, times=2)
        proxy.fail(Misbehaviour.SLOW_DOWN, times=1)

        for _ in range(3):
            with pytest.raises(ClientError):
                s3.head_bucket(Bucket=bucket)
        s3.head_bucket(Bucket=bucket)

    def test_a_rule_is_healed_and_others_stay(
        self, s3: Any, bucket: str, proxy: StoreProxy
    ) -> None:
        rule = proxy.fail(Misbehaviour.SLOW_DOWN, times=None, method="HEAD")
        proxy.fail(Misbehaviour.SLOW_DOWN, times=None, method="GET")

        proxy.heal(rule)
        s3.head_bucket(Bucket=bucket)
        with pytest.raises(ClientError):
            s3.list_objects_v2(Bucket=bucket)
        proxy.heal()

        s3.list_objects_v2(Bucket=bucket)

    def test_the_proxy_fails_with_a_probability(
        self, s3: Any, bucket: str, proxy: StoreProxy
    ) -> None:
        proxy.fail(Misbehaviour.SLOW_DOWN, times=None, probability=0.5)
        for _ in range(60):
            try:
                s3.head_bucket(Bucket=bucket)
            except ClientError:
                continue

        assert 15 <= proxy.hits[Misbehaviour.SLOW_DOWN] <= 45

    def test_a_store_that_refuses_for_ever_is_a_passing_error(
        self, store: Store, proxy: StoreProxy
    ) -> None:
        proxy.fail(Misbehaviour.INTERNAL_ERROR, times=None)

        with pytest.raises(TransientError, match="InternalError"):
            store.write(KEY, b"sound", content_type="audio/ogg")


def test_the_target_is_a_plain_endpoint_on_this_machine() -> None:
    with pytest.raises(ValueError, match="not an endpoint"):
        StoreProxy("https://s3.example.org")


def test_a_store_that_goes_down_and_comes_back(s3: Any, bucket: str, gateway: CephGateway) -> None:
    gateway.kill()
    with pytest.raises(HTTPClientError):
        s3.head_bucket(Bucket=bucket)
    gateway.start()

    s3.head_bucket(Bucket=bucket)

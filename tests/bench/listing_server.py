"""A consistent archive: its keys, its rows, and a server that lists it.

A million objects take an hour to put. What a store answers when it is asked to list them
does not depend on that, so `listing_server` answers it without having them: faster than
any real one, beside which everything else then weighs the more.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, urlsplit

import psycopg

from events.keys import ARCHIVES, PROCESSED, AudioId, BatchId
from tests.harness.servers.grounds import ServerError

ETAG = "d41d8cd98f00b204e9800998ecf8427e"

_BEGINNING = datetime(2025, 6, 22, tzinfo=UTC)
_PAGE = 1000

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>bucket</Name><EncodingType>url</EncodingType><MaxKeys>1000</MaxKeys>"
    "<IsTruncated>{more}</IsTruncated><KeyCount>{number}</KeyCount>"
    "<NextContinuationToken>{following}</NextContinuationToken>"
)
_ENTRY = (
    "<Contents><Key>{key}</Key><LastModified>2025-06-23T00:00:00.000Z</LastModified>"
    f"<ETag>&quot;{ETAG}&quot;</ETag><Size>12345</Size><StorageClass>STANDARD</StorageClass>"
    "</Contents>"
)
_END = "</ListBucketResult>"


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of an archive."""

    batches: int
    recordings: int

    @property
    def ids(self) -> Iterator[BatchId]:
        """The batches, in order."""
        for number in range(self.batches):
            yield BatchId.new(_BEGINNING + timedelta(seconds=number), b"\xa1\xb2\xc3")

    @property
    def archives(self) -> Iterator[str]:
        """The keys under ``archives/``, in order."""
        return (batch.archive_key for batch in self.ids)

    @property
    def processed(self) -> Iterator[str]:
        """The keys under ``processed/``, in order."""
        for batch in self.ids:
            for ordinal in range(self.recordings):
                audio = AudioId(batch, ordinal)
                yield audio.opus_key
                yield audio.transcript_key
            yield batch.complete_key
            yield batch.manifest_key
            yield batch.review_key

    @property
    def objects(self) -> int:
        """How many there are under ``processed/``."""
        return self.batches * (2 * self.recordings + 3)

    def put_rows(self, url: str) -> None:
        """Write the rows of an archive that is done."""
        with psycopg.connect(url, autocommit=True) as connection:
            with connection.cursor().copy(
                "COPY batches (batch_id, archive_key, etag) FROM STDIN"
            ) as rows:
                for batch in self.ids:
                    rows.write_row((str(batch), batch.archive_key, ETAG))
            connection.execute(
                "UPDATE batches SET dropped_at = now(), sealed_at = now(), completed_at = now(),"
                " announced_at = now(), itemised_at = now()"
            )
            connection.execute(
                "INSERT INTO recordings (batch_id, ordinal, state, path, opus_key, transcript_key,"
                " finished_at)"
                " SELECT batch_id, n, 'transcribed', 'tapes/' || n, stem || '.opus',"
                " stem || '.transcript.json', now()"
                " FROM batches, generate_series(0, %s - 1) AS n,"
                " LATERAL (SELECT %s || batch_id || '-' || lpad(n::text, 7, '0') AS stem) AS named",
                [self.recordings, f"{PROCESSED}{_BEGINNING.date()}/"],
            )
            connection.execute("VACUUM (ANALYZE)")


@contextmanager
def listing_server(shape: Shape) -> Iterator[str]:
    """Answer listings of an archive while the block runs; yields the endpoint."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(shape, its), daemon=True)
    process.start()
    # The process then has the only other end, so that its death ends the wait.
    its.close()
    try:
        yield f"http://127.0.0.1:{_told(ours)}"
    finally:
        process.kill()
        process.join()


def _told(port: Connection) -> int:
    try:
        number: int = port.recv()
    except EOFError as exc:
        raise ServerError("the server of listings did not start") from exc
    return number


def _serve(shape: Shape, port: Connection) -> None:
    pages = {ARCHIVES: _pages(shape.archives), PROCESSED: _pages(shape.processed)}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            """Confirm the bucket, and date the answer."""
            self._answer(b"")

        def do_GET(self) -> None:
            """Send a page of a listing."""
            asked = parse_qs(urlsplit(self.path).query)
            number = int(asked.get("continuation-token", ["0"])[0])
            self._answer(pages[asked["prefix"][0]][number])

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


def _pages(keys: Iterator[str]) -> Sequence[bytes]:
    """Write the answers, of a thousand keys each."""
    pages = []
    for number, page in enumerate(iter(lambda: list(islice(keys, _PAGE)), [])):
        head = _HEAD.format(more="{more}", number=len(page), following=number + 1)
        pages.append(head + "".join(_ENTRY.format(key=key) for key in page) + _END)
    last = len(pages) - 1
    return [
        page.replace("{more}", "false" if number == last else "true", 1).encode()
        for number, page in enumerate(pages)
    ]

"""Messages that end the process that takes them, and messages that no library can read."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.servers.rabbitmq import RabbitNode
from tests.broker.queues import RabbitQueues
from tests.contracts.loop import Recorder, notification, running, settled

ROOT = Path(__file__).parents[2]

LIMIT = 3


@contextmanager
def consumer(url: str, group: int, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "tests.broker.consumer", url, str(LIMIT), str(group)]
    with (
        output.open("ab") as file,
        subprocess.Popen(argv, cwd=ROOT, stdout=file, stderr=subprocess.DEVNULL) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("group", [1, 4])
def test_what_kills_its_consumers_is_put_away_and_its_neighbours_are_done(
    node: RabbitNode, tmp_path: Path, group: int
) -> None:
    url, output = node.vhost(), tmp_path / "done"
    output.touch()
    names = ["a", "b", "poison", "c", "d", "e"]
    deaths = 0
    with RabbitQueues(url, delivery_limit=LIMIT) as queues:
        queues.send(*())  # A test event of no object, as stores send.
        for name in names:
            queues.send(f"archives/{name}.tar")
        end = time.monotonic() + 90
        while not queues.ready(f"{queues.queue}-dead") and time.monotonic() < end:
            with consumer(url, group, output) as process:
                while process.poll() is None and not queues.ready(f"{queues.queue}-dead"):
                    time.sleep(0.05)
                deaths += process.poll() is not None
        (letter,) = queues.dead()
        with consumer(url, group, output):
            while len(set(output.read_text().split())) < 5 and time.monotonic() < end:
                time.sleep(0.05)
        assert queues.dead() == [letter]
    assert letter["reason"] == "lost"
    assert "archives/poison.tar" in letter["body"]
    assert set(output.read_text().split()) == {f"archives/{n}.tar" for n in names if n != "poison"}
    assert deaths == LIMIT


UNREADABLE = [
    {"application_headers": {"compression": "application/x-gzip"}},
    {"application_headers": {"compression": 7}},
    {"application_headers": {"dropscribe-attempt": "many", "dropscribe-losses": "some"}},
    {"content_type": "application/x-python-serialize", "content_encoding": "binary"},
    {"content_encoding": "rot13"},
    {"content_encoding": "utf-16"},
    {"content_encoding": "no such encoding"},
]


@pytest.mark.parametrize("properties", UNREADABLE)
def test_what_its_sender_calls_the_body_does_not_matter(
    queues: RabbitQueues, properties: dict[str, object]
) -> None:
    handler = Recorder(lambda _: None)
    queues.send(body=b"\xff\xfe\x00 no JSON", **properties)
    queues.send(body=notification(["archives/a.tar"]).encode(), **properties)
    with running(queues, handler):
        settled(queues)
    assert len(queues.dead()) + len(handler.keys) == 2
    assert len(queues.dead()) >= 1

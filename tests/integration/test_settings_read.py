"""Each command reads exactly the settings that its help lists, on the embedded servers."""

from __future__ import annotations

import io
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from consumers.database.batches import BatchRepository
from consumers.documents.review.item_list import read_items
from consumers.store import Store
from ops.cli.commands import consume
from ops.cli.main import main
from ops.cli.settings_page import commands
from ops.policies import EXAMPLES
from ops.wiring.adapters import Adapters
from ops.wiring.environment import Environment
from tests.harness.deployment.stand_ins import LengthRecogniser, WordJudge
from tests.integration.conftest import Pipeline
from tests.integration.reviewing import BAD, BATCH, ReviewBatch
from tests.samples import archive

COMMANDS = dict(commands())

#: These hand settings to other processes; test_settings_help.py compares the list with the help.
EMBEDDED = {"try", "up"}

POLICY = str(EXAMPLES / "hate.md")

Read = Callable[..., set[str]]


@pytest.fixture
def read(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], scratch_root: Path, tmp_path: Path
) -> Read:
    """Run a command, and name the settings that it read."""
    seen: set[str] = set()

    class Recording(Environment):
        def _check(self, name: str) -> None:
            super()._check(name)
            seen.add(name)

    monkeypatch.setattr("ops.cli.settings.Environment", Recording)
    given = {
        **variables,
        "MODELS_ROOT": str(tmp_path),
        "POLICIES_ROOT": str(EXAMPLES),
        "SCRATCH_ROOT": str(scratch_root),
        "STORE_KIND": "aws",
        "TRANSFER_ATTEMPTS": "1",
        "TRANSFER_ROOT": str(tmp_path / "transfer"),
        "WHISPER_MODEL": "tiny",
    }

    def read(*arguments: str, **others: str) -> set[str]:
        seen.clear()
        CliRunner().invoke(main, arguments, env={**given, **others})
        return set(seen)

    return read


def declared(name: str) -> set[str]:
    return {variable.name for variable in COMMANDS[name].variables}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("dead discard", ("--batch", BATCH, "--yes")),
        ("dead list", ("--batch", BATCH)),
        ("dead replay", ("--all",)),
        ("dead show", ("0123456789ab",)),
        ("policy check", (POLICY,)),
        ("policy list", ()),
        ("policy try", (POLICY, "north wind")),
        ("rebuild", (BATCH, "--yes")),
        ("release", (BATCH,)),
        ("reprocess", (BATCH,)),
        ("review export", ()),
        ("review figures", ()),
        ("review list", ()),
        ("search", ("north wind",)),
        ("sweep", ("--dry-run",)),
    ],
)
def test_a_command_reads_the_settings_of_its_help(
    read: Read, name: str, arguments: Sequence[str]
) -> None:
    assert read(*name.split(), *map(str, arguments)) == declared(name)


@pytest.mark.usefixtures("environment")
def test_status_reads_the_store_only_for_members(read: Read) -> None:
    assert read("status") | read("status", str(BATCH), "--members") == declared("status")


def test_bootstrap_and_health_read_the_settings_of_their_help(read: Read) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        # Only a RabbitMQ has queues for delays.
        rabbitmq = f"amqp://guest:guest@127.0.0.1:{closed.getsockname()[1]}"
        for name in ("bootstrap", "health"):
            seen = read(name) | read(name, BROKER_URL=rabbitmq, STORE_KIND="minio")
            assert seen == declared(name)


def test_drop_reads_the_settings_of_its_help(
    read: Read, pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.start(transcribers=0, reviewers=0)
    assert read("drop", "--wait", str(archive(tmp_path, b"no archive"))) == declared("drop")


def test_transfer_reads_the_settings_of_its_help(read: Read) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        source = f"ssh://rec@127.0.0.1:{closed.getsockname()[1]}/srv/*.tar"
        assert read("transfer", "--dry-run", source) == declared("transfer")


def test_reviewers_read_the_settings_of_their_help(
    read: Read,
    environment: Environment,
    store: Store,
    database: BatchRepository,
    scratch_root: Path,
    tmp_path: Path,
) -> None:
    batch = ReviewBatch(environment, store, database, scratch_root)
    batch.add(1, BAD)
    assert batch.review(batch.complete()) == [None]
    clip = str(tmp_path / "clip.ogg")
    assert read("transcripts", str(BATCH)) == declared("transcripts")
    assert read("review", "next", "--as", "Ada", "--clip", clip) == declared("review next")
    item = next(read_items(io.BytesIO(store.read(BATCH.review_key))))
    assert read("review", "show", item.item_id, "--clip", clip) == declared("review show")
    decision = ("decide", item.item_id, "uphold", "--as", "Ada")
    assert read("review", *decision) == declared("review decide")


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put back the handlers of signals, which a consumer takes over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("environment", "handlers")
def test_consumers_read_the_settings_of_their_help(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage is put together, and then nothing is consumed."""
    adapters = Adapters(
        recogniser=lambda *_: LengthRecogniser(), judge=lambda *_: nullcontext(WordJudge())
    )
    run = partial(consume.run_consumers, adapters=adapters)
    monkeypatch.setattr(consume, "run_consumers", run)
    monkeypatch.setattr(consume, "_run", lambda *_: None)
    assert read("consume", "unpack", "transcribe", "moderate", "review") == declared("consume")


def test_every_command_is_run_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f'"{name}"' not in source and name not in EMBEDDED] == []

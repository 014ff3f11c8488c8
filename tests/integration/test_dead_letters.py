"""Dead letters on SQS, and the commands about them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from consumers.database.batches import BatchRepository
from consumers.documents.manifest import Archive
from consumers.errors import TransientError
from consumers.stages.transcribe import Transcribe
from events.event import ObjectCreated
from events.keys import AudioId, BatchId
from ops.cli.batch_progress import look
from ops.cli.main import main
from ops.recovery.dead_letters import DeadLetterFilter, find
from ops.wiring.environment import Environment
from tests.contracts.dead_letters import BATCH, DeadLettersContract, die, send_again
from tests.contracts.loop import POISON, ROUTE, Recorder, notification, running, settled
from tests.harness.polling import eventually
from tests.harness.samples.archives import tar_of
from tests.integration.conftest import Pipeline
from tests.integration.queues import EmbeddedQueues
from tests.samples import RECORDINGS, archive

ONLY = DeadLetterFilter(routes=(ROUTE,))

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto is one server, and nobody else looks at its letters."""
    monkeypatch.setattr("consumers.broker.sqs_dead_letters._LONG_POLL", 0)
    monkeypatch.setattr("ops.recovery.dead_letters._PAUSE", 0)


@pytest.fixture
def queues(environment: Environment) -> EmbeddedQueues:
    return EmbeddedQueues(environment)


@pytest.fixture
def run(variables: dict[str, str]) -> Run:
    def run(*arguments: str, **others: Any) -> Result:
        return CliRunner().invoke(main, ["dead", *arguments], env=variables, **others)

    return run


def printed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class TestDeadLettersOnSqs(DeadLettersContract):
    """The contract."""


@pytest.mark.parametrize("attempt", [None, 3])
def test_messages_that_sqs_dead_lettered_can_be_shown_and_replayed(
    queues: EmbeddedQueues, attempt: int | None
) -> None:
    body = notification(["archives/a.tar"])
    queues.send(body=body if attempt is None else envelope(body, attempt))
    # The store's test event lies there, too.
    while queues.dead_count() < 2:
        queues.take_and_leave()
    letters = find(queues.dead_letters(), ONLY)
    (letter,) = (letter for letter in letters if letter.keys)
    assert letter.reason == "lost"
    assert letter.error.startswith("SQS dead-lettered it, as it was redelivered too often")
    assert letter.attempts == (attempt or 1)
    assert letter.text == body
    assert send_again(queues, [letter.id]) == [letter.id]
    handler = Recorder(lambda _: None)
    with running(queues, handler):
        settled(queues)
    assert handler.keys == ["archives/a.tar"]


def envelope(body: str, attempt: int) -> str:
    """Wrap a message as kombu does."""
    wrapped = {
        "body": base64.b64encode(body.encode()).decode(),
        "headers": {"dropscribe-attempt": attempt},
        "properties": {"body_encoding": "base64"},
    }
    return base64.b64encode(json.dumps(wrapped).encode()).decode()


def away(_: Transcribe, events: Sequence[ObjectCreated]) -> Sequence[Exception | None]:
    return [TransientError("the GPU is away") for _ in events]


def listed(run: Run, batch: BatchId) -> list[dict[str, Any]]:
    letters = printed(run("list", "--batch", str(batch), "--json"))["letters"]
    return sorted(letters, key=lambda letter: str(letter["keys"]))


def test_exhausted_letters_are_listed_replayed_and_finished(
    run: Run,
    pipeline: Pipeline,
    database: BatchRepository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Transcribe, "handle", away)
        pipeline.start()
        batch = pipeline.drop(archive(tmp_path, tar_of(RECORDINGS)))
        assert pipeline.wait(batch).state == "stalled"
        letters = eventually(
            lambda: (
                all_of_them if len(all_of_them := listed(run, batch)) == len(RECORDINGS) else None
            )
        )
    assert {letter["reason"] for letter in letters} == {"exhausted"}
    assert {letter["error"] for letter in letters} == {"the GPU is away"}
    assert {letter["attempts"] for letter in letters} == {4}
    assert listed(run, batch) == letters
    replayed = printed(run("replay", "--batch", str(batch), "--json"))
    assert sorted(replayed["replayed"]) == sorted(letter["id"] for letter in letters)
    assert pipeline.wait(batch).state == "complete"
    assert listed(run, batch) == []


@pytest.mark.parametrize("key", [BATCH.archive_key, "archives/interviews.zip"])
def test_a_batch_that_was_stalled_goes_on_once_its_letter_is_replayed(
    run: Run, queues: EmbeddedQueues, database: BatchRepository, key: str
) -> None:
    database.register(
        Archive(batch=BATCH, key=key, etag="e", size=1, original_name="a", dropped_at=BATCH.time)
    )
    database.stall_batch(BATCH, "the disk is full")
    queues.put_dead(notification([key]))
    queues.put_dead(notification(["archives/another.zip"]))
    assert look(database, BATCH).state == "stalled"
    assert len(printed(run("replay", "--batch", str(BATCH), "--json"))["replayed"]) == 1
    assert look(database, BATCH).state != "stalled"
    assert queues.dead_count() == 1


def test_a_stalled_recording_continues_after_a_replay(
    run: Run, queues: EmbeddedQueues, database: BatchRepository
) -> None:
    audio = AudioId(BATCH, 3)
    database.stall_recording(audio, "no GPU")
    queues.put_dead(notification([audio.opus_key]))
    assert database.unfinished(BATCH)[1] == 1
    assert printed(run("replay", "--all", "--json"))["replayed"]
    assert database.unfinished(BATCH)[1] == 0


def test_a_letter_is_shown_with_its_message(run: Run, queues: EmbeddedQueues) -> None:
    die(queues, BATCH.archive_key)
    (letter,) = printed(run("list", "--json"))["letters"]
    result = run("show", letter["id"])
    assert result.exit_code == 0
    assert "error:    no sound" in result.stdout
    assert f'          "key": "{BATCH.archive_key}"\n' in result.stdout
    shown = printed(run("show", letter["id"], "--json"))
    assert shown == {**letter, "body": notification([BATCH.archive_key])}
    assert run("list").stdout.count(str(letter["id"])) == 1


def test_any_message_can_be_shown(run: Run, queues: EmbeddedQueues) -> None:
    hostile = [
        *POISON,
        "\x1b]0;title\x07",
        json.dumps({"reason": "[bold]\x1b[2J", "error": "[/]\ud800", "body": "\ud800"}),
        json.dumps({"reason": "lost", "error": "", "body": "", "attempts": {}, "dead_at": 7}),
        notification(["archives/\ud800\x1b[2J.tar"]),
    ]
    for body in hostile:
        queues.put_dead(body)
    table = run("list")
    assert table.exit_code == 0, table.output
    letters = printed(run("list", "--json"))["letters"]
    assert len(letters) == len(hostile)
    for letter in letters:
        shown = run("show", letter["id"])
        assert shown.exit_code == 0, shown.output
        assert "\x1b" not in shown.stdout + table.stdout


def test_a_missing_letter_is_an_error(run: Run, queues: EmbeddedQueues) -> None:
    die(queues, "archives/a.tar")
    (letter,) = printed(run("list", "--json"))["letters"]
    result = run("replay", letter["id"], "0" * 12)
    assert result.exit_code == 1
    assert f"replayed  {letter['id']}  unpack  archives/a.tar" in result.stdout
    assert f"there is no dead letter {'0' * 12}" in result.stderr
    assert run("show", letter["id"]).exit_code == 1
    assert "no dead letters" in run("list").stdout
    assert "no dead letters" in run("replay", "--all").stdout


def test_nothing_is_thrown_away_by_mistake(run: Run, queues: EmbeddedQueues) -> None:
    queues.put_dead("x")
    assert run("replay").exit_code == 2
    assert run("discard", "--yes").exit_code == 2
    assert run("discard", "--all").exit_code == 2
    assert run("discard", "--all", "--yes", "0" * 12).exit_code == 2
    assert queues.dead_count() == 1
    assert "discarded" in run("discard", "--reason", "lost", "--yes").stdout
    assert queues.dead_count() == 0


@pytest.mark.parametrize(("answer", "left"), [("n", 1), ("y", 0)])
def test_discard_asks_for_confirmation_on_a_terminal(
    run: Run, queues: EmbeddedQueues, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    monkeypatch.setattr("ops.cli.output._is_terminal", lambda: True)
    queues.put_dead("x")
    result = run("discard", "--all", input=f"{answer}\n")
    assert "Delete 1 dead letters for good?" in result.stderr
    assert result.exit_code == left
    assert queues.dead_count() == left


def test_a_limit_shows_the_first_letters(run: Run, queues: EmbeddedQueues) -> None:
    for number in range(12):
        queues.put_dead(str(number))
    shown = printed(run("list", "--limit", "3", "--json"))
    assert len(shown["letters"]) == 3
    assert shown["more"]
    assert "more than these 3" in run("list", "--limit", "3").stdout
    assert not printed(run("list", "--limit", "12", "--json"))["more"]
    assert queues.dead_count() == 12


def test_help_teaches(run: Run) -> None:
    result = run("--help")
    assert "\n  exhausted   a server was unreachable" in result.stdout
    for name in ("list", "show", "replay", "discard"):
        assert name in result.stdout
        assert run(name, "--help").exit_code == 0

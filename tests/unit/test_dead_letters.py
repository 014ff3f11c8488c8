"""Any message in a dead-letter queue is read as a dead letter."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from consumers.broker.dead_letters import BrokerDeath, DeadLetterIds, StoredDeadLetter
from consumers.broker.sqs_dead_letters import open_envelope
from events.notification import encode
from events.routes import ROUTES
from ops.cli.render.dead_letters import letter_as_json, letter_in_full, letters_table

MARK = BrokerDeath("nobody knows", 1, None)

ROUTE = ROUTES[0]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)

FIELDS = ["reason", "error", "body", "attempts", "dead_at", "route"]

LETTERS = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON))

#: Texts in every field that has to be one, so that it is taken for ours.
OURS = st.builds(
    lambda letter, reason, error, body: {**letter, "reason": reason, "error": error, "body": body},
    LETTERS,
    *[st.text(st.characters())] * 3,
)


def read(stored: str | bytes) -> StoredDeadLetter:
    return StoredDeadLetter.read(DeadLetterIds(ROUTE).of(stored), ROUTE, stored, MARK)


@given(st.binary() | st.text() | (LETTERS | OURS | JSON).map(json.dumps))
def test_anything_can_be_read_and_shown_and_sent(stored: str | bytes) -> None:
    letter = read(stored)
    row = letter_as_json(letter)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(letters_table([row]))
    shown = captured.get() + letter_in_full(letter)
    assert not set(shown) & {"\x1b", "\x07", "\x9b"}
    (shown + json.dumps(row, ensure_ascii=False)).encode()
    if isinstance(letter.body, str):
        letter.body.encode()


@given(st.text(), st.text(), st.text(), st.integers(1, 9))
def test_a_written_letter_is_read_back(reason: str, error: str, body: str, attempts: int) -> None:
    written = {"route": "unpack", "reason": reason, "error": error, "attempts": attempts}
    letter = read(json.dumps({**written, "dead_at": "2025-06-22T14:30:52+00:00", "body": body}))
    assert (letter.reason, letter.error, letter.body) == (reason, error, body)
    assert letter.attempts == attempts
    assert letter.dead_at is not None


def test_foreign_messages_become_lost_letters() -> None:
    letter = read(encode("b", "archives/a.tar"))
    assert (letter.reason, letter.error, letter.attempts) == ("lost", "nobody knows", 1)
    assert letter.keys == ("archives/a.tar",)


def test_ids_differ_by_route_and_content_and_equal_letters_are_counted() -> None:
    unpack, transcribe = DeadLetterIds(ROUTES[0]), DeadLetterIds(ROUTES[1])
    first = unpack.of("x")
    assert len(first) == 12
    assert unpack.of("y") != first
    assert unpack.of(b"x") == f"{first}-2"
    assert transcribe.of("x") != first
    assert DeadLetterIds(ROUTES[0]).of("x") == first


@given(st.binary() | st.text(st.characters(exclude_categories=["Cs"])))
def test_kombus_envelope_is_unwrapped(body: bytes | str) -> None:
    content = body if isinstance(body, bytes) else body.encode()
    wrapped = {
        "body": base64.b64encode(content).decode(),
        "headers": {"dropscribe-attempt": 2},
        "properties": {"body_encoding": "base64"},
    }
    opened, headers = open_envelope(base64.b64encode(json.dumps(wrapped).encode()).decode())
    assert (opened if isinstance(opened, bytes) else opened.encode()) == content
    assert headers == {"dropscribe-attempt": 2}


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"body": 7, "properties": {}, "headers": {}}'])
def test_a_body_like_an_envelope_stays_unchanged(nested: str) -> None:
    stored = base64.b64encode(nested.encode()).decode()
    assert open_envelope(stored) == (stored, {})


@given(st.text() | JSON.map(lambda value: base64.b64encode(json.dumps(value).encode()).decode()))
def test_other_bodies_stay_unchanged(stored: str) -> None:
    assert open_envelope(stored) == (stored, {})

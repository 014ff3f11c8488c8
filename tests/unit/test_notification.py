"""Bucket notifications in five dialects, decoded to one event."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.event import ObjectCreated, happened_before
from events.notification import MalformedNotificationError, decode, encode

SAMPLES = Path(__file__).parent / "notifications"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.json").read_text(encoding="utf-8")


def record(**changes: Any) -> dict[str, Any]:
    """A Ceph record, in which keys are raw, with its object's fields changed."""
    document: dict[str, Any] = json.loads(sample("ceph"))["Records"][0]
    document["s3"]["object"].update(changes)
    return document


def message(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": list(records)})


@pytest.mark.parametrize(
    ("name", "source", "keys"),
    [
        ("aws", "aws", ["archives/a b+ü.tar"]),
        ("aws-by-sns", "aws", ["archives/a b+ü.tar"]),
        ("aws-restored", "aws", ["archives/a b+ü.tar"]),
        ("eventbridge", "eventbridge", ["archives/a+b%2B c.tar"]),
        ("eventbridge-restored", "eventbridge", ["archives/a+b%2B c.tar"]),
        ("minio", "minio", ["archives/a b.tar"]),
        ("minio-empty-object", "minio", ["archives/empty.tar"]),
        ("rustfs", "rustfs", ["archives/a b.tar"]),
        ("ceph", "ceph", ["archives/a b+ü.tar", "archives/a+b%2B c.tar"]),
    ],
)
def test_each_dialect_gives_the_key_that_get_needs(name: str, source: str, keys: list[str]) -> None:
    events = decode(sample(name))
    assert [event.key for event in events] == keys
    assert {event.source for event in events} == {source}
    assert {event.bucket for event in events} == {"audio-pipeline"}


@pytest.mark.parametrize("name", [path.stem for path in sorted(SAMPLES.glob("*.json"))])
def test_bytes_and_text_say_the_same(name: str) -> None:
    assert decode(sample(name).encode()) == decode(sample(name))


def test_an_event_has_the_facts_of_its_record() -> None:
    event = decode(sample("aws"))[0]
    assert event.size == 10
    assert event.etag == "336311a016184326ddbdd61edd4eeb52"
    assert event.time is not None
    assert event.time.isoformat() == "2026-11-22T10:38:43.317000+00:00"
    assert event.sequencer is None


def test_several_records_in_a_message_are_several_events() -> None:
    assert len(decode(message(record(), record(), record()))) == 3


def test_the_stores_test_message_is_no_event() -> None:
    assert decode(sample("aws-test-event")) == ()


def test_other_things_than_creations_are_no_events() -> None:
    removed = record()
    removed["eventName"] = "ObjectRemoved:Delete"
    begun = record()
    begun["eventName"] = "ObjectRestore:Post"
    assert decode(message(removed, begun, record())) == decode(message(record()))


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
@pytest.mark.parametrize("prefix", ["", "s3:"])
def test_every_way_to_create_an_object_counts(name: str, prefix: str) -> None:
    created = record()
    created["eventName"] = f"{prefix}ObjectCreated:{name}"
    assert len(decode(message(created))) == 1


@pytest.mark.parametrize(
    ("size", "understood"),
    [
        (10, 10),
        ("10", 10),
        (0, 0),
        (None, None),
        ("", None),
        ("many", None),
        (-1, None),
        (True, None),
    ],
)
def test_a_size_can_be_a_number_or_text_or_missing(size: object, understood: int | None) -> None:
    assert decode(message(record(size=size)))[0].size == understood


def test_an_unreadable_time_costs_only_the_hint() -> None:
    odd = record()
    odd["eventTime"] = "yesterday"
    assert decode(message(odd))[0].time is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        b"\xff\xfe",
        "[]",
        "{}",
        '{"Records": {}}',
        '{"Records": [1]}',
        '{"Message": 7}',
        '{"Message": "{\\"Message\\": \\"{\\\\\\"Message\\\\\\": \\\\\\"{}\\\\\\"}\\"}"}',
        message(record(key="")),
        message(record(key=None)),
        json.dumps({"source": "aws.s3", "detail-type": "Object Created"}),
        sample("aws").replace("aws:s3", "another:s3"),
        sample("minio").replace("archives%2Fa+b.tar", "archives%2F%ff.tar"),
        "[" * 100_000,
    ],
)
def test_malformed_notifications_are_told_from_events(body: str | bytes) -> None:
    with pytest.raises(MalformedNotificationError):
        decode(body)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["Records", "Message", "s3", "object", "bucket", "key", "name", "Event"]
            )
            | st.text(),
            inner,
        )
    ),
)


@given(_json.map(json.dumps) | st.text() | st.binary())
def test_no_body_raises_another_error(body: str | bytes) -> None:
    try:
        events = decode(body)
    except MalformedNotificationError:
        return
    assert all(isinstance(event, ObjectCreated) for event in events)


@given(st.text(min_size=1).filter(lambda key: not any("\ud800" <= c <= "\udfff" for c in key)))
def test_a_raw_key_stays_as_it_is(key: str) -> None:
    assert decode(message(record(key=key)))[0].key == key


def test_sequencers_order_the_events_of_one_key() -> None:
    shorter, longer = (
        decode(message(record(sequencer=sequencer)))[0]
        for sequencer in ("0055AED6DCD90281", "0055AED6DCD90281E5")
    )
    assert happened_before(shorter, longer) is True
    assert happened_before(longer, shorter) is False


def test_events_without_sequencer_or_of_different_keys_have_no_order() -> None:
    first = decode(message(record()))[0]
    assert happened_before(first, decode(message(record(sequencer=None)))[0]) is None
    assert happened_before(first, decode(message(record(key="archives/other.tar")))[0]) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_resent_event_names_the_same_object(key: str) -> None:
    (event,) = decode(encode("audio-pipeline", key))
    assert (event.bucket, event.key, event.source) == ("audio-pipeline", key, "dropscribe")

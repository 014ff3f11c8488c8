"""Publishing through kombu."""

from __future__ import annotations

from typing import Any

from kombu import Producer


def publish(
    channel: Any,
    body: bytes | str,
    queue: str,
    headers: dict[str, object] | None = None,
    **properties: object,
) -> None:
    """Put a message into a queue, as it is.

    Args:
        channel: An open channel of kombu's.
        body: Text is sent as UTF-8, lone surrogates as JSON escapes.
        queue: Its name, which is its routing key at the default exchange.
        headers: None for none.
        properties: For kombu, or for its transport.
    """
    Producer(channel).publish(
        body if isinstance(body, bytes) else body.encode(errors="backslashreplace"),
        routing_key=queue,
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers or {},
        **properties,
    )

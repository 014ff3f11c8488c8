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
        body: What to send; text is sent as UTF-8, and what that can't say (halves of
            characters) as JSON writes it.
        queue: Its name, to which the default exchange leads.
        headers: What to say beside the body.
        properties: What else kombu or its transport are to be told.
    """
    Producer(channel).publish(
        body if isinstance(body, bytes) else body.encode(errors="backslashreplace"),
        routing_key=queue,
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers or {},
        **properties,
    )

"""The envelope in which kombu puts a message on SQS."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any


def open_envelope(stored: str) -> tuple[str | bytes, Mapping[str, Any]]:
    """Take a message out of kombu's envelope.

    Args:
        stored: A message's body as it lies in SQS.

    Returns:
        The body that was put in, as text where it is UTF-8, and its headers;
        ``stored`` itself and no headers where it is no envelope.
    """
    try:
        envelope = json.loads(base64.b64decode(stored, validate=True))
        body = envelope["body"]
        headers = envelope["headers"]
        if envelope["properties"].get("body_encoding") == "base64":
            body = _as_text(base64.b64decode(body, validate=True))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return stored, {}
    if not isinstance(body, str | bytes) or not isinstance(headers, dict):
        return stored, {}
    return body, headers


def _as_text(body: bytes) -> str | bytes:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body

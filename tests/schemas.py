"""Checking stored documents against the published schemas."""

from __future__ import annotations

import json
from pathlib import Path

from jsonschema import Draft202012Validator

from events.keys import COMPLETE, DECISION, MANIFEST, REVIEW, TRANSCRIPT, VERDICT

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"

_NAMES = {
    TRANSCRIPT: "transcript",
    VERDICT: "verdict",
    COMPLETE: "complete",
    REVIEW: "review",
    DECISION: "decision",
}


def check_document(key: str, data: bytes) -> str | None:
    """Validate what is stored under a key; returns the ending of a document's key.

    Raises:
        jsonschema.ValidationError: The document does not match its schema.
    """
    if key.endswith(MANIFEST):
        head, *entries = data.splitlines()
        _validate("manifest-head", head)
        for entry in entries:
            _validate("manifest-entry", entry)
        return MANIFEST
    for suffix, name in _NAMES.items():
        if key.endswith(suffix):
            _validate(name, data)
            return suffix
    return None


def _validate(name: str, data: bytes) -> None:
    schema = json.loads((FOLDER / f"{name}.schema.json").read_bytes())
    Draft202012Validator(schema).validate(json.loads(data))

"""Members' names: bytes that an attacker chose, made safe to judge and to show."""

from __future__ import annotations

import re
import unicodedata

LONGEST_USUAL_NAME = 255
"""Characters; most file systems take no more in one name."""

_DRIVE = re.compile(rb"[A-Za-z]:[/\\]")
_SEPARATORS = re.compile(rb"[/\\]")
# Line separators and the overrides of writing direction deceive whoever reads a listing.
_DECEPTIVE = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def shown_path(raw: bytes) -> str:
    r"""Return ``raw`` as text that can be shown and stored; what cannot becomes ``\xNN``."""
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def path_note(raw: bytes) -> str | None:
    """Say what a person should know about this name, or ``None``."""
    if not raw:
        return "its name is empty"
    text = raw.decode("utf-8", "replace")
    notes = []
    if text.encode() != raw:
        notes.append("its name is not UTF-8")
    if len(text) > LONGEST_USUAL_NAME:
        notes.append(f"its name is {len(text)} characters long")
    return "; ".join(notes) or None


def path_refusal(raw: bytes) -> str | None:
    """Say why a member of this name is not read, or ``None``.

    Backslashes count as separators: an archive does not say on which system it was packed.
    """
    if raw.startswith((b"/", b"\\")) or _DRIVE.match(raw):
        return "has an absolute path"
    if b".." in _SEPARATORS.split(raw):
        return "has '..' in its path, which leads out of the archive"
    return None


def _shown(character: str) -> str:
    if character in _DECEPTIVE or unicodedata.category(character) == "Cc":
        return "".join(f"\\x{byte:02x}" for byte in character.encode())
    return character

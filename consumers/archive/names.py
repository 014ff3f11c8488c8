"""Member names: untrusted bytes, checked and made safe to show."""

from __future__ import annotations

import re
import unicodedata

from consumers.documents.note import Note, NoteCode

LONGEST_USUAL_NAME = 255
"""Characters; the limit for one name on most file systems."""

_DRIVE = re.compile(rb"[A-Za-z]:[/\\]")
_SEPARATORS = re.compile(rb"[/\\]")
# Line separators and direction overrides can make a listing show something else.
_DECEPTIVE = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def shown_path(raw: bytes) -> str:
    r"""Return ``raw`` as text that can be shown and stored; other bytes become ``\xNN``."""
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def path_notes(raw: bytes) -> tuple[Note, ...]:
    """Return remarks for people on this name."""
    if not raw:
        return (Note(NoteCode.NAME, "its name is empty"),)
    text = raw.decode("utf-8", "replace")
    notes = []
    if text.encode() != raw:
        notes.append(Note(NoteCode.NAME, "its name is not UTF-8"))
    if len(text) > LONGEST_USUAL_NAME:
        notes.append(Note(NoteCode.NAME, f"its name is {len(text)} characters long"))
    return tuple(notes)


def path_refusal(raw: bytes) -> str | None:
    """Return why a member of this name is refused, or ``None``.

    Backslashes count as separators: an archive does not name the system that packed it.
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

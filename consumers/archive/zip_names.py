"""The name of a zip member, by the best evidence of its two headers."""

from __future__ import annotations

from consumers.archive.names import path_notes, shown_path
from consumers.archive.zip_headers import StoredName
from consumers.documents.note import Note, NoteCode

_HOSTS_WITH_BACKSLASHES_IN_NAMES = (3, 19)  # Unix and macOS


def best_name(
    central: StoredName, local: StoredName | None, host: int
) -> tuple[bytes, tuple[Note, ...]]:
    """Choose a member's name.

    A Unicode Path field counts most, then the directory's name if it is UTF-8, then the name in
    the member's own header if that one is.

    Args:
        central: Of the directory.
        local: Of the member's own header, if it can be read.
        host: The system that packed it, as the directory says.

    Returns:
        The name, and what is remarkable about it.
    """
    unicode = central.unicode or (local.unicode if local is not None else None)
    if unicode is not None and _is_utf8(unicode):
        return unicode, _if_other(unicode, central.raw, "its name is of its Unicode Path field")
    if _is_utf8(central.raw) and (central.raw or local is None):
        return _checked(central.raw, local, host)
    if local is not None and _is_utf8(local.raw):
        what = "not UTF-8" if central.raw else "empty"
        text = f"its name is of its own header, as the directory's is {what}"
        return local.raw, (Note(NoteCode.NAME, text), *path_notes(local.raw))
    notes = path_notes(central.raw)
    if central.is_marked:
        notes = (Note(NoteCode.NAME, "its name is marked as UTF-8 and is not"), *notes[1:])
    return central.raw, notes


def _checked(name: bytes, local: StoredName | None, host: int) -> tuple[bytes, tuple[Note, ...]]:
    """Compare a UTF-8 name with the one in the member's own header."""
    other = name if local is None else local.raw
    if b"\\" in name:
        slashes = name.replace(b"\\", b"/")
        if other == slashes or host not in _HOSTS_WITH_BACKSLASHES_IN_NAMES:
            text = "the folders of its name are divided by backslashes"
            return slashes, (Note(NoteCode.NAME, text), *path_notes(slashes))
    if other != name:
        text = f"its name is the directory's; its own header has '{shown_path(other)}'"
        return name, (Note(NoteCode.NAME, text), *path_notes(name))
    return name, path_notes(name)


def _if_other(name: bytes, raw: bytes, text: str) -> tuple[Note, ...]:
    notes = path_notes(name)
    return notes if name == raw else (Note(NoteCode.NAME, text), *notes)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

"""Lets FFmpeg's own probe find the format of a file without a known signature; only in the child.

Tags and zero bytes at the start are skipped. The probe sees all of FFmpeg's formats, so that what
is none of sound is not taken for it; then one of a list has to be the best guess. They hold sound
in one file, and their probes are strict. Formats without a header (raw PCM, G.722, G.729) and those
that refer to other files are not among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from av import logging

from consumers.audio.container import open_media
from consumers.audio.fileview import FileView, Span, whole
from consumers.audio.frames import find_frames_behind
from consumers.audio.signatures import BRANDS, MP4, SIGNATURES
from consumers.audio.sniff import HEAD_BYTES, id3_sizes, recognised
from consumers.documents.note import Note, NoteCode
from consumers.errors import UnknownFormatError

PROBED_DEMUXERS = frozenset(
    {"3dostr", "aa", "aac", "aax", "ac3", "ac4", "act", "adx", "aea", "aiff", "aix", "alp", "amr"}
    | {"apc", "ape", "apm", "asf", "ast", "au", "avi", "avr", "bfstm", "bonk", "brstm", "caf"}
    | {"codec2", "dhav", "dsf", "dss", "dts", "dtshd", "dv", "eac3", "epaf", "flac", "flv", "fsb"}
    | {"fwse", "genh", "gsm", "gxf", "hca", "hcom", "iamf", "iff", "ilbc", "ircam", "ivr", "kux"}
    | {"kvag", "laf", "loas", "lvf", "lxf", "matroska", "mlp", "mmf", "mov", "mp3", "mpc", "mpc8"}
    | {"mpeg", "mpegts", "msf", "mtaf", "musx", "mxf", "nistsphere", "nsp", "nsv", "nut", "nuv"}
    | {"ogg", "oma", "osq", "paf", "pva", "pvf", "qcp", "qoa", "redspark", "rka", "rm", "rsd"}
    | {"rso", "sdns", "sds", "sdx", "shn", "siff", "sol", "sox", "spdif", "svag", "swf", "tak"}
    | {"truehd", "tta", "ty", "vag", "vivo", "voc", "vpk", "vqf", "w64", "wady", "wav", "wavarc"}
    | {"wsaud", "wsd", "wtv", "wv", "wve", "xa", "xvag", "xwma"}
)
"""The demuxers that a probe may choose."""

_PROBED_BYTES = 1 << 20
_SKIPPED_BYTES = 64 << 20
_SEARCHED_BYTES = 1 << 20
_LOW_SCORE = "low score"
_OPTIONS: Mapping[str, str] = {
    "format_whitelist": ",".join(sorted(PROBED_DEMUXERS)),
    "formatprobesize": str(_PROBED_BYTES),
}

_TAG_HEADER = 32
_ID3_HEADER = 10
_FILE_TYPE = b"ftyp"
_BOX_SIZE = 4
# A size below 512 that is a multiple of four, the type and a brand.
_FILE_TYPE_BOX = re.compile(rb"\0\0[\0\1][%s]ftyp([ -~]{4})" % re.escape(bytes(range(0, 256, 4))))

# Signatures that are long enough to be looked for at any offset.
_SEARCHED = frozenset({"aiff", "amr", "asf", "caf", "flac", "matroska", "ogg", "w64", "wav", "wv"})


@dataclass(frozen=True, slots=True)
class Guess:
    """What a file most likely is, and where in it that begins."""

    demuxer: str
    name: str
    """FFmpeg's, or a signature's label."""
    start: int

    @property
    def note(self) -> Note:
        """A note for those who read the result."""
        behind = f", behind {self.start} bytes that are no sound" if self.start else ""
        return Note(NoteCode.FORMAT_PROBED, f"no known signature: it was read as {self}{behind}")

    def __str__(self) -> str:
        return self.name


def probe(source: int) -> Guess:
    """Find out what an open file is.

    Raises:
        UnknownFormatError: It is nothing that holds sound.
    """
    view = FileView(source, whole(source))
    start = _first_content(view)
    for begin in dict.fromkeys((start, 0)):
        guess = _recognised(view, begin) or _probed(source, view, begin)
        if guess is not None:
            return guess
    guess = _found(view, start)
    if guess is None:
        raise UnknownFormatError("not a known audio format")
    return guess


def _recognised(view: FileView, start: int) -> Guess | None:
    found = recognised(view.peek(start, HEAD_BYTES))
    if found is None or found.demuxer is None:
        return None
    return Guess(found.demuxer, found.label, start)


def _probed(source: int, view: FileView, start: int) -> Guess | None:
    """Ask FFmpeg; it says in its log only how sure it is."""
    level = logging.get_level()
    logging.set_level(logging.WARNING)
    try:
        with (
            logging.Capture() as messages,
            open_media(FileView(source, (Span(start, view.size),)), None, _OPTIONS) as container,
        ):
            guess = Guess(container.format.name.split(",")[0], container.format.long_name, start)
    except MemoryError:
        raise
    except Exception:
        # Hostile media can make a binding raise anything; what cannot be opened is no sound.
        return None
    finally:
        logging.set_level(level)
    return None if any(_LOW_SCORE in text for _, _, text in messages) else guess


def _found(view: FileView, start: int) -> Guess | None:
    """Search for the earliest signature, or row of frames, behind something else."""
    head = _read(view, start, _SEARCHED_BYTES)
    found: list[tuple[int, Guess]] = []
    if (frames := find_frames_behind(head)) is not None:
        at, sniffed = frames
        found.append((at, Guess(str(sniffed.demuxer), sniffed.label, start + at)))
    if (box := _FILE_TYPE_BOX.search(head)) is not None:
        sniffed = BRANDS.get(box[1], MP4)
        if sniffed.demuxer is not None:
            found.append((box.start(), Guess(sniffed.demuxer, sniffed.label, start + box.start())))
    for signature in SIGNATURES:
        sniffed = signature.sniffed
        offset, magic = signature.parts[0]
        if sniffed.demuxer is None or sniffed.demuxer not in _SEARCHED or offset:
            continue
        at = head.find(magic)
        while at >= 0 and not signature.matches(head[at : at + _TAG_HEADER]):
            at = head.find(magic, at + 1)
        if at >= 0:
            found.append((at, Guess(sniffed.demuxer, sniffed.label, start + at)))
    return min(found, key=lambda each: each[0])[1] if found else None


def _first_content(view: FileView) -> int:
    """Return where tags and zero bytes at the start end."""
    position = 0
    while position < _SKIPPED_BYTES:
        head = view.peek(position, HEAD_BYTES)
        skipped = _tag_bytes(view, position) or _zero_bytes(head)
        if not skipped or position + skipped >= view.size:
            break
        position += skipped
    return position


def _zero_bytes(head: bytes) -> int:
    """Return how many zeros there are; those of a first box's size are none."""
    zeros = len(head) - len(head.lstrip(b"\0"))
    box = head.find(_FILE_TYPE, zeros, zeros + 2 * _BOX_SIZE)
    return zeros if box < 0 else max(0, box - _BOX_SIZE)


def _tag_bytes(view: FileView, position: int) -> int:
    """Return the size of an APEv2 or ID3v2 tag, if one is there; 0: there is none."""
    header = view.peek(position, _TAG_HEADER)
    if header.startswith(b"APETAGEX") and len(header) == _TAG_HEADER:
        return _TAG_HEADER + int.from_bytes(header[12:16], "little")
    if header.startswith(b"ID3") and len(header) > _ID3_HEADER:
        sizes = id3_sizes(header)
        for size in sizes:
            found = recognised(view.peek(position + size, HEAD_BYTES))
            if found is not None and found.kind == "audio":
                return size
        return sizes[0]
    return 0


def _read(view: FileView, start: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size and (part := view.peek(start, size)):
        parts.append(part)
        start += len(part)
        size -= len(part)
    return b"".join(parts)

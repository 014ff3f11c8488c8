"""Magic bytes of file formats, and the FFmpeg demuxer for each.

They are from the formats' specifications and FFmpeg's own probes. Formats that refer to other
files (playlists, HLS, DASH, concat, SDP) are left out, so their demuxers are never chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FileKind = Literal[
    "audio",
    "undecodable",
    "image",
    "text",
    "document",
    "archive",
    "metadata",
    "empty",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The type of a file, by its content."""

    kind: FileKind
    """``audio``: any container that can hold sound, also a video file. ``undecodable``: sound that
    FFmpeg cannot decode. ``metadata``: the files that macOS adds."""
    demuxer: str | None
    """FFmpeg's short name of the demuxer; only for ``audio``."""
    label: str
    """For people, such as "an MP3 file"."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The bytes of a format at fixed offsets."""

    parts: tuple[tuple[int, bytes], ...]
    sniffed: Sniffed

    def matches(self, head: bytes) -> bool:
        """Whether a file with these first bytes has this format."""
        return all(head.startswith(magic, offset) for offset, magic in self.parts)


def _audio(demuxer: str, label: str, *parts: tuple[int, bytes]) -> Signature:
    return Signature(parts, Sniffed("audio", demuxer, label))


def _other(kind: FileKind, label: str, *parts: tuple[int, bytes]) -> Signature:
    return Signature(parts, Sniffed(kind, None, label))


MP3 = Sniffed("audio", "mp3", "an MP3 file")
MPEG_AUDIO = Sniffed("audio", "mp3", "an MPEG audio file")
AAC = Sniffed("audio", "aac", "an AAC file")
LATM = Sniffed("audio", "loas", "an AAC file (LATM)")
AC3 = Sniffed("audio", "ac3", "an AC-3 file")
EAC3 = Sniffed("audio", "eac3", "an E-AC-3 file")
MPEG_TS = Sniffed("audio", "mpegts", "an MPEG transport stream")
MP4 = Sniffed("audio", "mov", "an MP4 file")
TEXT = Sniffed("text", None, "text")
EMPTY = Sniffed("empty", None, "an empty file")
UNKNOWN = Sniffed("unknown", None, "a file of an unknown kind")

# Brands of ISO base media files (ftyp), https://mp4ra.org/registered-types/brands
BRANDS = {
    b"M4A ": Sniffed("audio", "mov", "an M4A file"),
    b"M4B ": Sniffed("audio", "mov", "an M4B audio book"),
    b"qt  ": Sniffed("audio", "mov", "a QuickTime file"),
    **dict.fromkeys(
        (*(b"3gp%d" % release for release in range(1, 10)), b"3ge6", b"3gg6", b"3gr6", b"3gs6"),
        Sniffed("audio", "mov", "a 3GP file"),
    ),
    **dict.fromkeys((b"3g2a", b"3g2b", b"3g2c"), Sniffed("audio", "mov", "a 3G2 file")),
    b"heic": Sniffed("image", None, "a HEIC image"),
    b"heix": Sniffed("image", None, "a HEIC image"),
    b"hevc": Sniffed("image", None, "a HEIC image"),
    b"mif1": Sniffed("image", None, "a HEIF image"),
    b"msf1": Sniffed("image", None, "a HEIF image"),
    b"avif": Sniffed("image", None, "an AVIF image"),
    b"avis": Sniffed("image", None, "an AVIF image"),
    b"crx ": Sniffed("image", None, "a Canon raw image"),
}

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")

# The first match counts.
SIGNATURES = (
    _audio("wav", "a WAV file", (0, b"RIFF"), (8, b"WAVE")),
    # FFmpeg reads its samples as little-endian, which makes noise of them.
    _other(
        "undecodable", "a big-endian WAV file (RIFX), for which FFmpeg has no decoder", (0, b"RIFX")
    ),
    _audio("wav", "a WAV file (RF64)", (0, b"RF64"), (8, b"WAVE")),
    _audio("wav", "a WAV file (BW64)", (0, b"BW64"), (8, b"WAVE")),
    _audio("w64", "a Wave64 file", (0, _W64)),
    _audio("xwma", "an xWMA file", (0, b"RIFF"), (8, b"XWMA")),
    _audio("qcp", "a QCP file", (0, b"RIFF"), (8, b"QLCM")),
    _audio("avi", "an AVI file", (0, b"RIFF"), (8, b"AVI ")),
    _audio("flac", "a FLAC file", (0, b"fLaC")),
    _audio("ogg", "an Ogg file", (0, b"OggS\x00")),
    _audio("aiff", "an AIFF file", (0, b"FORM"), (8, b"AIFF")),
    _audio("aiff", "an AIFF-C file", (0, b"FORM"), (8, b"AIFC")),
    _audio("iff", "an IFF 8SVX file", (0, b"FORM"), (8, b"8SVX")),
    _audio("iff", "an IFF 16SV file", (0, b"FORM"), (8, b"16SV")),
    _audio("iff", "a DSDIFF file", (0, b"FRM8"), (12, b"DSD ")),
    _audio("dsf", "a DSF file", (0, b"DSD \x1c\x00\x00\x00")),
    _audio("caf", "a CAF file", (0, b"caff\x00\x01")),
    _audio("au", "an AU file", (0, b".snd\x00")),
    _audio("nistsphere", "a NIST SPHERE file", (0, b"NIST_1A\n")),
    _audio("voc", "a VOC file", (0, b"Creative Voice File\x1a")),
    _audio("amr", "an AMR file", (0, b"#!AMR\n")),
    _audio("amr", "an AMR wideband file", (0, b"#!AMR-WB\n")),
    _audio("dss", "a DSS dictation", (0, b"\x02dss")),
    _audio("dss", "a DSS dictation", (0, b"\x03dss")),
    *(
        _other("undecodable", "a DS2 dictation, for which FFmpeg has no decoder", (0, magic))
        for magic in (b"\x01ds2", b"\x03ds2", b"\x07ds2")
    ),
    _other("undecodable", "an encrypted DSS dictation", (0, b"\x03enc")),
    _other("undecodable", "an OptimFROG file, for which FFmpeg has no decoder", (0, b"OFR ")),
    _audio("ilbc", "an iLBC file", (0, b"#!iLBC")),
    _audio("sox", "a SoX file", (0, b".SoX")),
    _audio("sox", "a SoX file", (0, b"XoS.")),
    _audio("pvf", "a PVF file", (0, b"PVF1\n")),
    *(_audio("ircam", "an IRCAM file", (0, b"\x64\xa3%c\0" % machine)) for machine in range(1, 5)),
    *(_audio("ircam", "an IRCAM file", (0, b"\0%c\xa3\x64" % machine)) for machine in range(1, 5)),
    _audio("nut", "a NUT file", (0, b"nut/multimedia container\0")),
    _audio("dtshd", "a DTS-HD file", (0, b"DTSHDHDR")),
    _audio("asf", "a WMA file", (0, _ASF)),
    _audio("matroska", "a Matroska or WebM file", (0, b"\x1aE\xdf\xa3")),
    _audio("dv", "a DV file", (0, b"\x1f\x07\x00\x3f")),
    _audio("dv", "a DV file", (0, b"\x1f\x07\x00\xbf")),
    _audio("flv", "an FLV file", (0, b"FLV\x01")),
    _audio("rm", "a RealMedia file", (0, b".RMF\x00")),
    _audio("rm", "a RealAudio file", (0, b".ra\xfd")),
    _audio("mpeg", "an MPEG program stream", (0, b"\x00\x00\x01\xba")),
    _audio("mxf", "an MXF file", (0, bytes.fromhex("060e2b34020501010d0102"))),
    _audio("wv", "a WavPack file", (0, b"wvpk")),
    _audio("ape", "a Monkey's Audio file", (0, b"MAC "), (5, b"\x0e")),
    _audio("ape", "a Monkey's Audio file", (0, b"MAC "), (5, b"\x0f")),
    _audio("tta", "a True Audio file", (0, b"TTA1")),
    _audio("tak", "a TAK file", (0, b"tBaK")),
    _audio("shn", "a Shorten file", (0, b"ajkg")),
    _audio("mpc", "a Musepack file", (0, b"MP+\x07")),
    _audio("mpc", "a Musepack file", (0, b"MP+\x17")),
    _audio("mpc8", "a Musepack file", (0, b"MPCK")),
    _audio("qoa", "a QOA file", (0, b"qoaf")),
    _audio("vqf", "a TwinVQ file", (0, b"TWIN97012000")),
    _audio("dts", "a DTS file", (0, b"\x7f\xfe\x80\x01")),
    _audio("dts", "a DTS file", (0, b"\xfe\x7f\x01\x80")),
    _audio("dts", "a DTS file", (0, b"\x1f\xff\xe8\x00")),
    _audio("dts", "a DTS file", (0, b"\xff\x1f\x00\xe8")),
    _audio("truehd", "a TrueHD file", (4, b"\xf8ro\xba")),
    _audio("mlp", "an MLP file", (4, b"\xf8ro\xbb")),
    _audio("mov", "a part of an MP4 stream", (0, b"\x00"), (4, b"styp")),
    _audio("mov", "a part of an MP4 stream", (0, b"\x00"), (4, b"sidx")),
    _audio("mov", "a part of an MP4 stream", (0, b"\x00"), (4, b"moof")),
    _audio("mov", "a QuickTime file", (0, b"\x00"), (4, b"moov")),
    _audio("mov", "a QuickTime file", (4, b"mdat")),
    _audio("mov", "a QuickTime file", (0, b"\x00"), (4, b"wide")),
    _audio("mov", "a QuickTime file", (0, b"\x00"), (4, b"free")),
    _audio("mov", "a QuickTime file", (0, b"\x00"), (4, b"skip")),
    _other("image", "a JPEG image", (0, b"\xff\xd8\xff")),
    _other("image", "a PNG image", (0, b"\x89PNG\r\n\x1a\n")),
    _other("image", "a GIF image", (0, b"GIF87a")),
    _other("image", "a GIF image", (0, b"GIF89a")),
    _other("image", "a WebP image", (0, b"RIFF"), (8, b"WEBP")),
    _other("image", "a TIFF image", (0, b"II*\x00")),
    _other("image", "a TIFF image", (0, b"MM\x00*")),
    _other("image", "a BMP image", (0, b"BM"), (6, b"\x00\x00\x00\x00")),
    _other("image", "an icon", (0, b"\x00\x00\x01\x00")),
    _other("image", "a Photoshop image", (0, b"8BPS")),
    _other("image", "a JPEG 2000 image", (0, b"\x00\x00\x00\x0cjP  ")),
    _other("image", "a JPEG XL image", (0, b"\x00\x00\x00\x0cJXL ")),
    _other("document", "a PDF document", (0, b"%PDF-")),
    _other("document", "an RTF document", (0, b"{\\rtf")),
    _other("document", "an old Office document", (0, bytes.fromhex("d0cf11e0a1b11ae1"))),
    _other(
        "undecodable",
        "an Audacity project, which FFmpeg cannot read: export its sound",
        (0, b"SQLite format 3\x00"),
        (68, b"AUDY"),
    ),
    _other("document", "an SQLite database", (0, b"SQLite format 3\x00")),
    _other("document", "a MIDI file (notes, not sound)", (0, b"MThd\x00\x00\x00\x06")),
    _other("archive", "a zip archive", (0, b"PK\x03\x04")),
    _other("archive", "a zip archive", (0, b"PK\x05\x06")),
    _other("archive", "a gzip archive", (0, b"\x1f\x8b\x08")),
    _other("archive", "a bzip2 archive", (0, b"BZh"), (4, b"1AY&SY")),
    _other("archive", "an xz archive", (0, b"\xfd7zXZ\x00")),
    _other("archive", "a zstd archive", (0, b"(\xb5/\xfd")),
    _other("archive", "a 7z archive", (0, b"7z\xbc\xaf'\x1c")),
    _other("archive", "a RAR archive", (0, b"Rar!\x1a\x07")),
    _other("archive", "a cpio archive", (0, b"070701")),
    _other("archive", "a cpio archive", (0, b"070702")),
    _other("archive", "a cpio archive", (0, b"070707")),
    _other("archive", "a cabinet archive", (0, b"MSCF\x00\x00\x00\x00")),
    _other("archive", "a disk image", (0x8001, b"CD001")),
    _other("archive", "a disk image", (0x8001, b"BEA01")),
    _other("archive", "a tar archive", (257, b"ustar")),
    _other("metadata", "macOS metadata", (0, b"\x00\x05\x16\x07\x00\x02\x00\x00")),
    _other("metadata", "a macOS folder file", (0, b"\x00\x00\x00\x01Bud1")),
)

DEMUXERS = frozenset(
    sniffed.demuxer
    for sniffed in (
        *(signature.sniffed for signature in SIGNATURES),
        *(MP3, MPEG_AUDIO, AAC, LATM, AC3, EAC3, MPEG_TS, MP4),
    )
    if sniffed.demuxer is not None
)
"""All demuxers that may read a file."""

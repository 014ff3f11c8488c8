"""Sources of recordings: a host, and a path, a pattern or a folder on it."""

from __future__ import annotations

import os
import posixpath
import re
import tomllib
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote_to_bytes

from consumers.errors import ConfigurationError

_USER = r"(?:(?P<user>[^\s@/:\[\]-][^\s@/:\[\]]*)@)?"
_HOST = r"(?P<host>\[[0-9A-Fa-f:.]+(?:%\w+)?\]|\w[\w.-]*)"
_SCP = re.compile(f"{_USER}{_HOST}:(?P<path>.*)", re.DOTALL)
_URL = re.compile(rf"ssh://{_USER}{_HOST}(?::(?P<port>\d{{1,5}}))?(?P<path>/.*)", re.DOTALL)
_SECRET = re.compile(r"(ssh://)?[^@/]*:.*@", re.DOTALL)
#: The path of ``user:password@host:path``, as scp would read it. Text that begins with a
#: slash, a dot or a tilde is a path, whatever it holds.
_AFTER_SECRET = re.compile(rf"(?![/.~]).*@{_HOST}:.*", re.DOTALL)
#: The source is not quoted in the error, as it may hold a password.
_REFUSAL = (
    "a source has no password: log in by a key (see TRANSFER_SSH_KEY); a path in which an @ "
    "and a colon stand begins with ./ or /"
)
_WILD = re.compile(rb"[*?\[]")
_MAX_PORT = 65535


class SourceError(ValueError):
    """A text is not a source; the message says why."""


@dataclass(frozen=True, slots=True, order=True)
class Host:
    """A machine to log in on.

    Attributes:
        name: The address, or a name that DNS or ssh_config knows, as written.
        user: None for the user of ssh_config, or the local user.
        port: None for the port of ssh_config, or 22.
    """

    name: str
    user: str | None = None
    port: int | None = None

    @property
    def label(self) -> str:
        """The machine without the user: two users see the same files."""
        if self.port is None:
            return self.name
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"

    def __str__(self) -> str:
        return self.label if self.user is None else f"{self.user}@{self.label}"


@dataclass(frozen=True, slots=True, order=True)
class TransferSource:
    """A place on another machine.

    Attributes:
        host: The machine.
        path: The path as written, in an unknown encoding; relative to the user's home
            folder unless it begins with a slash.
    """

    host: Host
    path: bytes

    def __str__(self) -> str:
        return f"{self.host}:{shown(self.path)}"


@dataclass(frozen=True, slots=True, order=True)
class FileVersion:
    """A version of a file on another machine.

    Attributes:
        path: The absolute path, in an unknown encoding.
        size: Bytes.
        mtime: When it was modified, in whole seconds since 1970 by that machine's clock.
    """

    path: bytes
    size: int
    mtime: int


def parse_source(text: str) -> TransferSource:
    """Parse ``[user@]host:path`` or ``ssh://[user@]host[:port]/path``.

    In a URL, the path is percent-encoded, and ``/~/`` is the user's home folder.

    Args:
        text: The source, with undecodable bytes as surrogates.

    Raises:
        SourceError: The text has neither form.
    """
    is_url = text.startswith("ssh://")
    match = (_URL if is_url else _SCP).fullmatch(text)
    if match is None or (not is_url and "://" in text):
        raise SourceError(_why_not(text))
    if not is_url and match["user"] is None and _AFTER_SECRET.fullmatch(match["path"]):
        raise SourceError(_REFUSAL)
    path = os.fsencode(match["path"])
    port = None
    if is_url:
        path = unquote_to_bytes(path)
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 1 <= port <= _MAX_PORT:
            raise SourceError(f"{match['port']} is not a port: must be 1 to {_MAX_PORT}")
        if path == b"/~" or path.startswith(b"/~/"):
            path = path[3:]
    if b"\0" in path:
        raise SourceError(f"{shown(os.fsencode(text))}: a path has no NUL byte")
    return TransferSource(Host(match["host"].strip("[]"), match["user"], port), path)


def _why_not(text: str) -> str:
    if _SECRET.match(text):
        return _REFUSAL
    name = shown(os.fsencode(text))
    if ":" not in text:
        return (
            f"{name!r} names no remote host (expected user@host:/path; for archives on this "
            "machine: dropscribe drop)"
        )
    return f"{name!r} is neither [user@]host:path nor ssh://[user@]host[:port]/path"


def has_wildcards(path: bytes) -> bool:
    """Whether a path, or a part of one, has wildcards; a file's name may have them, too."""
    return _WILD.search(path) is not None


def fixed_part(path: bytes) -> bytes:
    """Return the folder that holds all matches of a pattern."""
    fixed = takewhile(lambda part: not has_wildcards(part), path.split(b"/"))
    return b"/".join(fixed) or (b"/" if path.startswith(b"/") else b"")


def shown(path: bytes) -> str:
    """Write a path as printable text on one line, whatever bytes it has."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def base_name(path: bytes) -> bytes:
    """Return the last part of a path."""
    return posixpath.basename(path.rstrip(b"/"))


def read_source_list(path: Path) -> list[TransferSource]:
    """Read a list of sources.

    A file ``*.toml`` has ``sources = ["user@host:/path", ...]``. Any other file has one
    source per line; empty lines, and lines that begin with ``#``, are ignored.

    Raises:
        ConfigurationError: The file is unreadable, or an entry is not a source.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    texts = _of_toml(path, content) if path.suffix == ".toml" else _of_lines(content)
    sources = []
    for place, text in texts:
        try:
            sources.append(parse_source(text))
        except SourceError as exc:
            raise ConfigurationError(f"{path}, {place}: {exc}") from exc
    return sources


def _of_lines(content: bytes) -> list[tuple[str, str]]:
    lines = enumerate((os.fsdecode(line.strip()) for line in content.split(b"\n")), 1)
    return [(f"line {n}", line) for n, line in lines if line and not line.startswith("#")]


def _of_toml(path: Path, content: bytes) -> list[tuple[str, str]]:
    try:
        document = tomllib.loads(content.decode())
    except ValueError as exc:
        # A TOMLDecodeError, or a UnicodeDecodeError.
        raise ConfigurationError(f"{path} is not valid TOML: {exc}") from exc
    texts = document.get("sources")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(f'{path} has no list like sources = ["user@host:/path"]')
    return [(f"source {number}", text) for number, text in enumerate(texts, 1)]

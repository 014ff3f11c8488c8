"""Files of another machine, over a connection that is made again when it breaks."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import asyncssh

from consumers.errors import PermanentError, TransientError
from ops.transfer.errors import AwayError, BrokenError, ChangedError, FileError
from ops.transfer.login import Login, connected
from ops.transfer.rows import FileVersion
from ops.transfer.source import Host, shown

T = TypeVar("T")

#: Bytes that are asked for at a time, and how many such requests are on their way: so
#: much memory a download takes, and so much fills a fast line to the other continent.
_WINDOW = 2 << 20
_WINDOWS = 6

#: Prints one line for each of the names that come on standard input, each ended by a
#: NUL: SHA-256 in hex and something more, or a minus. No name is ever in a command line.
_SHA256 = """
if command -v sha256sum >/dev/null 2>&1; then hash="sha256sum"
elif command -v shasum >/dev/null 2>&1; then hash="shasum -a 256"
else exit 127
fi
export hash
exec xargs -0 -n 1 sh -c "\\$hash < \\"\\$1\\" || echo -" sh 2>/dev/null
"""

_LINE = re.compile(rb"([0-9a-f]{64}|-)(?: .*)?")
_NO_PROGRAM = 127


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often a connection that breaks is made again.

    Attributes:
        most: In a row, without a byte in between.
        pause: Seconds before the second; twice as many before each that follows.
    """

    most: int = 5
    pause: float = 1.0


class Session:
    """A connection, as long as it lasts.

    Raises:
        BrokenError: By every method: it broke.
        FileError: By every method: the file is not there, or can't be read.
    """

    def __init__(
        self, host: Host, connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient
    ) -> None:
        self._host = host
        self._connection = connection
        self._sftp = sftp

    async def home(self) -> bytes:
        """Give the folder that relative paths begin in."""
        with self._translated(b"."):
            return _as_bytes(await self._sftp.realpath(b"."))

    async def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """Say what is at a path, behind symbolic links."""
        with self._translated(path):
            return await self._sftp.stat(path)

    async def scan(self, folder: bytes) -> AsyncIterator[tuple[bytes, asyncssh.SFTPAttrs]]:
        """List a folder: names, and what they are; symbolic links as such."""
        with self._translated(folder):
            async for entry in self._sftp.scandir(folder):
                name = _as_bytes(entry.filename)
                # A name that leads elsewhere is not one that a folder can have.
                if name not in {b".", b".."} and b"/" not in name:
                    yield name, entry.attrs

    async def head(self, path: bytes, size: int) -> bytes:
        """Read the first bytes of a file."""
        with self._translated(path):
            async with await self._open(path) as file:
                data: bytes = await file.read(size, 0)
        return data

    async def read(self, version: FileVersion, start: int) -> AsyncIterator[bytes]:
        """Read the rest of a file, which has to be the same before and after.

        Raises:
            ChangedError: It is not, or ends early.
        """
        with self._translated(version.path):
            async with await self._open(version.path) as file:
                _check_same(version, await file.stat())
                async for data in _blocks(file, version, start):
                    yield data
                _check_same(version, await file.stat())

    async def sha256(self, paths: Sequence[bytes]) -> list[str | None]:
        """Have files hashed where they are; None for those that can't be read."""
        given = b"".join(path + b"\0" for path in paths)
        code, printed = await self._run(_SHA256, given)
        if code == _NO_PROGRAM:
            raise PermanentError(
                f"{self._host} has neither sha256sum nor shasum: install one (coreutils, perl)"
            )
        lines = [match[1] for line in printed.splitlines() if (match := _LINE.fullmatch(line))]
        if len(lines) != len(paths):
            raise PermanentError(
                f"{self._host} does not run what hashes its files (exit code {code}): this login "
                "needs a shell with xargs, not SFTP alone"
            )
        return [None if line == b"-" else line.decode() for line in lines]

    async def time(self) -> int | None:
        """Ask for the machine's time, in seconds since 1970; None if it does not say."""
        _, printed = await self._run("date +%s", b"")
        return int(printed) if printed.strip().isdigit() else None

    async def _open(self, path: bytes) -> asyncssh.SFTPClientFile:
        return await self._sftp.open(path, "rb", encoding=None)

    async def _run(self, script: str, given: bytes) -> tuple[int | None, bytes]:
        with self._translated(b""):
            done = await self._connection.run(
                # Whatever shell the user has there.
                f"exec sh -c {shlex.quote(script.strip())}",
                input=given,
                encoding=None,
            )
        return done.returncode, bytes(done.stdout or b"")  # type: ignore[arg-type]

    @contextmanager
    def _translated(self, path: bytes) -> Iterator[None]:
        where = f"{self._host}:{shown(path)}"
        try:
            yield
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as exc:
            raise BrokenError(f"{self._host}: the connection broke ({exc.reason})") from exc
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as exc:
            raise FileError(f"{where} is not there") from exc
        except asyncssh.SFTPPermissionDenied as exc:
            raise FileError(f"{where} may not be read by this user") from exc
        except asyncssh.SFTPError as exc:
            raise FileError(f"{where} can't be read: {exc.reason}") from exc
        except (asyncssh.Error, OSError) as exc:
            said = str(exc) or type(exc).__name__
            raise BrokenError(f"{self._host}: the connection broke ({said})") from exc


async def _blocks(
    file: asyncssh.SFTPClientFile, version: FileVersion, start: int
) -> AsyncIterator[bytes]:
    """Read a file in order, with some requests on their way at a time."""
    ahead: deque[tuple[int, asyncio.Task[Any]]] = deque()
    try:
        while start < version.size or ahead:
            while start < version.size and len(ahead) < _WINDOWS:
                length = min(_WINDOW, version.size - start)
                ahead.append((length, asyncio.ensure_future(file.read(length, start))))
                start += length
            length, task = ahead[0]
            data = await task
            ahead.popleft()
            if len(data) != length:
                raise ChangedError(f"{shown(version.path)} is shorter than it was")
            yield data
    finally:
        tasks = [task for _, task in ahead]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _check_same(version: FileVersion, now: asyncssh.SFTPAttrs) -> None:
    if (now.size, now.mtime) != (version.size, version.mtime):
        raise ChangedError(f"{shown(version.path)} was changed while it was read")


def _as_bytes(name: bytes | str) -> bytes:
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


class Remote:
    """A machine: its sessions, one after the other.

    Args:
        host: The machine.
        login: How to log in.
        attempts: How often a connection is made again.
    """

    def __init__(self, host: Host, login: Login, attempts: Attempts) -> None:
        self.host = host
        self._login = login
        self._attempts = attempts
        self._open = AsyncExitStack()
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._drop()

    async def do(
        self, act: Callable[[Session], Awaitable[T]], progress: Callable[[], int] = lambda: 0
    ) -> T:
        """Do something in a session, and again in a new one if that breaks.

        Args:
            act: What to do.
            progress: Says how far it is: attempts count while that does not change.

        Raises:
            AwayError: It broke too often in a row.
            PermanentError: See `connected` and `Session`.
        """
        failed, reached = 0, progress()
        while True:
            try:
                return await act(await self._connected())
            except BrokenError as exc:
                await self._drop()
                if progress() != reached:
                    failed, reached = 0, progress()
                failed += 1
                if failed >= self._attempts.most:
                    raise AwayError(f"{exc} (tried {failed} times)") from exc
                await asyncio.sleep(self._attempts.pause * 2 ** (failed - 1))

    async def _connected(self) -> Session:
        if self._session is None:
            connection = await self._open.enter_async_context(connected(self.host, self._login))
            try:
                sftp = await connection.start_sftp_client(path_encoding=None)
            except (asyncssh.SFTPError, asyncssh.ChannelOpenError) as exc:
                raise TransientError(f"{self.host} does not speak SFTP: {exc.reason}") from exc
            except (asyncssh.Error, OSError) as exc:
                raise BrokenError(f"{self.host}: the connection broke ({exc})") from exc
            self._open.callback(sftp.exit)
            self._session = Session(self.host, connection, sftp)
        return self._session

    async def _drop(self) -> None:
        self._session = None
        await self._open.aclose()

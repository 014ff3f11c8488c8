"""Files of another machine, over a connection that is made again when it breaks."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

import asyncssh

from consumers.errors import PermanentError, TransientError
from ops.ingest.transfer.errors import AwayError, BrokenError, ChangedError, FileError, GoneError
from ops.ingest.transfer.login import Login, connected
from ops.ingest.transfer.shipment import FileVersion
from ops.ingest.transfer.source import Host, shown

T = TypeVar("T")

#: Bytes that are asked for at a time, and how many such requests are on their way: so
#: much memory a download takes, and so much fills a fast line to the other continent. One
#: has to be answered within the timeout, on the slowest line, too.
_WINDOW = 256 << 10
_WINDOWS = 48

#: Bytes a second that the slowest disk and processor hash; files are given so much time.
_HASHED_PER_SECOND = 2_000_000

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


class RemoteSession:
    """A connection, as long as it lasts.

    Keepalives are no sign that a disk, or a program, over there goes on: each request has
    its own time to be answered in.

    Args:
        host: The machine.
        connection: To it.
        sftp: Over that.
        timeout: Seconds that a request may take.

    Raises:
        BrokenError: By every method: it broke, or gave no answer in time.
        FileError: By every method: the file is not there, or can't be read.
    """

    def __init__(
        self,
        host: Host,
        connection: asyncssh.SSHClientConnection,
        sftp: asyncssh.SFTPClient,
        timeout: float,
    ) -> None:
        self._host = host
        self._connection = connection
        self._sftp = sftp
        self._timeout = timeout
        self._is_silent = False
        self._reads: set[asyncio.Task[bytes]] = set()

    async def end(self) -> None:
        """Wait for what was asked of a connection that is closed: that ends at once."""
        if self._reads:
            await asyncio.wait(self._reads, timeout=self._timeout)

    async def home(self) -> bytes:
        """Give the folder that relative paths begin in."""
        with self._translated(b"."):
            return _as_bytes(await self._answer(self._sftp.realpath(b".")))

    async def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """Say what is at a path, behind symbolic links."""
        with self._translated(path):
            return await self._answer(self._sftp.stat(path))

    async def scan(self, folder: bytes) -> AsyncIterator[tuple[bytes, asyncssh.SFTPAttrs]]:
        """List a folder: names, and what they are; symbolic links as such."""
        with self._translated(folder):
            entries = aiter(self._sftp.scandir(folder))
            while (entry := await self._answer(anext(entries, None))) is not None:
                name = _as_bytes(entry.filename)
                # A name that leads elsewhere is not one that a folder can have.
                if name not in {b".", b".."} and b"/" not in name:
                    yield name, entry.attrs

    async def head(self, path: bytes, size: int) -> bytes:
        """Read the first bytes of a file."""
        with self._translated(path):
            async with self._opened(path) as file:
                data: bytes = await self._answer(self._asked(file, size, 0))
        return data

    async def read(self, version: FileVersion, start: int) -> AsyncIterator[bytes]:
        """Read the rest of a file, which has to be the same before and after.

        Raises:
            ChangedError: It is not, or ends early.
        """
        with self._translated(version.path):
            async with self._opened(version.path) as file:
                _check_same(version, await self._answer(file.stat()))
                async for data in self._blocks(file, version, start):
                    yield data
                _check_same(version, await self._answer(file.stat()))

    async def sha256(self, files: Sequence[FileVersion]) -> list[str | None]:
        """Have files hashed where they are; None for those that can't be read."""
        given = b"".join(file.path + b"\0" for file in files)
        hashing = sum(file.size for file in files) / _HASHED_PER_SECOND
        code, printed = await self._run(_SHA256, given, self._timeout + hashing)
        if code == _NO_PROGRAM:
            raise PermanentError(
                f"{self._host} has neither sha256sum nor shasum: install one (coreutils, perl)"
            )
        lines = [match[1] for line in printed.splitlines() if (match := _LINE.fullmatch(line))]
        if len(lines) != len(files):
            raise PermanentError(
                f"{self._host} does not run what hashes its files (exit code {code}): this login "
                "needs a shell with xargs, not SFTP alone"
            )
        return [None if line == b"-" else line.decode() for line in lines]

    async def time(self) -> int | None:
        """Ask for the machine's time, in seconds since 1970; None if it does not say."""
        _, printed = await self._run("date +%s", b"", self._timeout)
        return int(printed) if printed.strip().isdigit() else None

    async def _answer(self, request: Awaitable[T], seconds: float | None = None) -> T:
        """Wait for an answer, as long as one may take."""
        seconds = self._timeout if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                return await request
        except TimeoutError as exc:
            self._is_silent = True
            raise BrokenError(
                f"{self._host}: the connection broke (no answer within {seconds:.0f} s)"
            ) from exc

    @asynccontextmanager
    async def _opened(self, path: bytes) -> AsyncIterator[asyncssh.SFTPClientFile]:
        file = await self._answer(self._sftp.open(path, "rb", encoding=None))
        try:
            yield file
        finally:
            # It would not answer that either; the file goes with the connection.
            if not self._is_silent:
                await self._answer(file.close())

    async def _blocks(
        self, file: asyncssh.SFTPClientFile, version: FileVersion, start: int
    ) -> AsyncIterator[bytes]:
        """Read a file in order, with some requests on their way at a time."""
        ahead: deque[tuple[int, Awaitable[bytes]]] = deque()
        while start < version.size or ahead:
            while start < version.size and len(ahead) < _WINDOWS:
                length = min(_WINDOW, version.size - start)
                ahead.append((length, self._asked(file, length, start)))
                start += length
            length, data = ahead.popleft()
            block = await self._answer(data)
            if len(block) != length:
                raise ChangedError(f"{shown(version.path)} is shorter than it was")
            yield block

    def _asked(self, file: asyncssh.SFTPClientFile, size: int, start: int) -> Awaitable[bytes]:
        """Ask for a piece of a file, which is never called off: it ends with the connection.

        Called off, it would leave behind the requests that asyncssh has made of it.
        """
        task: asyncio.Task[bytes] = asyncio.ensure_future(file.read(size, start))
        self._reads.add(task)
        task.add_done_callback(self._heed)
        return asyncio.shield(task)

    def _heed(self, read: asyncio.Task[bytes]) -> None:
        """Of all reads that fail as one does, that one tells why."""
        self._reads.discard(read)
        if not read.cancelled():
            read.exception()

    async def _run(self, script: str, given: bytes, seconds: float) -> tuple[int, bytes]:
        with self._translated(b""):
            done = await self._answer(
                self._connection.run(
                    # Whatever shell the user has there.
                    f"exec sh -c {shlex.quote(script.strip())}",
                    input=given,
                    encoding=None,
                ),
                seconds,
            )
        if done.returncode is None:
            raise BrokenError(f"{self._host}: the connection broke before a command ended")
        return done.returncode, bytes(done.stdout or b"")  # type: ignore[arg-type]

    @contextmanager
    def _translated(self, path: bytes) -> Iterator[None]:
        where = f"{self._host}:{shown(path)}"
        try:
            yield
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as exc:
            raise BrokenError(f"{self._host}: the connection broke ({exc.reason})") from exc
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as exc:
            raise GoneError(f"{where} is not there") from exc
        except asyncssh.SFTPPermissionDenied as exc:
            raise FileError(f"{where} may not be read by this user") from exc
        except asyncssh.SFTPError as exc:
            raise FileError(f"{where} can't be read: {exc.reason}") from exc
        except (asyncssh.Error, OSError) as exc:
            said = str(exc) or type(exc).__name__
            raise BrokenError(f"{self._host}: the connection broke ({said})") from exc


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
        self._session: RemoteSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._drop()

    async def do(
        self, act: Callable[[RemoteSession], Awaitable[T]], progress: Callable[[], int] = lambda: 0
    ) -> T:
        """Do something in a session, and again in a new one if that breaks.

        Args:
            act: What to do.
            progress: Says how far it is: attempts count while that does not change.

        Raises:
            AwayError: It broke too often in a row.
            PermanentError: See `connected` and `RemoteSession`.
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

    async def _connected(self) -> RemoteSession:
        if self._session is None:
            connection = await self._open.enter_async_context(connected(self.host, self._login))
            timeout = self._login.timeout
            try:
                async with asyncio.timeout(timeout):
                    sftp = await connection.start_sftp_client(path_encoding=None)
            except (asyncssh.SFTPError, asyncssh.ChannelOpenError) as exc:
                raise TransientError(f"{self.host} does not speak SFTP: {exc.reason}") from exc
            except (asyncssh.Error, OSError) as exc:
                said = str(exc) or type(exc).__name__
                raise BrokenError(f"{self.host}: the connection broke ({said})") from exc
            self._open.callback(sftp.exit)
            self._session = RemoteSession(self.host, connection, sftp, timeout)
        return self._session

    async def _drop(self) -> None:
        session, self._session = self._session, None
        await self._open.aclose()
        if session is not None:
            await session.end()

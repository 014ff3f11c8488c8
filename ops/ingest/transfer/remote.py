"""Files of another machine, over a connection that reconnects when it breaks."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Self, TypeVar

import asyncssh

from consumers.errors import PermanentError, TransientError
from ops.ingest.transfer.errors import AwayError, BrokenError, ChangedError, FileError, GoneError
from ops.ingest.transfer.login import Login, connect, reason_of
from ops.ingest.transfer.source import FileVersion, Host, shown

T = TypeVar("T")

#: Bytes per request, and requests in flight: 12 MiB of memory, which fill a fast line to
#: another continent. A slow line has to answer one request within the timeout.
_WINDOW = 256 << 10
_WINDOWS = 48

#: Bytes per second that the slowest disk and processor hash, for the timeout of hashing.
_HASHED_PER_SECOND = 2_000_000

#: Prints a line for each NUL-terminated name on standard input: the SHA-256 in hex, which
#: more may follow, or a minus. No name is ever part of a command line.
_SHA256 = """
if command -v sha256sum >/dev/null 2>&1; then hash="sha256sum"
elif command -v shasum >/dev/null 2>&1; then hash="shasum -a 256"
else exit 127
fi
export hash
exec xargs -0 -n 1 sh -c "\\$hash < \\"\\$1\\" || echo -" sh 2>/dev/null
"""

#: Seconds before the second attempt to connect; the pause doubles before each further one.
_PAUSE = 1.0

_LINE = re.compile(rb"([0-9a-f]{64}|-)(?: .*)?")
_NO_PROGRAM = 127


@dataclass(eq=False, slots=True)
class RemoteSession:
    """One connection to a machine, until it breaks.

    Each request has a timeout of its own, as keepalives do not show that a disk or a
    program on the machine responds. Every method raises `BrokenError` if the connection
    breaks or a request times out, and `FileError` if a file is missing or unreadable.
    """

    host: Host
    connection: asyncssh.SSHClientConnection
    sftp: asyncssh.SFTPClient
    #: Seconds per request.
    timeout: float
    _is_silent: bool = field(init=False, default=False)
    _reads: set[asyncio.Task[bytes]] = field(init=False, default_factory=set)

    async def end(self) -> None:
        """Wait for the reads in flight, which end at once when the connection is closed."""
        if self._reads:
            await asyncio.wait(self._reads, timeout=self.timeout)

    async def home(self) -> bytes:
        """Return the folder that relative paths start from."""
        with self._translated(b"."):
            return _as_bytes(await self._answer(self.sftp.realpath(b".")))

    async def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """Return the attributes of a path, following symbolic links."""
        with self._translated(path):
            return await self._answer(self.sftp.stat(path))

    async def scan(self, folder: bytes) -> AsyncIterator[tuple[bytes, asyncssh.SFTPAttrs]]:
        """List a folder: names and attributes; symbolic links are not followed."""
        with self._translated(folder):
            entries = aiter(self.sftp.scandir(folder))
            while (entry := await self._answer(anext(entries, None))) is not None:
                name = _as_bytes(entry.filename)
                # A hostile server may send names that lead out of the folder.
                if name not in {b".", b".."} and b"/" not in name:
                    yield name, entry.attrs

    async def head(self, path: bytes, size: int) -> bytes:
        """Read at most ``size`` bytes from the start of a file."""
        with self._translated(path):
            async with self._opened(path) as file:
                data: bytes = await self._answer(self._asked(file, size, 0))
        return data

    async def read(self, version: FileVersion, start: int) -> AsyncIterator[bytes]:
        """Read a file from ``start`` on.

        Raises:
            ChangedError: The file differs from ``version`` before or after, or is shorter.
        """
        with self._translated(version.path):
            async with self._opened(version.path) as file:
                _check_same(version, await self._answer(file.stat()))
                async for data in self._blocks(file, version, start):
                    yield data
                _check_same(version, await self._answer(file.stat()))

    async def sha256(self, files: Sequence[FileVersion]) -> list[str | None]:
        """Hash files on their machine, in hex; None for an unreadable file."""
        given = b"".join(file.path + b"\0" for file in files)
        hashing = sum(file.size for file in files) / _HASHED_PER_SECOND
        code, printed = await self._run(_SHA256, given, self.timeout + hashing)
        if code == _NO_PROGRAM:
            raise PermanentError(
                f"{self.host} has neither sha256sum nor shasum: install one (coreutils, perl)"
            )
        lines = [match[1] for line in printed.splitlines() if (match := _LINE.fullmatch(line))]
        if len(lines) != len(files):
            raise PermanentError(
                f"{self.host} does not run the command that hashes files (exit code {code}): this "
                "login needs a shell with xargs, not SFTP alone"
            )
        return [None if line == b"-" else line.decode() for line in lines]

    async def time(self) -> int | None:
        """Return the machine's time, in seconds since 1970, if it has the command ``date``."""
        _, printed = await self._run("date +%s", b"", self.timeout)
        return int(printed) if printed.strip().isdigit() else None

    async def _answer(self, request: Awaitable[T], seconds: float | None = None) -> T:
        """Wait for an answer, for the timeout or the given seconds."""
        seconds = self.timeout if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                return await request
        except TimeoutError as exc:
            self._is_silent = True
            raise _broken(self.host, f"no answer within {seconds:.0f} s") from exc

    @asynccontextmanager
    async def _opened(self, path: bytes) -> AsyncIterator[asyncssh.SFTPClientFile]:
        file = await self._answer(self.sftp.open(path, "rb", encoding=None))
        try:
            yield file
        finally:
            # A silent machine would not answer this; the file is closed with the connection.
            if not self._is_silent:
                await self._answer(file.close())

    async def _blocks(
        self, file: asyncssh.SFTPClientFile, version: FileVersion, start: int
    ) -> AsyncIterator[bytes]:
        """Read a file in order, with several requests in flight."""
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
        """Request a piece of a file, in a task that is never cancelled.

        Cancelled, it would leave asyncssh's own requests behind. It ends with the connection.
        """
        task: asyncio.Task[bytes] = asyncio.ensure_future(file.read(size, start))
        self._reads.add(task)
        task.add_done_callback(self._heed)
        return asyncio.shield(task)

    def _heed(self, read: asyncio.Task[bytes]) -> None:
        """Retrieve the error of a read, so that asyncio does not log it: another read raised it."""
        self._reads.discard(read)
        if not read.cancelled():
            read.exception()

    async def _run(self, script: str, given: bytes, seconds: float) -> tuple[int, bytes]:
        with self._translated(b""):
            done = await self._answer(
                self.connection.run(
                    # The user's login shell may be any.
                    f"exec sh -c {shlex.quote(script.strip())}",
                    input=given,
                    encoding=None,
                ),
                seconds,
            )
        if done.returncode is None:
            raise BrokenError(f"{self.host}: the connection broke before a command ended")
        return done.returncode, bytes(done.stdout or b"")  # type: ignore[arg-type]

    @contextmanager
    def _translated(self, path: bytes) -> Iterator[None]:
        where = f"{self.host}:{shown(path)}"
        try:
            yield
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as exc:
            raise _broken(self.host, exc.reason) from exc
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as exc:
            raise GoneError(f"{where} does not exist") from exc
        except asyncssh.SFTPPermissionDenied as exc:
            raise FileError(f"this user has no permission to read {where}") from exc
        except asyncssh.SFTPError as exc:
            raise FileError(f"{where} cannot be read: {exc.reason}") from exc
        except (asyncssh.Error, OSError) as exc:
            raise _broken(self.host, reason_of(exc)) from exc


def _broken(host: Host, why: str) -> BrokenError:
    return BrokenError(f"{host}: the connection broke ({why})")


def _check_same(version: FileVersion, now: asyncssh.SFTPAttrs) -> None:
    if (now.size, now.mtime) != (version.size, version.mtime):
        raise ChangedError(f"{shown(version.path)} was changed while it was read")


def _as_bytes(name: bytes | str) -> bytes:
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


class Remote:
    """A machine, over one session after another."""

    def __init__(self, host: Host, login: Login) -> None:
        self.host = host
        self._login = login
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
            PermanentError: See `connect` and `RemoteSession`.
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
                if failed >= self._login.attempts:
                    raise AwayError(f"{exc} (tried {failed} times)") from exc
                await asyncio.sleep(_PAUSE * 2 ** (failed - 1))

    async def _connected(self) -> RemoteSession:
        if self._session is None:
            connection = await connect(self._open, self.host, self._login)
            try:
                async with asyncio.timeout(self._login.timeout):
                    sftp = await connection.start_sftp_client(path_encoding=None)
            except (asyncssh.SFTPError, asyncssh.ChannelOpenError) as exc:
                raise TransientError(f"{self.host} does not speak SFTP: {exc.reason}") from exc
            except (asyncssh.Error, OSError) as exc:
                raise _broken(self.host, reason_of(exc)) from exc
            self._open.callback(sftp.exit)
            self._session = RemoteSession(self.host, connection, sftp, self._login.timeout)
        return self._session

    async def _drop(self) -> None:
        session, self._session = self._session, None
        await self._open.aclose()
        if session is not None:
            await session.end()

"""A relay for PostgreSQL's protocol, which can cut a connection exactly at a statement.

Of a COMMIT that was cut off before the server got it, all is lost; after the server
has done it, but before it could say so, nothing is: and the client cannot tell the one
from the other.

The messages are those of https://www.postgresql.org/docs/current/protocol-message-formats.html.
"""

from __future__ import annotations

import re
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import BinaryIO

from tests.harness.faults.relay import Relay

#: Clients ask by these codes whether the server speaks TLS, or GSSAPI; the relay does not.
_ENCRYPTION = {80877103, 80877104}


class Moment(StrEnum):
    """When, of a statement, the connection is cut."""

    #: The server never gets it; its transaction is rolled back.
    BEFORE = "before"
    #: The server has executed it; its answer is lost.
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class StatementCut:
    """Where connections are cut."""

    statement: re.Pattern[str]
    moment: Moment
    times: int = 1


class DatabaseRelay(Relay):
    """Relays connections, without TLS, to a PostgreSQL on a port of 127.0.0.1.

    Attributes:
        hits: How many connections were cut at a statement, by moment.
    """

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self._cuts: list[StatementCut] = []
        self.hits: Counter[Moment] = Counter()

    def cut_at(self, statement: str, moment: Moment, *, times: int = 1) -> None:
        """Cut the next connections that run a statement.

        Args:
            statement: A regular expression that is looked for in its text, such as
                ``^COMMIT`` or ``UPDATE batches``; case and line breaks do not matter.
            moment: See `Moment`. A statement within a transaction is done, but not
                committed, where it is cut after.
            times: How often.
        """
        pattern = re.compile(statement, re.IGNORECASE | re.DOTALL)
        with self._lock:
            self._cuts.append(StatementCut(pattern, moment, times))

    def heal(self) -> None:
        """Cut at no statement any more."""
        with self._lock:
            self._cuts.clear()

    def take(self, statement: str) -> Moment | None:
        """Say whether the connection that runs a statement is cut, which then counts."""
        with self._lock:
            for number, cut in enumerate(self._cuts):
                if cut.statement.search(statement):
                    left = cut.times - 1
                    self._cuts[number : number + 1] = [replace(cut, times=left)] if left else []
                    self.hits[cut.moment] += 1
                    return cut.moment
        return None

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        with near.makefile("rb") as client, far.makefile("rb") as server:
            talk = _Talk()
            with suppress(OSError):
                self._introduce(client, near, far)
            back = self._start(self._answers, server, near, far, talk)
            self._requests(client, near, far, talk)
            back.join()

    def _introduce(self, client: BinaryIO, near: socket.socket, far: socket.socket) -> None:
        """Pass on a client's first packet, which alone has no type."""
        while length := client.read(4):
            rest = client.read(struct.unpack("!i", length)[0] - 4)
            if struct.unpack("!i", rest[:4])[0] not in _ENCRYPTION:
                self._pass_on(length + rest, far)
                return
            near.sendall(b"N")

    def _requests(
        self, client: BinaryIO, near: socket.socket, far: socket.socket, talk: _Talk
    ) -> None:
        with suppress(OSError):
            for message in _messages(client):
                statement = talk.executed(message)
                moment = None if statement is None else self.take(statement)
                if moment is Moment.BEFORE:
                    _break(near, far)
                    return
                talk.ask(message, is_last=moment is Moment.AFTER)
                self._pass_on(message, far)
        with suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    def _answers(
        self, server: BinaryIO, near: socket.socket, far: socket.socket, talk: _Talk
    ) -> None:
        with suppress(OSError):
            for message in _messages(server):
                if not talk.is_secret():
                    self._pass_on(message, near)
                elif message.startswith(_READY):
                    _break(near, far)
                    return
                talk.answer(message)
        with suppress(OSError):
            near.shutdown(socket.SHUT_WR)


#: Types of messages: the server's that it is ready for more, and the client's that
#: it answers so.
_READY = b"Z"
_ASKING = (b"Q", b"S", b"F")


@dataclass(slots=True)
class _Talk:
    """What was said on one connection.

    Attributes:
        asked: How often the server was given reason to say that it is ready for more.
        secret: The number of the answer that the relay withholds.
        statements: The texts of prepared statements, by name.
        portals: The same of those that are bound to parameters.
    """

    # It also says so when it has let the client in.
    asked: int = 1
    ready: int = 0
    secret: int | None = None
    statements: dict[bytes, str] = field(default_factory=dict)
    portals: dict[bytes, str] = field(default_factory=dict)

    def executed(self, message: bytes) -> str | None:
        """Give the text of the statement that a client's message has the server run."""
        kind, body = message[:1], message[5:]
        match kind:
            case b"Q":
                return body.rstrip(b"\0").decode(errors="replace")
            case b"P":
                name, text = body.split(b"\0", 2)[:2]
                self.statements[name] = text.decode(errors="replace")
            case b"B":
                portal, name = body.split(b"\0", 2)[:2]
                self.portals[portal] = self.statements.get(name, "")
            case b"E":
                return self.portals.get(body.split(b"\0", 1)[0], "")
        return None

    def ask(self, message: bytes, *, is_last: bool) -> None:
        """Take note of a client's message, before the server has it."""
        if is_last:
            # What the server says until it is ready again is about this one.
            self.secret = self.asked + 1
        if message.startswith(_ASKING):
            self.asked += 1

    def answer(self, message: bytes) -> None:
        """Take note of a server's message."""
        if message.startswith(_READY):
            self.ready += 1

    def is_secret(self) -> bool:
        """Whether the relay withholds the server's current answer."""
        return self.secret == self.ready + 1


def _messages(file: BinaryIO) -> Iterator[bytes]:
    """Read messages, each a type of one byte, four bytes of length, and the rest."""
    while len(head := file.read(5)) == 5:
        yield head + file.read(struct.unpack("!xi", head)[0] - 4)


def _break(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)

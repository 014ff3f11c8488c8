"""A proxy before an S3 store that fails on demand as stores and networks do.

Requests and answers pass as they are, the Host that was signed along with them, but
for one thing: each has a connection of its own.
"""

from __future__ import annotations

import random
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from enum import StrEnum
from io import BufferedReader
from itertools import islice
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from tests.harness.faults.http import MessageHead, body
from tests.harness.faults.relay import CHUNK, Relay

_ERROR = """\
<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>{message}</Message><Resource>{path}</Resource>\
<RequestId>4442587FB7D0A2F9</RequestId></Error>"""


class Misbehaviour(StrEnum):
    """What goes wrong with a request."""

    #: It is refused with 500.
    INTERNAL_ERROR = "InternalError"
    #: It is refused with 503.
    SLOW_DOWN = "SlowDown"
    #: Nobody answers, until the client gives up.
    HANG = "hang"
    #: The connection is reset before the request reaches the store.
    RESET = "reset"
    #: The connection is reset when half of the body was passed on to the store.
    CUT_UPLOAD = "cut upload"
    #: The connection is reset after the store has done it, and before its answer.
    LOSE_ANSWER = "lose answer"
    #: The connection is reset when half of the answer's body has passed.
    CUT_DOWNLOAD = "cut download"
    #: The connection is closed in good order when half of the answer's body has passed.
    END_DOWNLOAD = "end download"
    #: Half of the answer's body passes for the whole, its Content-Length too.
    SHORTEN_DOWNLOAD = "shorten download"


#: S3's own status lines and messages.
_REFUSALS = {
    Misbehaviour.INTERNAL_ERROR: (
        "500 Internal Server Error",
        "We encountered an internal error. Please try again.",
    ),
    Misbehaviour.SLOW_DOWN: ("503 Slow Down", "Please reduce your request rate."),
}

#: Those that an answer meets; all others meet the request.
_DOWNLOADS = frozenset(
    {Misbehaviour.CUT_DOWNLOAD, Misbehaviour.END_DOWNLOAD, Misbehaviour.SHORTEN_DOWNLOAD}
)


@dataclass(frozen=True, slots=True)
class StoreRule:
    """Which requests a fault meets.

    Attributes:
        method: Their method; None is any.
        key: A regular expression for their key, which is empty for requests about a bucket.
    """

    fault: Misbehaviour
    method: str | None
    key: re.Pattern[str]
    probability: float

    def fits(self, request: MessageHead) -> bool:
        """Tell whether a request is one of them."""
        _, _, key = request.path.lstrip("/").partition("/")
        return self.method in {None, request.method} and self.key.search(key) is not None


class StoreProxy(Relay):
    """Stands before the store at ``http://127.0.0.1:PORT``; can also be cut and reset.

    Args:
        chance: Decides on rules that have a probability.

    Attributes:
        hits: How many requests met which fault.
    """

    def __init__(self, target: str, chance: random.Random | None = None) -> None:
        parts = urlsplit(target)
        if parts.scheme != "http" or parts.hostname != "127.0.0.1" or parts.port is None:
            raise ValueError(f"not an endpoint like http://127.0.0.1:PORT: {target}")
        super().__init__(parts.port)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.hits: Counter[Misbehaviour] = Counter()
        self._chance = chance or random.Random(0)
        self._rules: dict[StoreRule, int | None] = {}

    def fail(
        self,
        fault: Misbehaviour,
        *,
        times: int | None = 1,
        method: str | None = None,
        key: str = "",
        probability: float = 1.0,
    ) -> StoreRule:
        r"""Let requests fail from now on.

        Args:
            times: How often; None is until it is healed.
            method: Of which requests; any that the fault can meet, if not said.
            key: A regular expression that is looked for in their key, such as ``\.opus$``.
        """
        rule = StoreRule(fault, method, re.compile(key), probability)
        with self._lock:
            already = self._rules.get(rule, 0)
            self._rules[rule] = None if times is None or already is None else already + times
        return rule

    def heal(self, rule: StoreRule | None = None) -> None:
        """Let requests succeed again: those of a rule, or all."""
        with self._lock:
            for each in [rule] if rule else list(self._rules):
                self._rules.pop(each, None)

    def _take(self, request: MessageHead, faults: Set[Misbehaviour]) -> Misbehaviour | None:
        """Choose the misbehaviour for a request, and count it."""
        with self._lock:
            for rule, left in self._rules.items():
                if rule.fault not in faults or not rule.fits(request):
                    continue
                if self._chance.random() < rule.probability:
                    self.hits[rule.fault] += 1
                    self._rules[rule] = None if left is None else left - 1
                    if left == 1:
                        del self._rules[rule]
                    return rule.fault
        return None

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        # Whoever ends a connection early, the other's is then closed, too.
        with (
            near.makefile("rb") as client,
            far.makefile("rb") as store,
            suppress(OSError, EOFError),
        ):
            self._exchange(near, far, client, store)

    def _exchange(
        self, near: socket.socket, far: socket.socket, client: BufferedReader, store: BufferedReader
    ) -> None:
        head = MessageHead.read(client)
        faults = set(Misbehaviour) - _DOWNLOADS
        if not head.has_body:
            faults.discard(Misbehaviour.CUT_UPLOAD)
        match self._take(head, faults):
            case Misbehaviour.INTERNAL_ERROR | Misbehaviour.SLOW_DOWN as refusal:
                self._refuse(refusal, head, near, client)
            case Misbehaviour.HANG:
                while near.recv(CHUNK):
                    pass
            case Misbehaviour.RESET:
                _reset(near)
            case Misbehaviour.CUT_UPLOAD:
                self._upload(head, near, far, _half(head, client))
                _reset(far)
                _reset(near)
            case Misbehaviour.LOSE_ANSWER:
                self._upload(head, near, far, body(client, head))
                while store.read(CHUNK):
                    pass
                _reset(near)
            case _:
                self._upload(head, near, far, body(client, head))
                self._download(head, near, store)

    def _refuse(
        self, fault: Misbehaviour, head: MessageHead, near: socket.socket, client: BufferedReader
    ) -> None:
        # A client that asked first will not send its body.
        if head.get("Expect") is None:
            for _ in body(client, head):
                pass
        status, message = _REFUSALS[fault]
        text = _ERROR.format(code=fault.value, message=message, path=escape(head.path)).encode()
        fields = (
            ("Content-Type", "application/xml"),
            ("Date", formatdate(usegmt=True)),
            ("Connection", "close"),
            ("Content-Length", str(len(text))),
        )
        self._pass_on(MessageHead(f"HTTP/1.1 {status}", fields).encode(), near)
        if head.method != "HEAD":
            self._pass_on(text, near)

    def _upload(
        self, head: MessageHead, near: socket.socket, far: socket.socket, pieces: Iterable[bytes]
    ) -> None:
        """Pass on a request, as far as the store takes it."""
        if head.get("Expect") is not None:
            self._pass_on(b"HTTP/1.1 100 Continue\r\n\r\n", near)
        alone = head.with_field("Expect", None).with_field("Connection", "close")
        self._pass_on(alone.encode(), far)
        for piece in pieces:
            try:
                self._pass_on(piece, far)
            except OSError:
                break
        # If it has answered already, the client will look only when all is sent.
        for _ in pieces:
            pass

    def _download(self, request: MessageHead, near: socket.socket, store: BufferedReader) -> None:
        """Pass on an answer, or half of it."""
        head = MessageHead.read(store)
        half = (head.length or 0) // 2
        fault = None
        if request.method == "GET" and head.is_success and half:
            fault = self._take(request, _DOWNLOADS)
        if fault is Misbehaviour.SHORTEN_DOWNLOAD:
            head = head.with_field("Content-Length", str(half))
        self._pass_on(head.encode(), near)
        left = sys.maxsize if fault is None else half
        while piece := store.read1(min(CHUNK, left)):
            self._pass_on(piece, near)
            left -= len(piece)
        if fault is Misbehaviour.CUT_DOWNLOAD:
            _reset(near)


def _half(head: MessageHead, client: BufferedReader) -> Iterator[bytes]:
    """Read half of a request's body; of one without a length, the first piece."""
    pieces = body(client, head)
    if head.length is None:
        yield from islice(pieces, 1)
        return
    left = head.length // 2
    while left:
        piece = next(pieces)[:left]
        left -= len(piece)
        yield piece


def _reset(end: socket.socket) -> None:
    """Close it by a reset, as when a host is gone."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()

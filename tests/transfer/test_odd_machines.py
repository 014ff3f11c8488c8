"""Machines that hang, lie, or keep some of their folders closed: none blocks another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.transfer.archives import noise, tar_of
from tests.transfer.conftest import Sending

CALLS = tar_of({"one.wav": noise(2000)})


class _Files(asyncssh.SFTPServer):
    """Real files; but folders may be closed, and the server may be odd in a way."""

    odd = ""

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        if path.endswith(b"lost+found"):
            raise asyncssh.SFTPPermissionDenied("closed")
        if path.endswith(b"gone"):
            raise asyncssh.SFTPNoSuchFile("gone")
        async for name in super().scandir(path):
            if self.odd == "huge" and name.filename in {b"calls.tar", "calls.tar"}:
                name.attrs.size = 2**63
            yield name

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        if self.odd == "silent reads":
            # Nobody else does: it is not asked to.
            super().close(file_obj)
            await asyncio.Event().wait()
        return bytes(super().read(file_obj, offset, size))  # type: ignore[arg-type]


async def _command(process: asyncssh.SSHServerProcess[bytes], odd: str) -> None:
    script = process.command or ""
    if "sha256sum" in script:
        if odd == "silent hashes":
            await asyncio.Event().wait()
        if odd == "broken hashes":
            process.get_extra_info("connection").abort()
            return
    shell = await asyncio.create_subprocess_shell(
        script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    # Only names of files are given, and ended.
    given = await process.stdin.read() if "xargs" in script else b""
    printed, _ = await shell.communicate(given)
    process.stdout.write(printed)
    process.exit(shell.returncode or 0)


@contextmanager
def odd_machine(sending: Sending, odd: str) -> Iterator[int]:
    """Run an SSH server that is odd in a way; gives its port, which is known to the sender."""
    server = sending.server
    files = type("Files", (_Files,), {"odd": odd})
    loop = asyncio.new_event_loop()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(server.folder / "host_key")],
            authorized_client_keys=str(server.folder / "user_key.pub"),
            sftp_factory=files,
            process_factory=lambda process: _command(process, odd),
            encoding=None,
        )

    async def end(acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    try:
        port = acceptor.get_port()
        sending.trust(port)
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(end(acceptor), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("odd", ["silent reads", "silent hashes"])
def test_a_machine_that_does_not_answer_is_given_up(sending: Sending, odd: str) -> None:
    sending.put("calls.tar", CALLS)
    with odd_machine(sending, odd) as port:
        done = sending.run(
            sending.source("*", port),
            sending.source("*"),
            TRANSFER_ATTEMPTS="1",
            # The other machine, which is busy, has to answer within it.
            TRANSFER_TIMEOUT="10",
        )
    assert done.exit_code == 1
    assert f"{port}: the connection broke (no answer within 10 s)" in done.stderr
    assert sending.bucket.only() == CALLS


def test_a_connection_that_breaks_while_files_are_hashed_is_made_again(sending: Sending) -> None:
    sending.put("calls.tar", CALLS)
    with odd_machine(sending, "broken hashes") as port:
        done = sending.run(sending.source("*", port), TRANSFER_ATTEMPTS="2")
    assert done.exit_code == 1
    assert "the connection broke" in done.stderr
    assert "tried 2 times" in done.stderr
    assert "needs a shell" not in done.stderr


@pytest.mark.parametrize("pattern", ["", "**/*.tar"])
def test_a_closed_folder_is_told_and_blocks_no_other(sending: Sending, pattern: str) -> None:
    for name in ("a/calls.tar", "lost+found/other.tar", "gone/other.tar"):
        sending.put(name, CALLS)
    with odd_machine(sending, "") as port:
        report = sending.send(sending.source(pattern, port))
    assert sending.bucket.only() == CALLS
    (note,) = report["notes"]
    assert "this user has no permission to read" in note
    assert note.endswith("lost+found")


def test_an_invalid_size_blocks_no_other_file(sending: Sending) -> None:
    sending.put("calls.tar", CALLS)
    sending.put("other.tar", CALLS)
    with odd_machine(sending, "huge") as port:
        report = sending.send(sending.source("", port))
    assert [Path(entry["path"]).name for entry in report["transfers"]] == ["other.tar"]
    (note,) = report["notes"]
    assert note.endswith(f"calls.tar: the server reports an impossible size, {2**63} bytes")


def _without_user(source: str, sending: Sending) -> str:
    return source.replace(f"{sending.server.user}@", "")


def test_users_of_one_machine_have_the_same_files(sending: Sending) -> None:
    sending.put("calls.tar", CALLS)
    sending.put("more.tar", tar_of({"2.wav": noise(100)}))
    source = sending.source("*.tar")

    report = sending.send(source, _without_user(source, sending))

    assert [entry["outcome"] for entry in report["transfers"]] == ["sent", "sent"]
    assert report["known"] == 2


def test_a_machine_under_two_names_sends_nothing_twice(sending: Sending) -> None:
    sending.put("calls.tar", tar_of({"one.wav": noise(20_000_000)}))
    with odd_machine(sending, "") as port:
        report = sending.send(sending.source("*.tar"), sending.source("*.tar", port))
    assert sorted(entry["outcome"] for entry in report["transfers"]) == ["copy", "sent"]
    assert len(sending.bucket.keys()) == 1


def test_an_unforeseen_error_costs_one_machine(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending.put("calls.tar", CALLS)
    real: Callable[..., Any] = asyncssh.connect

    def connect(**options: Any) -> Any:
        if options["port"] == 1:
            raise RecursionError("hush")
        return real(**options)

    monkeypatch.setattr(asyncssh, "connect", connect)
    done = sending.run(sending.source("*", 1), sending.source("*"))
    assert done.exit_code == 1
    assert ":1: RecursionError in test_odd_machines.py, line" in done.stderr
    assert "hush" not in done.output
    assert sending.bucket.only() == CALLS


def test_a_jump_for_all_machines_is_no_jump_to_itself(sending: Sending, tmp_path: Path) -> None:
    server = sending.server
    sending.put("calls.tar", CALLS)
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host studio bastion\n  HostName 127.0.0.1\n  Port {server.port}\n"
        f"  User {server.user}\nHost *\n  ProxyJump bastion\n"
    )
    sending.send(f"studio:{sending.there}/*", TRANSFER_SSH_CONFIG=str(config))
    assert sending.bucket.only() == CALLS

"""Logging in on another machine: by a key, and only where its host key is known.

OpenSSH's client configuration counts (addresses, users, jumps, keys, certificates,
agents), but never what would switch the check of host keys off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from consumers.errors import ConfigurationError, PermanentError
from ops.ingest.transfer.errors import BrokenError, HostKeyError
from ops.ingest.transfer.source import Host

_DEFAULT_KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
_SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in.

    Attributes:
        key: A private key's file; None for those of ssh_config, the agent and ``~/.ssh``.
        known_hosts: The file of the host keys to trust; None for those that OpenSSH looks in.
        config: A file like ssh_config; None for ``~/.ssh/config``.
        timeout: Seconds to get connected in, and without any answer until it is broken.
    """

    key: Path | None = None
    known_hosts: Path | None = None
    config: Path | None = None
    timeout: float = 30.0


@asynccontextmanager
async def connected(host: Host, login: Login) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Log in for as long as the block runs, over jumps if ssh_config says so.

    Raises:
        BrokenError: It can't be reached.
        HostKeyError: Its host key is not the known one.
        PermanentError: It does not let us in.
        ConfigurationError: ssh_config, the key or known_hosts can't be used.
    """
    async with AsyncExitStack() as stack:
        yield await _connect(stack, host, login, frozenset(), via=None)


async def _connect(
    stack: AsyncExitStack,
    host: Host,
    login: Login,
    behind: frozenset[str],
    *,
    via: asyncssh.SSHClientConnection | None,
) -> asyncssh.SSHClientConnection:
    """Log in on a machine, over its jumps.

    ``Host *`` with a jump means the jump itself as well, and no machine is jumped over to
    get to itself: as with OpenSSH, such a jump does not count.

    Args:
        stack: Ends the connections.
        host: The machine.
        login: How to log in.
        behind: The names of the machines that this one is a jump of.
        via: The connection to the jump before it.
    """
    given = _options(host, login)
    probe = _read_options(host, given)
    keys = _HostKeys.of(host, probe, login)
    if via is None and isinstance(probe.tunnel, str):
        # asyncssh would open these, too, but would trust what ssh_config has it trust.
        names = behind | {host.name}
        for jump in map(_jump, probe.tunnel.split(",")):
            if jump.name not in names:
                via = await _connect(stack, jump, login, names, via=via)
    client = _Client()
    try:
        connection = await asyncssh.connect(
            **given,
            client_factory=lambda: client,
            known_hosts=keys.known,
            tunnel=via,
            connect_timeout=login.timeout,
            keepalive_interval=login.timeout / 3,
        )
    except asyncssh.HostKeyNotVerifiable as exc:
        raise HostKeyError(keys.refusal(client.offered, str(exc.reason))) from exc
    except asyncssh.PermissionDenied as exc:
        raise PermanentError(_not_let_in(host, probe, login)) from exc
    except asyncssh.KeyExchangeFailed as exc:
        raise HostKeyError(f"{host}: {exc.reason}: {keys.where}") from exc
    except (asyncssh.Error, OSError) as exc:
        raise BrokenError(f"{host} can't be reached: {_reason(exc)}") from exc
    stack.push_async_callback(_close, connection)
    return connection


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.abort()
    await connection.wait_closed()


def _options(host: Host, login: Login) -> dict[str, Any]:
    options: dict[str, Any] = {"host": host.name}
    if host.user is not None:
        options["username"] = host.user
    if host.port is not None:
        options["port"] = host.port
    if login.key is not None:
        # An agent of whoever runs this is not asked for others.
        options |= {"client_keys": [str(login.key)], "agent_path": None}
    if login.config is not None:
        options["config"] = [str(login.config)]
    return options


def _read_options(host: Host, given: dict[str, Any]) -> asyncssh.SSHClientConnectionOptions:
    try:
        return asyncssh.SSHClientConnectionOptions(**given)
    except (OSError, ValueError, asyncssh.Error) as exc:
        # An asyncssh.KeyImportError, or ConfigParseError, is a ValueError.
        raise ConfigurationError(f"{host}: the SSH settings can't be used: {exc}") from exc


def _jump(text: str) -> Host:
    user, _, place = text.strip().removeprefix("ssh://").rpartition("@")
    name, colon, port = place.rpartition(":")
    if not colon or not port.isdecimal() or (":" in name and not name.endswith("]")):
        name, port = place, ""
    return Host(name.strip("[]"), user or None, int(port) if port else None)


def _not_let_in(host: Host, probe: asyncssh.SSHClientConnectionOptions, login: Login) -> str:
    key = "any of the keys that were offered" if login.key is None else f"the key {login.key}"
    return (
        f"{host} does not let {probe.username} in by {key}: add the public key to "
        f"~{probe.username}/.ssh/authorized_keys there"
    )


def _reason(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__


class _Client(asyncssh.SSHClient):
    """Remembers a host key that is not trusted; it never trusts one itself."""

    def __init__(self) -> None:
        self.offered: asyncssh.SSHKey | None = None

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        del host, addr, port
        self.offered = key
        return False


@dataclass(frozen=True, slots=True)
class _HostKeys:
    """The host keys to trust for a machine.

    Attributes:
        host: The machine.
        name: Under which it is looked up.
        port: Which it answers on.
        files: Where they were looked for.
        known: What was found there, of all machines.
    """

    host: Host
    name: str
    port: int
    files: Sequence[Path]
    known: asyncssh.SSHKnownHosts = field(repr=False)

    @classmethod
    def of(cls, host: Host, probe: asyncssh.SSHClientConnectionOptions, login: Login) -> _HostKeys:
        if login.known_hosts is not None:
            names = [str(login.known_hosts)]
        elif probe.known_hosts is None:
            raise ConfigurationError(
                f"{host}: ssh_config switches the check of host keys off (UserKnownHostsFile "
                "none), and they are always checked: take that away, or name a file by "
                "--known-hosts"
            )
        else:
            listed = probe.known_hosts
            names = list(listed) if isinstance(listed, list | tuple) and listed else []
            names = names or list(_DEFAULT_KNOWN_HOSTS)
        files = [Path(name).expanduser() for name in names]
        if login.known_hosts is not None and not login.known_hosts.is_file():
            raise ConfigurationError(f"there is no file {login.known_hosts} of known hosts")
        try:
            present = [str(file) for file in files if file.is_file()]
            known = asyncssh.read_known_hosts(present)
        except (OSError, ValueError) as exc:
            raise ConfigurationError(f"known hosts can't be read: {exc}") from exc
        name = probe.host_key_alias or probe.host
        return cls(host, name, probe.port or _SSH_PORT, files, known)

    @property
    def where(self) -> str:
        """The files that were looked in."""
        return "known hosts are in " + ", ".join(str(file) for file in self.files)

    def refusal(self, offered: asyncssh.SSHKey | None, reason: str) -> str:
        """Say what is wrong with the key that it showed, and what can be done."""
        if offered is None:
            return f"{self.host} is refused: {reason} ({self.where})"
        port = None if self.port == _SSH_PORT else self.port
        trusted = self.known.match(self.name, "", port)[0]
        entry = self.name if port is None else f"[{self.name}]:{port}"
        shown = f"{offered.get_algorithm()} {offered.get_fingerprint()}"
        file = self.files[0]
        scan = f"ssh-keyscan -p {self.port} {self.name} >> {file}"
        compare = "compare it with what `ssh-keygen -lf` says there of /etc/ssh/ssh_host_*_key.pub"
        if trusted:
            known = ", ".join(key.get_fingerprint() for key in trusted)
            return (
                f"{self.host} is refused: its host key has CHANGED. It shows {shown}; known is "
                f"{known} ({self.where}). Somebody may be in between. If the machine was set up "
                f"anew, {compare}, then: ssh-keygen -R '{entry}' -f {file} && {scan}"
            )
        return (
            f"{self.host} is refused: its host key is unknown. It shows {shown}; {self.where}. "
            f"If it is the right one ({compare}): {scan}"
        )

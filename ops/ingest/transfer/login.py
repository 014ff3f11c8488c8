"""Logging in to another machine: by a key, and only if its host key is known.

OpenSSH's client configuration applies (addresses, users, jumps, keys, certificates,
agents), except for options that would switch off the check of host keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from consumers.errors import ConfigurationError, PermanentError
from ops.ingest.transfer.errors import BrokenError
from ops.ingest.transfer.source import Host

_DEFAULT_KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
_SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in.

    Attributes:
        key: The private key's file; None for the keys of ssh_config, the agent and ``~/.ssh``.
        known_hosts: The file of trusted host keys; None for OpenSSH's files.
        config: A file like ssh_config; None for ``~/.ssh/config``.
        timeout: Seconds for connecting, and without a response until a connection is broken.
        attempts: The most failures of a connection in a row.
    """

    key: Path | None
    known_hosts: Path | None
    config: Path | None
    timeout: float
    attempts: int


async def connect(
    stack: AsyncExitStack,
    host: Host,
    login: Login,
    *,
    behind: frozenset[str] = frozenset(),
    via: asyncssh.SSHClientConnection | None = None,
) -> asyncssh.SSHClientConnection:
    """Log in to a machine, over its jumps.

    ``Host *`` with a jump applies to the jump itself, too. As with OpenSSH, a jump over a
    machine to reach that machine is ignored: ``behind`` are the names of those that are
    reached over this one, and ``via`` is the connection to the previous jump. The stack
    closes all connections.

    Raises:
        BrokenError: The machine is unreachable.
        PermanentError: It rejects the login, or its host key is unknown or has changed.
        ConfigurationError: ssh_config, the key or known_hosts is invalid.
    """
    given = _options(host, login)
    probe = _read_options(host, given)
    keys = _HostKeys.of(host, probe, login)
    if via is None and isinstance(probe.tunnel, str):
        # asyncssh would open the jumps itself, but trust whatever ssh_config trusts.
        names = behind | {host.name}
        for jump in map(_jump, probe.tunnel.split(",")):
            if jump.name not in names:
                via = await connect(stack, jump, login, behind=names, via=via)
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
        raise PermanentError(keys.refusal(client.offered, str(exc.reason))) from exc
    except asyncssh.PermissionDenied as exc:
        key = "any of the keys that were offered" if login.key is None else f"the key {login.key}"
        raise PermanentError(
            f"{host} does not let {probe.username} in by {key}: add the public key to "
            f"~{probe.username}/.ssh/authorized_keys there"
        ) from exc
    except asyncssh.KeyExchangeFailed as exc:
        raise PermanentError(f"{host}: {exc.reason}: {keys.where}") from exc
    except (asyncssh.Error, OSError) as exc:
        raise BrokenError(f"{host} is unreachable: {reason_of(exc)}") from exc
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
        # Only this key is used, and none of the agent's.
        options |= {"client_keys": [str(login.key)], "agent_path": None}
    if login.config is not None:
        options["config"] = [str(login.config)]
    return options


def _read_options(host: Host, given: dict[str, Any]) -> asyncssh.SSHClientConnectionOptions:
    try:
        return asyncssh.SSHClientConnectionOptions(**given)
    except (OSError, ValueError, asyncssh.Error) as exc:
        # asyncssh.KeyImportError and ConfigParseError are ValueErrors.
        raise ConfigurationError(f"{host}: the SSH settings are invalid: {exc}") from exc


def _jump(text: str) -> Host:
    user, _, place = text.strip().removeprefix("ssh://").rpartition("@")
    name, colon, port = place.rpartition(":")
    if not colon or not port.isdecimal() or (":" in name and not name.endswith("]")):
        name, port = place, ""
    return Host(name.strip("[]"), user or None, int(port) if port else None)


def reason_of(exc: BaseException) -> str:
    """Return an error's message, or its type if it has none."""
    return str(exc) or type(exc).__name__


class _Client(asyncssh.SSHClient):
    """Records an untrusted host key, and never accepts one."""

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
    """The host keys to trust for a machine, looked up by name and port in the files of all."""

    host: Host
    name: str
    port: int
    files: Sequence[Path]
    known: asyncssh.SSHKnownHosts = field(repr=False)

    @classmethod
    def of(cls, host: Host, probe: asyncssh.SSHClientConnectionOptions, login: Login) -> _HostKeys:
        names: Sequence[str | Path] = _DEFAULT_KNOWN_HOSTS
        if login.known_hosts is not None:
            names = [login.known_hosts]
            if not login.known_hosts.is_file():
                raise ConfigurationError(f"there is no file {login.known_hosts} of known hosts")
        elif probe.known_hosts is None:
            raise ConfigurationError(
                f"{host}: ssh_config switches the check of host keys off (UserKnownHostsFile "
                "none), but they are always checked: remove that option, or name a file by "
                "--known-hosts"
            )
        elif isinstance(probe.known_hosts, list | tuple):
            names = probe.known_hosts or names
        files = [Path(name).expanduser() for name in names]
        try:
            present = [str(file) for file in files if file.is_file()]
            known = asyncssh.read_known_hosts(present)
        except (OSError, ValueError) as exc:
            raise ConfigurationError(f"known hosts cannot be read: {exc}") from exc
        name = probe.host_key_alias or probe.host
        return cls(host, name, probe.port or _SSH_PORT, files, known)

    @property
    def where(self) -> str:
        """The files of known hosts, for people."""
        return "known hosts are in " + ", ".join(str(file) for file in self.files)

    def refusal(self, offered: asyncssh.SSHKey | None, reason: str) -> str:
        """Explain why the machine's key is refused, and what to do."""
        if offered is None:
            return f"refusing {self.host}: {reason} ({self.where})"
        port = None if self.port == _SSH_PORT else self.port
        trusted = self.known.match(self.name, "", port)[0]
        entry = self.name if port is None else f"[{self.name}]:{port}"
        shown = f"{offered.get_algorithm()} {offered.get_fingerprint()}"
        file = self.files[0]
        scan = f"ssh-keyscan -p {self.port} {self.name} >> {file}"
        compare = "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on that machine"
        if trusted:
            known = ", ".join(key.get_fingerprint() for key in trusted)
            return (
                f"refusing {self.host}: its host key has CHANGED. It shows {shown}, but "
                f"{known} is known ({self.where}). The connection may be intercepted. If the "
                f"machine was reinstalled, {compare}, then: ssh-keygen -R '{entry}' -f {file} "
                f"&& {scan}"
            )
        return (
            f"refusing {self.host}: unknown host key {shown}; {self.where}. "
            f"If it is right ({compare}): {scan}"
        )

"""How recordings are fetched from other machines."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ops.wiring.environment import Environment, SettingError


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """How recordings are fetched from other machines.

    ========================  ================================================
    ``TRANSFER_ROOT``         the folder of what is on its way, and of the record
                              of what was sent; one run at a time works in it
                              (``~/.local/share/dropscribe/transfer``)
    ``TRANSFER_SSH_KEY``      the file of the private key to log in by (those
                              that ssh_config and the agent have)
    ``TRANSFER_KNOWN_HOSTS``  the file of the host keys to trust
                              (``~/.ssh/known_hosts`` and
                              ``/etc/ssh/ssh_known_hosts``, or what ssh_config
                              names)
    ``TRANSFER_SSH_CONFIG``   a file like ssh_config (``~/.ssh/config``)
    ``TRANSFER_ATTEMPTS``     how often in a row a connection is tried (5)
    ``TRANSFER_TIMEOUT``      seconds without an answer until it is broken (30)
    ``TRANSFER_RESERVE``      bytes that stay free on the disk (1000000000)
    ========================  ================================================
    """

    root: Path
    key: Path | None
    known_hosts: Path | None
    config: Path | None
    attempts: int
    timeout: int
    reserve: int

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read and check the variables.

        Raises:
            SettingError: One can't be.
        """
        return cls(
            root=environment.path("TRANSFER_ROOT") or _default_root(environment),
            key=_read_file(environment, "TRANSFER_SSH_KEY"),
            known_hosts=_read_file(environment, "TRANSFER_KNOWN_HOSTS"),
            config=_read_file(environment, "TRANSFER_SSH_CONFIG"),
            attempts=environment.integer("TRANSFER_ATTEMPTS", 5, most=100),
            timeout=environment.integer("TRANSFER_TIMEOUT", 30, most=3600),
            reserve=environment.integer("TRANSFER_RESERVE", 1_000_000_000, least=0, most=10**15),
        )


def _default_root(environment: Environment) -> Path:
    """Give the place for a user's data (XDG Base Directory Specification)."""
    data = environment.path("XDG_DATA_HOME") or Path("~/.local/share").expanduser()
    return data / "dropscribe" / "transfer"


def _read_file(environment: Environment, name: str) -> Path | None:
    path = environment.path(name)
    if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
        raise SettingError(f"{name}={str(path)!r} is not a file that can be read")
    return path

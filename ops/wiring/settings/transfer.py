"""Settings of ``dropscribe transfer``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ops.wiring.environment import SettingError
from ops.wiring.settings.declaration import Settings, count, setting
from ops.wiring.settings.values import AbsolutePath, ReadableFile, Whole


class DataHomeSettings(Settings):
    """Where a user's data is (XDG Base Directory Specification)."""

    title = "Transfer"
    foreign = "the desktop"

    data_home: str | None = setting(
        "XDG_DATA_HOME", "Folder of the user's data", default=None, shown="~/.local/share"
    )


def _transfer_folder(fields: dict[str, Any]) -> Path:
    data = Path(fields["data_home"] or "~/.local/share").expanduser()
    if not data.is_absolute():
        raise SettingError(f"XDG_DATA_HOME={str(data)!r} is invalid: must be an absolute path")
    return data / "dropscribe" / "transfer"


class TransferSettings(DataHomeSettings):
    """How ``dropscribe transfer`` fetches recordings from other machines."""

    title = "Transfer"
    foreign = ""

    root: AbsolutePath = setting(
        "TRANSFER_ROOT",
        "Folder for files on their way and the record of those sent; one run at a time uses it",
        default=_transfer_folder,
        shown="~/.local/share/dropscribe/transfer",
    )
    key: ReadableFile | None = setting(
        "TRANSFER_SSH_KEY",
        "Private key to log in with",
        default=None,
        shown="those of ssh_config and the agent",
    )
    known_hosts: ReadableFile | None = setting(
        "TRANSFER_KNOWN_HOSTS",
        "Host keys to trust",
        default=None,
        shown="those of ssh_config, ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts",
    )
    config: ReadableFile | None = setting(
        "TRANSFER_SSH_CONFIG",
        "Configuration in the form of ssh_config",
        default=None,
        shown="~/.ssh/config",
    )
    attempts: Whole = count(
        "TRANSFER_ATTEMPTS", "Attempts in a row to connect to a machine", default=5, most=100
    )
    timeout: Whole = count(
        "TRANSFER_TIMEOUT",
        "Seconds without an answer after which a connection counts as broken",
        default=30,
        most=3600,
    )
    reserve: Whole = count(
        "TRANSFER_RESERVE",
        "Bytes to leave free on the disk",
        default=1_000_000_000,
        least=0,
        most=10**15,
    )

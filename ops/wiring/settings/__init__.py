"""All settings, in groups that are read together.

Each command declares the groups that it reads, and `ops.cli.settings` derives its ``--help``.
"""

from collections.abc import Iterable

from ops.wiring.settings.bootstrap import STORE_KINDS, STORE_ROLES, BootstrapSettings, StoreKind
from ops.wiring.settings.declaration import Settings, Variable
from ops.wiring.settings.monitoring import Address, HealthSettings, ObservingSettings
from ops.wiring.settings.servers import (
    BrokerSettings,
    DatabaseSettings,
    LoopSettings,
    StoreSettings,
    read_broker_address,
)
from ops.wiring.settings.stages import (
    PACKAGED_MODEL,
    ModelsSettings,
    ModerationSettings,
    PoliciesSettings,
    ReviewSettings,
    ScratchRootSettings,
    ScratchSettings,
    SpeechSettings,
    UnpackSettings,
)
from ops.wiring.settings.transfer import TransferSettings
from ops.wiring.settings.values import Limits

__all__ = [
    "GROUPS",
    "PACKAGED_MODEL",
    "SERVER_SETTINGS",
    "STORE_KINDS",
    "STORE_ROLES",
    "Address",
    "BootstrapSettings",
    "BrokerSettings",
    "DatabaseSettings",
    "HealthSettings",
    "Limits",
    "LoopSettings",
    "ModelsSettings",
    "ModerationSettings",
    "ObservingSettings",
    "PoliciesSettings",
    "ReviewSettings",
    "ScratchRootSettings",
    "ScratchSettings",
    "Settings",
    "SpeechSettings",
    "StoreKind",
    "StoreSettings",
    "TransferSettings",
    "UnpackSettings",
    "Variable",
    "read_broker_address",
    "variables_of",
]

#: Where the servers are, and how deliveries are retried.
SERVER_SETTINGS: tuple[type[Settings], ...] = (
    StoreSettings,
    BrokerSettings,
    DatabaseSettings,
    LoopSettings,
)

#: All groups, in the order in which people read about them.
GROUPS: tuple[type[Settings], ...] = (
    *SERVER_SETTINGS,
    ScratchSettings,
    ModelsSettings,
    UnpackSettings,
    SpeechSettings,
    PoliciesSettings,
    ModerationSettings,
    ReviewSettings,
    ObservingSettings,
    BootstrapSettings,
    TransferSettings,
    HealthSettings,
)


def variables_of(groups: Iterable[type[Settings]] = GROUPS) -> tuple[Variable, ...]:
    """Describe the variables of groups, each once, in the order of `GROUPS`."""
    wanted = {variable.name for group in groups for variable in group.variables()}
    known = {variable.name: variable for group in GROUPS for variable in group.variables()}
    return tuple(variable for name, variable in known.items() if name in wanted)

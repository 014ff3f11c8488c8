"""All settings, in groups that are read together.

A command declares the groups that it reads; `ops.cli.settings` makes its ``--help`` of them.
"""

from ops.wiring.settings.declaration import Settings, Variable
from ops.wiring.settings.operations import (
    Address,
    HealthSettings,
    ObservingSettings,
    TransferSettings,
)
from ops.wiring.settings.servers import (
    STORE_KINDS,
    STORE_ROLES,
    BootstrapSettings,
    BrokerSettings,
    DatabaseSettings,
    StoreKind,
    StoreSettings,
    read_broker_address,
)
from ops.wiring.settings.stages import (
    PACKAGED_MODEL,
    LoopSettings,
    ModelsSettings,
    ModerationSettings,
    PoliciesSettings,
    ReviewSettings,
    ScratchRootSettings,
    ScratchSettings,
    SpeechSettings,
    UnpackSettings,
    read_scratch_root,
)
from ops.wiring.settings.values import Limits

__all__ = [
    "PACKAGED_MODEL",
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
    "read_scratch_root",
]

"""All settings, by the variables that hold them. Each command reads what it needs.

What leads to another host has to be encrypted, unless ``ALLOW_CLEARTEXT`` is 1:
for a network of one's own.
"""

from ops.wiring.settings.bootstrap import STORE_KINDS, STORE_ROLES, BootstrapSettings, StoreKind
from ops.wiring.settings.observing import Address, ObservingSettings
from ops.wiring.settings.policy import ModerationSettings, ReviewSettings
from ops.wiring.settings.servers import DatabaseSettings, StoreSettings, read_broker_address
from ops.wiring.settings.work import (
    PACKAGED_MODEL,
    LoopSettings,
    SpeechSettings,
    UnpackSettings,
    read_scratch_root,
)

__all__ = [
    "PACKAGED_MODEL",
    "STORE_KINDS",
    "STORE_ROLES",
    "Address",
    "BootstrapSettings",
    "DatabaseSettings",
    "LoopSettings",
    "ModerationSettings",
    "ObservingSettings",
    "ReviewSettings",
    "SpeechSettings",
    "StoreKind",
    "StoreSettings",
    "UnpackSettings",
    "read_broker_address",
    "read_scratch_root",
]

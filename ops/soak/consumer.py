"""Consumers as ``dropscribe consume`` runs them, but for two things.

``python -m ops.soak.consumer ROUTE...``: they hear with the recogniser that has
no model, and die where a marker in the folder ``SOAK_DEATHS`` says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ops.commands.consume import run_consumers
from ops.composition import Adapters
from ops.environment import Environment
from ops.soak.recogniser import LengthRecogniser


def main(routes: Sequence[str]) -> None:
    """Consume until a signal asks to end."""
    run_consumers(
        routes,
        Environment(os.environ),
        Adapters(recogniser=lambda _: LengthRecogniser()),
    )


if __name__ == "__main__":
    main(sys.argv[1:])

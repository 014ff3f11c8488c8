"""Set-up of a deployment: queues, bucket, rules, rights and schema.

Every step changes only what is missing or differs, so bootstrap can run at any time. It
leaves other people's queues, rules and statements alone.
"""

from __future__ import annotations

from ops.bootstrap.plan import bootstrap

__all__ = ["bootstrap"]

"""Making what the pipeline runs on: broker, bucket, rules, rights and schema.

Everything is made only where it is not there yet, or not as it should be, so it
can be run at any time, and what is not ours is left alone.
"""

from __future__ import annotations

from ops.bootstrap.plan import bootstrap
from ops.bootstrap.step import Step

__all__ = ["Step", "bootstrap"]

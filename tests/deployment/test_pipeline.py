"""The pipeline on real servers."""

from __future__ import annotations

from tests.contracts.pipeline import PipelineContract


class TestPipeline(PipelineContract):
    """The contract."""

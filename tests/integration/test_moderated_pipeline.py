"""The whole with a policy, on the embedded stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.moderated import POLICY, ModeratedContract
from tests.integration.conftest import Pipeline
from tests.integration.moderated import write_policies


class TestModeratedOnTheEmbeddedStack(ModeratedContract):
    """The contract."""

    @pytest.fixture
    def variables(self, variables: dict[str, str], tmp_path: Path) -> dict[str, str]:
        root = write_policies(tmp_path / "policies", length=POLICY)
        return {**variables, "POLICIES_ROOT": str(root)}

    @pytest.fixture
    def place(self, pipeline: Pipeline) -> Pipeline:
        pipeline.start(moderators=1)
        return pipeline

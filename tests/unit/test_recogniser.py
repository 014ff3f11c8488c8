"""The tests' own recogniser keeps the contract of the real one."""

import pytest

from tests.contracts.recogniser import RecogniserContract
from tests.harness.deployment.stand_ins import LengthRecogniser


class TestLengthRecogniser(RecogniserContract):
    @pytest.fixture
    def recogniser(self) -> LengthRecogniser:
        return LengthRecogniser()

"""The tests' own recogniser keeps the contract of the real one."""

import pytest

from ops.soak.recogniser import LengthRecogniser
from tests.contracts.recogniser import RecogniserContract


class TestLengthRecogniser(RecogniserContract):
    @pytest.fixture
    def recogniser(self) -> LengthRecogniser:
        return LengthRecogniser()

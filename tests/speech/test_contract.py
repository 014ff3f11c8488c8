"""WhisperX keeps the contract that the other tests' recogniser keeps."""

from tests.contracts.recogniser import RecogniserContract


class TestWhisperX(RecogniserContract):
    """With the fixture ``recogniser`` of this folder."""

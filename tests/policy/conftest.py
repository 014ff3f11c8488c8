"""Tiny models, made once per session, and a server of one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contracts.judge import WORD
from tests.policy.tiny import judging_model, tiny_adapter, tiny_gemma

KEY = "the-key-of-the-endpoint"


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Gemma-2 with random weights."""
    return tiny_gemma(tmp_path_factory.mktemp("models") / "tiny-gemma")


@pytest.fixture(scope="session")
def adapter(base: Path) -> Path:
    """A LoRA adapter for it."""
    return tiny_adapter(base.parent / "tiny-adapter", base)


@pytest.fixture(scope="session")
def judging(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Gemma-2 and an adapter that find `WORD`."""
    return judging_model(tmp_path_factory.mktemp("judging"), WORD)


@contextmanager
def serving(model: Path, adapter: Path, *options: str) -> Iterator[str]:
    """Run a server of a model; gives its address."""
    command = [sys.executable, "-m", "tests.policy.server", str(model), str(adapter), *options]
    environment = {**os.environ, "SERVER_KEY": KEY}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def server(judging: tuple[Path, Path]) -> Iterator[str]:
    with serving(*judging) as url:
        yield url

"""No secret is ever printed, logged, or to be seen among the processes: whatever goes wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from ops.cli.main import COMMANDS, main
from ops.policies import EXAMPLES

ROOT = Path(__file__).parents[2]
BATCH = "20250622-143052-a1b2c3"

#: Part of each secret here, and of nothing else.
MARK = "h0sh"
PASSWORD = f"p%{MARK}@:/?#w"
QUOTED = quote(PASSWORD, safe="")

#: How each command is run; those of the embedded stack make up their own secrets.
ARGUMENTS: Mapping[str, Sequence[str]] = {
    "bootstrap": (),
    "consume": ("unpack", "transcribe", "review"),
    "drop": ("--wait", __file__),
    "transfer": ("nobody@127.0.0.1:/srv/*.tar",),
    "status": (),
    "health": ("--json",),
    "transcripts": (BATCH,),
    "search": ("north wind",),
    "dead": ("replay", "--all"),
    "sweep": (),
    "rebuild": (BATCH, "--yes"),
    "release": (BATCH,),
    "reprocess": (BATCH,),
    "policy": ("try", str(EXAMPLES / "hate.md"), "north wind"),
    "review": ("list",),
}


def test_every_command_is_tried_here() -> None:
    assert set(ARGUMENTS) == set(COMMANDS) - {"try", "up"}


@pytest.fixture(scope="module")
def closed() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def hanging_up() -> Iterator[int]:
    """A server that ends each connection as it begins."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    server.accept()[0].close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def settings(port: int, broker: str, folder: Path) -> dict[str, str]:
    """Settings that lead to a port, with a secret wherever there can be one."""
    return {
        "S3_ENDPOINT": f"http://127.0.0.1:{port}",
        "S3_ACCESS_KEY": "key",
        "S3_SECRET_KEY": PASSWORD,
        "BROKER_URL": f"{broker}://user:{QUOTED}@127.0.0.1:{port}",
        "DATABASE_URL": f"postgresql://user:{QUOTED}@127.0.0.1:{port}/dropscribe",
        "SCRATCH_ROOT": str(folder),
        "TRANSFER_ROOT": str(folder / "transfer"),
        "STORE_KIND": "minio" if broker == "amqp" else "aws",
        "POLICIES_ROOT": str(EXAMPLES),
        "POLICY_ENDPOINT": f"http://127.0.0.1:{port}/v1",
        "POLICY_ENDPOINT_MODEL": "cope",
        "POLICY_ENDPOINT_KEY": PASSWORD,
    }


@contextmanager
def started(variables: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``dropscribe`` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "ignore", "-m", "ops", *arguments],
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **variables},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def printed(variables: Mapping[str, str], *arguments: str) -> str:
    """Run it to its end, which is a failure, and give all that it prints."""
    with started(variables, *arguments) as process:
        output, _ = process.communicate(timeout=600)
    # As of monitoring plugins, which say so that something is critical.
    assert process.returncode == (2 if arguments[0] == "health" else 1), output
    return output


def is_hushed(output: str) -> bool:
    return MARK not in output and PASSWORD not in output


#: Commands that ask the broker before anything else.
BROKER_FIRST = ("bootstrap", "dead")

#: What the client of a policy model's server says where it is not installed.
NO_CLIENT = "needs the package openai"


def test_no_command_prints_one_when_servers_are_unreachable(closed: int, tmp_path: Path) -> None:
    tried = [("sqs", (name, *arguments)) for name, arguments in ARGUMENTS.items()]
    tried += [("amqp", (name, *ARGUMENTS[name])) for name in BROKER_FIRST]
    tried.append(("sqs", ("consume", "moderate")))

    def output_of(case: tuple[str, Sequence[str]]) -> str:
        broker, command = case
        return printed(settings(closed, broker, tmp_path), *command)

    # Most of them wait half a minute for the database.
    with ThreadPoolExecutor(len(tried)) as threads:
        for (_, command), output in zip(tried, threads.map(output_of, tried), strict=True):
            asks_a_model = command[0] == "policy" or "moderate" in command
            assert "unreachable" in output or (asks_a_model and NO_CLIENT in output)
            assert is_hushed(output), output


@pytest.mark.parametrize("broker", ["sqs", "amqp"])
def test_bootstrap_prints_none_when_servers_hang_up(broker: str, tmp_path: Path) -> None:
    with hanging_up() as port:
        output = printed(settings(port, broker, tmp_path), "bootstrap")
    assert "unreachable" in output
    assert is_hushed(output), output


@pytest.mark.parametrize("broker", ["sqs", "amqp"])
def test_a_consumer_logs_none_while_it_looks_for_its_servers(
    variables: dict[str, str], closed: int, broker: str, tmp_path: Path
) -> None:
    away = {
        **settings(closed, broker, tmp_path),
        "DATABASE_URL": variables["DATABASE_URL"] + f"&password={QUOTED}",
        "UNPACK_PROCESSES": "1",
    }
    with started(away, "consume", "unpack") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "broker lost" in line:
                break
        shown = [commands(process.pid), *map(commands, children(process.pid))]
        process.send_signal(signal.SIGTERM)
        output = "".join(lines) + process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert "broker lost" in output
    assert is_hushed(output), output
    # What `ps` shows to everybody.
    assert "consume" in shown[0]
    assert is_hushed("".join(shown))


def commands(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("S3_SECRET_KEY_FILE", PASSWORD),
        ("S3_SECRET_KEY_FILE", f"/{MARK}"),
        ("S3_ENDPOINT", f"https://key:{MARK}@store"),
        ("S3_ENDPOINT", f"https://key:{QUOTED}@store:9000/path"),
        ("BROKER_URL", f"amqp://user:{PASSWORD}@127.0.0.1"),
        ("BROKER_URL", f"amqp://user:{QUOTED}@rabbit"),
        ("BROKER_URL", f"redis://user:{QUOTED}@127.0.0.1"),
        ("BROKER_URL", f"amqp://user:{MARK}"),
        ("BROKER_URL", f"{MARK}"),
        ("BROKER_URL_FILE", f"amqp://user:{QUOTED}@127.0.0.1"),
        ("STORE_BROKER_URL", f"amqp://user:{PASSWORD}@127.0.0.1"),
        ("DATABASE_URL", f"postgresql://user:{PASSWORD}@127.0.0.1/dropscribe"),
        ("DATABASE_URL", f"postgresql://user:{QUOTED}@db/dropscribe"),
        ("DATABASE_URL", f"postgresql://user@127.0.0.1/dropscribe?password={MARK}&passwort={MARK}"),
        ("DATABASE_URL", f"postgresql://user:{MARK}@127.0.0.1:{MARK}/dropscribe"),
        ("DATABASE_URL", f"postgresql://user:pa@ss{MARK}@127.0.0.1/dropscribe"),
        ("DATABASE_URL", f"host=127.0.0.1 password={MARK}"),
        ("DATABASE_URL_FILE", f"postgresql://user:{QUOTED}@127.0.0.1/dropscribe"),
        ("POLICY_ENDPOINT", f"https://key:{MARK}@gpu1:8000/v1"),
        ("POLICY_ENDPOINT", f"https://key:{PASSWORD}@gpu1:8000/v1"),
        ("POLICY_ENDPOINT", f"https://gpu1:8000/v1?key={MARK}"),
        ("POLICY_ENDPOINT", f"http://gpu1:8000/v1?key={QUOTED}"),
        ("POLICY_ENDPOINT_KEY_FILE", PASSWORD),
        ("POLICY_ENDPOINT_KEY_FILE", f"/{MARK}"),
    ],
)
def test_none_is_printed_where_a_setting_is_wrong(
    closed: int, name: str, value: str, tmp_path: Path
) -> None:
    variables = {**settings(closed, "amqp", tmp_path), name: value}
    command = "policy" if name.startswith("POLICY") else "bootstrap"
    result = CliRunner().invoke(main, [command, *ARGUMENTS[command]], env=variables)
    assert result.exit_code == 1
    assert name.removesuffix("_FILE") in result.output
    assert is_hushed(result.output), result.output

"""What names a place on another machine, and what does not."""

from __future__ import annotations

import os
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ops.ingest.transfer.source import (
    Host,
    SourceError,
    TransferSource,
    fixed_part,
    parse_source,
    shown,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}", fullmatch=True)
USERS = st.none() | st.from_regex(r"[a-z_][a-z0-9_.+-]{0,10}", fullmatch=True)
PATHS = st.binary(max_size=60).filter(lambda path: b"\0" not in path)
PORTS = st.none() | st.integers(1, 65535)


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("rec@studio:/srv/*.tar", Host("studio", "rec"), b"/srv/*.tar"),
        ("studio:calls", Host("studio"), b"calls"),
        ("studio:", Host("studio"), b""),
        ("[2001:db8::1]:/a:b", Host("2001:db8::1"), b"/a:b"),
        ("ssh://rec@studio:2222/srv/", Host("studio", "rec", 2222), b"/srv/"),
        ("ssh://[fe80::1%eth0]/x", Host("fe80::1%eth0"), b"/x"),
        ("ssh://studio/a%20b%FF", Host("studio"), b"/a b\xff"),
        ("ssh://studio/~/calls", Host("studio"), b"calls"),
    ],
)
def test_sources(text: str, host: Host, path: bytes) -> None:
    assert parse_source(text) == TransferSource(
        host, path.removeprefix(b"/") if "~" in text else path
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/srv/recordings",
        "calls.tar",
        ":/srv",
        "@studio:/srv",
        "-oProxyCommand=id:/srv",
        "-x@studio:/srv",
        "ssh://studio",
        "ssh://studio:0/srv",
        "ssh://studio:70000/srv",
        "ssh://stu dio/srv",
        "ssh://studio/a%00b",
        "https://studio/srv",
    ],
)
def test_invalid_sources(text: str) -> None:
    with pytest.raises(SourceError):
        parse_source(text)


def test_local_files_are_dropped() -> None:
    with pytest.raises(SourceError, match="dropscribe drop"):
        parse_source("/srv/recordings")


@pytest.mark.parametrize(
    "text",
    [
        "ssh://rec:hunter2@studio/srv",
        "ssh://rec:hunt/er2@studio/srv",
        "rec:hunter2@studio:/srv",
        "rec:hunter2@[::1]:/srv",
        "rec:hunt/er2@studio:calls",
    ],
)
def test_a_password_is_refused_and_not_told(text: str) -> None:
    with pytest.raises(SourceError, match="no password") as refusal:
        parse_source(text)
    assert "er2" not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["studio:/srv/anna@home:1.wav", "studio:./anna@home:1.wav", "rec@studio:anna@home:1"]
)
def test_a_path_may_look_like_a_host(text: str) -> None:
    assert parse_source(text).host.name == "studio"


@given(USERS, NAMES, PATHS)
@example(None, "a", b"\n")
def test_any_path_passes_as_scp_takes_it(user: str | None, name: str, path: bytes) -> None:
    text = (f"{user}@" if user else "") + f"{name}:{os.fsdecode(path)}"
    if path.startswith(b"//") or (user is None and b"@" in path and b":" in path):
        # A URL of another kind, or a password, as it looks.
        return
    assert parse_source(text) == TransferSource(Host(name, user), path)


@given(USERS, NAMES, PORTS, PATHS)
def test_any_path_passes_in_a_url(
    user: str | None, name: str, port: int | None, path: bytes
) -> None:
    place = (f"{user}@" if user else "") + name + (f":{port}" if port else "")
    path = b"/x" + path
    text = f"ssh://{place}/x{quote_from_bytes(path[2:], safe='')}"
    assert parse_source(text) == TransferSource(Host(name, user, port), path)


@given(st.text(max_size=80))
def test_any_text_is_a_source_or_an_error(text: str) -> None:
    try:
        source = parse_source(text)
    except (SourceError, UnicodeEncodeError):
        return
    assert source.host.name
    assert b"\0" not in source.path


@given(st.binary(max_size=60))
def test_a_shown_source_is_one_line(path: bytes) -> None:
    assert shown(path).isprintable()


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        (b"/srv/*/a.tar", b"/srv"),
        (b"/*.tar", b"/"),
        (b"/srv/a[1].tar", b"/srv"),
        (b"/srv/a", b"/srv/a"),
    ],
)
def test_the_fixed_part_of_a_pattern(path: bytes, folder: bytes) -> None:
    assert fixed_part(path) == folder

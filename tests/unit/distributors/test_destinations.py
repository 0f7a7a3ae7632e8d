"""What the option uri means, and what is refused before anything starts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aibemu.distributors.destinations import (
    BlobDestination,
    Destination,
    LocalDestination,
    check_local,
    check_token,
    parse_destination,
)
from aibemu.errors import Span, UsageError

SPAN = Span(file="t.json", line=1, column=1)
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
BLOB = "https://acct.blob.core.windows.net/vhds/gold.vhd"
SIGNATURE = "c2VjcmV0c2lnbmF0dXJl%3D"


def parse(uri: str, directory: Path = Path("/templates")) -> Destination | None:
    return parse_destination(uri, directory=directory, name="out1", span=SPAN)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("gold.vhd", "/templates/gold.vhd"),
        ("out/gold.vhd", "/templates/out/gold.vhd"),
        ("/srv/gold.vhd", "/srv/gold.vhd"),
        ("/srv/images/", "/srv/images/out1.vhd"),
        ("file:///srv/my%20gold.vhd", "/srv/my gold.vhd"),
        ("file://localhost/srv/gold.vhd", "/srv/gold.vhd"),
    ],
)
def test_paths_and_file_urls(uri: str, path: str) -> None:
    assert parse(uri) == LocalDestination(path=Path(path))


def test_empty_means_the_runs_own_folder_and_a_folder_gets_the_outputs_name(tmp_path: Path) -> None:
    assert parse("") is None
    (tmp_path / "images").mkdir()
    assert parse("images", tmp_path) == LocalDestination(path=tmp_path / "images" / "out1.vhd")


@pytest.mark.parametrize(
    "uri",
    [BLOB, "http://127.0.0.1:10000/acct/vhds/gold.vhd", "http://localhost:1/a/b/c", "http://[::1]:1/a/b/c"],
)
def test_blobs(uri: str) -> None:
    place = parse(f"{uri}?sp=cw&sig={SIGNATURE}")
    assert isinstance(place, BlobDestination)
    assert place.address == uri and place.signed
    assert SIGNATURE not in repr(place)
    bare = parse(uri)
    assert isinstance(bare, BlobDestination) and not bare.signed


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://acct.blob.core.windows.net/vhds/gold.vhd", "not encrypted"),
        ("http://10.0.0.1/acct/vhds/gold.vhd", "not encrypted"),
        ("http://127.0.0.1.example.com/a/b/c", "not encrypted"),
        ("https://acct.blob.core.windows.net/gold.vhd", "does not name a blob"),
        ("https://acct.blob.core.windows.net/vhds/", "does not name a blob"),
        ("http://127.0.0.1:10000/vhds/gold.vhd", "does not name a blob"),
        ("https://user@acct.blob.core.windows.net/vhds/gold.vhd", "no usable host"),
        ("https:///vhds/gold.vhd", "no usable host"),
        ("https://acct:x/vhds/gold.vhd", "no usable host"),
        ("https://[bad/vhds/gold.vhd", "cannot be read"),
        ("ftp://host/gold.vhd", "not supported"),
        ("file://server/share/gold.vhd", "not a file of this host"),
        ("a\0b", "NUL"),
    ],
)
def test_refused_uris_name_the_place_but_never_the_token(uri: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse(f"{uri}?sig={SIGNATURE}" if "://" in uri else uri)
    assert caught.value.span == SPAN
    assert SIGNATURE not in f"{caught.value.message}{caught.value.hint}{caught.value.details}"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sp=cw&se=2026-11-23T09:59:59Z", "ended at 2026-11-23"),
        ("sp=cw&se=2026-11-23", "ended at"),
        ("sp=rd&se=2027-01-01", "may not write"),
    ],
)
def test_tokens_that_cannot_work_are_refused(query: str, words: str) -> None:
    place = parse(f"{BLOB}?{query}&sig={SIGNATURE}")
    assert isinstance(place, BlobDestination)
    with pytest.raises(UsageError, match=words) as caught:
        check_token(place, NOW, SPAN)
    assert SIGNATURE not in caught.value.message


@pytest.mark.parametrize("query", ["sp=cw&se=2026-11-24T00:00:00Z", "si=policy", "sp=racwd&se=odd"])
def test_tokens_that_may_work_pass(query: str) -> None:
    place = parse(f"{BLOB}?{query}&sig={SIGNATURE}")
    assert isinstance(place, BlobDestination)
    check_token(place, NOW, SPAN)


def test_only_vhds_are_overwritten(tmp_path: Path) -> None:
    old, precious, empty = tmp_path / "old.vhd", tmp_path / "precious", tmp_path / "empty"
    old.write_bytes(bytes(1024) + b"conectix" + bytes(504))
    precious.write_text("my thesis" * 100)
    empty.touch()
    check_local(old, SPAN)
    check_local(empty, SPAN)
    check_local(tmp_path / "new" / "deep" / "x.vhd", SPAN)
    with pytest.raises(UsageError, match="is not a VHD"):
        check_local(precious, SPAN)
    with pytest.raises(UsageError, match="cannot be written"):
        check_local(precious / "x.vhd", SPAN)


@pytest.mark.parametrize("uri", ["x" * 5000, "~no-such-user-here/x.vhd"])
def test_what_cannot_be_a_path_is_an_error_of_the_template(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be a path"):
        parse_destination(uri, directory=tmp_path, name="n", span=None)


@pytest.mark.parametrize("name", ["/dev/null", "/tmp/" + "x" * 240 + ".vhd"])
def test_devices_and_names_without_room_for_a_temporary_one_are_refused_beforehand(name: str) -> None:
    with pytest.raises(UsageError):
        check_local(Path(name), None)

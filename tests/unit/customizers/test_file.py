"""The File customizer's rules on Linux."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.communicators import UploadFailed
from aibemu.customizers import StepSettings
from aibemu.customizers.file import RECOMMENDED_BYTES, File, resolve_destination
from aibemu.errors import Span
from aibemu.systems import load
from aibemu.template.model import StepSpec


class Uploads:
    """Records uploads; refuses with `reason` if given."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason
        self.seen: list[tuple[Path, str, int | None]] = []

    def upload(self, source: Path, destination: str, *, deadline: object, mode: int | None = None) -> None:
        self.seen.append((source, destination, mode))
        if self.reason:
            raise UploadFailed(self.reason)


class Guest:
    def __init__(self, communicator: Uploads) -> None:
        self.communicator = communicator
        self.deadline = forever()
        self.system = load("Linux")


def made(source: str, destination: str) -> File:
    options = {"sourceUri": source, "destination": destination}
    span = Span(file="t.json", line=1, column=1)
    return File(StepSpec(kind="File", index=0, name="", options=options, span=span), StepSettings())


@pytest.mark.parametrize(
    ("uri", "destination", "expected"),
    [
        ("https://x.example/a/b.txt", "/tmp/c.txt", "/tmp/c.txt"),
        ("https://x.example/a/b.txt?sig=1", "/tmp/", "/tmp/b.txt"),
        ("https://x.example/a/b%20c.txt", "/tmp/", "/tmp/b c.txt"),
        ("files/b.txt", "/tmp/", "/tmp/b.txt"),
        ("https://x.example/a/b.txt", "/tmp", "/tmp"),
    ],
)
def test_trailing_slash_appends_the_base_name(uri: str, destination: str, expected: str) -> None:
    assert resolve_destination(uri, destination) == expected


def test_upload_is_world_readable_as_the_services_copy(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.write_text("x")
    uploads = Uploads()
    outcome = made("s", "/tmp/s").apply(Guest(uploads), [source])  # type: ignore[arg-type]
    assert uploads.seen == [(source, "/tmp/s", 0o644)]
    assert (outcome.exit_code, outcome.error, outcome.warnings) == (0, None, ())


def test_guests_refusal_is_packers_error_without_retry(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.write_text("x")
    uploads = Uploads("scp: /root/s: Permission denied")
    outcome = made("s", "/root/s").apply(Guest(uploads), [source])  # type: ignore[arg-type]
    assert outcome.error == "Upload failed: scp: /root/s: Permission denied"
    assert len(uploads.seen) == 1


def test_more_than_the_recommended_size_is_noted(tmp_path: Path) -> None:
    source = tmp_path / "s"
    with source.open("wb") as stream:
        stream.truncate(RECOMMENDED_BYTES + 1)
    outcome = made("s", "/tmp/s").apply(Guest(Uploads()), [source])  # type: ignore[arg-type]
    assert "20 MB" in outcome.warnings[0]


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("~/a.sh", "./a.sh"),
        ("$HOME/x/a.sh", "./x/a.sh"),
        ("${HOME}/", "./b.txt"),
        ("~root/a", "~root/a"),
        ("/tmp/~/a", "/tmp/~/a"),
    ],
)
def test_home_at_the_beginning_is_the_build_users(destination: str, expected: str, tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.write_text("x")
    uploads = Uploads()
    made("https://x.example/a/b.txt", destination).apply(Guest(uploads), [source])  # type: ignore[arg-type]
    assert [where for _, where, _ in uploads.seen] == [expected]

"""Page-blob uploads to Azurite, Microsoft's own emulator of Azure storage (npm package `azurite`).

AIBEMU_AZURITE names its `azurite-blob` program; without it node_modules/.bin and PATH are searched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aibemu.clock import SystemClock, forever
from aibemu.distributors.blob import CHUNK, upload_page_blob
from aibemu.distributors.destinations import BlobDestination, parse_destination
from aibemu.distributors.vhd_format import build_footer
from aibemu.errors import DistributeFailed
from aibemu.images.page_blob import AccessEnded, fetch_page_blob

MIB = 1024 * 1024
ACCOUNT = "devstoreaccount1"
# Azurite's published development key: not a secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
LISTENS = re.compile(r"listens on (http://127\.0\.0\.1:\d+)")


def find_azurite() -> str | None:
    if named := os.environ.get("AIBEMU_AZURITE"):
        return named
    root = Path(__file__).resolve().parents[2]
    folders = [*(folder / "node_modules" / ".bin" for folder in (Path.cwd(), root)), *os.get_exec_path()]
    return shutil.which("azurite-blob", path=os.pathsep.join(map(str, folders)))


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running Azurite with a container `vhds`."""
    blob = pytest.importorskip("azure.storage.blob", reason="the extra aibemu[blob] is not installed")
    program = find_azurite()
    if program is None or shutil.which("node") is None:
        pytest.skip("azurite is not installed (npm install azurite; AIBEMU_AZURITE=node_modules/.bin/azurite-blob)")
    folder = tmp_path_factory.mktemp("azurite")
    words = [program, "--blobHost", "127.0.0.1", "--blobPort", "0", "--location", str(folder)]
    log = (folder / "log").open("w+")
    process = subprocess.Popen(
        [*words, "--skipApiVersionCheck", "--disableTelemetry"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        address = f"{wait_for_address(process, folder / 'log')}/{ACCOUNT}"
        service = blob.BlobServiceClient(address, credential={"account_name": ACCOUNT, "account_key": KEY})
        with service:
            service.create_container("vhds")
        yield address
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    clock, never = SystemClock(), threading.Event()
    ends = clock.monotonic() + 60
    while clock.monotonic() < ends and process.poll() is None:
        if match := LISTENS.search(log.read_text()):
            return match[1]
        clock.wait(never, 0.1)
    raise AssertionError(f"azurite did not start: {log.read_text()}")


def place(
    azurite: str, name: str, *, container: str = "vhds", permissions: str = "cw", key: str = KEY
) -> BlobDestination:
    from azure.storage.blob import generate_blob_sas

    token = generate_blob_sas(
        ACCOUNT, container, name, account_key=key, permission=permissions,
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )  # fmt: skip
    found = parse_destination(f"{azurite}/{container}/{name}?{token}", directory=Path("/"), name="out1", span=None)
    assert isinstance(found, BlobDestination) and found.signed
    return found


def client(azurite: str, name: str) -> Any:
    from azure.storage.blob import BlobClient

    return BlobClient(azurite, "vhds", name, credential={"account_name": ACCOUNT, "account_key": KEY})


@pytest.fixture
def vhd(tmp_path: Path) -> Path:
    """A VHD of 48 MiB, nearly all of it holes."""
    path = tmp_path / "disk.vhd"
    size = 48 * MIB
    with path.open("wb") as stream:
        stream.write(os.urandom(3 * 4096))
        stream.seek(17 * MIB)
        stream.write(os.urandom(2 * MIB + 4096))
        stream.seek(size)
        stream.write(build_footer(size=size, unique_id=UUID(int=1), created=datetime(2026, 1, 1, tzinfo=UTC)))
    return path


def test_a_blob_comes_back_as_it_was_and_only_its_pages_are_fetched(azurite: str, vhd: Path, tmp_path: Path) -> None:
    """As `images pull --azure` fetches the disk that Azure gives access to."""
    upload_page_blob(vhd, place(azurite, "back.vhd"), deadline=forever(), say=lambda text: None)
    target = tmp_path / "back.vhd"
    where = place(azurite, "back.vhd", permissions="r")
    # Windows that end in the midst of what was written, and parts that do not fit into it.
    found = fetch_page_blob(
        where.url, target, limit=1 << 30, deadline=forever(), say=lambda text: None, window=18 * MIB, piece=300 * 512
    )
    assert target.read_bytes() == vhd.read_bytes()
    assert found.size == vhd.stat().st_size
    assert found.fetched == 3 * 4096 + 2 * MIB + 4096 + 512
    assert target.stat().st_blocks * 512 < 4 * MIB
    other = place(azurite, "back.vhd", permissions="r", key="A" * 86 + "==")
    with pytest.raises(AccessEnded, match="gives no access") as caught:
        fetch_page_blob(other.url, tmp_path / "x.vhd", limit=1 << 30, deadline=forever(), say=lambda text: None)
    assert signature(other) not in repr((caught.value.message, caught.value.details))


def signature(where: BlobDestination) -> str:
    return where.url.rpartition("sig=")[2].partition("&")[0]


def test_the_blob_equals_the_file_and_holes_stay_holes(azurite: str, vhd: Path) -> None:
    where = place(azurite, "gold.vhd")
    done = upload_page_blob(vhd, where, deadline=forever(), say=lambda text: None)
    assert done.sent == 3 * 4096 + 2 * MIB + 4096 + 512
    assert done.requests <= done.sent // CHUNK + 4
    with client(azurite, "gold.vhd") as blob:
        properties = blob.get_blob_properties()
        assert (properties.blob_type, properties.size) == ("PageBlob", vhd.stat().st_size)
        assert blob.download_blob().readall() == vhd.read_bytes()
        ranges = [(item.start, item.end) for item in blob.list_page_ranges()]
    assert sum(end + 1 - start for start, end in ranges) == done.sent


def test_an_older_blob_is_replaced(azurite: str, vhd: Path) -> None:
    with client(azurite, "old.vhd") as blob:
        blob.upload_blob(b"\xff" * 4 * MIB, blob_type="PageBlob", length=4 * MIB, overwrite=True)
        upload_page_blob(vhd, place(azurite, "old.vhd"), deadline=forever(), say=lambda text: None)
        assert blob.download_blob().readall() == vhd.read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": "AAAA" + KEY[4:]}, "403 AuthorizationFailure"),
        ({"permissions": "r"}, "403 AuthorizationPermissionMismatch"),
        ({"container": "missing"}, "404 ContainerNotFound"),
    ],
)
def test_refusals_are_explained_without_the_signature(
    azurite: str, vhd: Path, options: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    where = place(azurite, "refused.vhd", **options)
    with caplog.at_level("DEBUG"), pytest.raises(DistributeFailed, match=words) as caught:
        upload_page_blob(vhd, where, deadline=forever(), say=lambda text: None)
    said = " ".join([caught.value.message, str(caught.value.hint), *caught.value.details, caplog.text])
    assert where.address in caught.value.message
    assert signature(where) and signature(where) not in said

"""`images pull --azure`: what az is asked, which parts of the disk are fetched, and that the disk is always deleted."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner

from aibemu.cli.app import App
from aibemu.cli.images import command
from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.cloud.local import LocalCloud
from aibemu.distributors.vhd_format import build_footer
from aibemu.engine.preparing.sources import resolve
from aibemu.errors import BuildCancelled, HostNotReady, ImageMissing, Span, UsageError
from aibemu.images import Generation
from aibemu.images.azure_pull import AzureFailed, AzurePull, Watched
from aibemu.images.azure_source import Place, parse_source
from aibemu.images.catalogue import Catalogue
from aibemu.images.importing import Imported
from aibemu.images.page_blob import AccessEnded, BlobFailed, fetch_page_blob
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from aibemu.template.model import ManagedImageSource, SharedImageVersionSource, Source
from tests import windows_disks
from tests.unit.images.azure_stand_in import SIGNATURE, Az, Blob, serving
from tests.unit.images.conftest import Call

MIB, GIB = 1 << 20, 1 << 30
SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
URN = "Canonical:ubuntu-24_04-lts:server:latest"
EXACT = "Canonical:ubuntu-24_04-lts:server:24.04.202611050"
REFERENCE = (
    f"/Subscriptions/{SUBSCRIPTION}/Providers/Microsoft.Compute/Locations/westeurope/Publishers/canonical/"
    "ArtifactTypes/VMImage/Offers/ubuntu-24_04-lts/Skus/server/Versions/24.04.202611050"
)
MADE = {
    "creationData": {"createOption": "FromImage", "imageReference": {"id": REFERENCE}}, "hyperVGeneration": "V2",
    "osType": "Linux", "location": "westeurope", "diskSizeGB": 30,
}  # fmt: skip
COMPUTE = "/subscriptions/2222/resourceGroups/images/providers/Microsoft.Compute"


def as_vhd(raw: Path, target: Path, size: int) -> Path:
    raw.rename(target)
    with target.open("r+b") as stream:
        stream.seek(size)
        stream.write(build_footer(size=size, unique_id=UUID(int=1), created=datetime(2026, 1, 1, tzinfo=UTC)))
    return target


def written(path: Path) -> list[tuple[int, int]]:
    """Pages of a file that are no holes."""
    found, at, size = [], 0, path.stat().st_size
    with path.open("rb") as stream:
        while at < size:
            try:
                at = os.lseek(stream.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(stream.fileno(), at, os.SEEK_HOLE)
            found.append((at, min(end, size)))
            at = end
    return found


@pytest.fixture
def blob(make_disk: Callable[..., Path], tmp_path: Path) -> Iterator[Blob]:
    """A disk of 30 GiB that boots both ways, as Azure gives access to it."""
    content = as_vhd(make_disk(efi=True, bios=True), tmp_path / "azure.vhd", 30 * GIB)
    with serving(Blob(content=content, pages=written(content))) as found:
        yield found


@pytest.fixture
def az(blob: Blob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Az:
    stand_in = Az.put(tmp_path / "bin of az", blob.url, **MADE)
    monkeypatch.setenv("PATH", f"{stand_in.folder}{os.pathsep}{os.environ['PATH']}")
    return stand_in


class Hurried(SystemClock):
    """Real time, but nobody waits for long: pauses between tries are short."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return super().wait(event, min(seconds, 0.05))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def fetch(store: ImageStore, said: list[str]) -> Callable[..., Imported]:
    def run(name: str = URN, *, cancel: CancelToken | None = None, group: str = "mine", location: str = "") -> Imported:
        source = parse_source(name)
        place = Place(subscription=source.subscription, group=source.group or group, location=location)
        deadline = Deadline(clock=Hurried(), cancel=CancelToken() if cancel is None else cancel)
        watched = Watched(say=said.append, learn=lambda text: said.append(f"secret: {text}"))
        work = AzurePull(source=source, place=place, store=store, seconds=21600, deadline=deadline, watched=watched)
        return work.run().done

    return run


def test_a_marketplace_image_is_fetched_and_its_disk_deleted(
    az: Az, blob: Blob, fetch: Callable[..., Imported], store: ImageStore, said: list[str], tmp_path: Path
) -> None:
    blob.a_list = 1
    done = fetch()
    account, create, grant, revoke, delete = az.calls()
    assert account[:2] == ["account", "show"]
    (name,) = re.findall("aibemu-pull-[0-9a-f]{8}", shlex.join(create))
    place = ["--subscription", SUBSCRIPTION, "--resource-group", "mine", "--name", name]
    more = ["--image-reference", URN, "--sku", "Standard_LRS", "--tags", "created-by=aibemu", "--output", "json"]
    assert create == ["disk", "create", *place, *more]
    access = ["--access-level", "Read", "--duration-in-seconds", "21600", "--output", "json"]
    assert grant == ["disk", "grant-access", *place, *access]
    assert revoke == ["disk", "revoke-access", *place]
    assert delete == ["disk", "delete", *place, "--yes"]
    assert az.disks() == {} and list(store.root.glob("azure-disks/*")) == []
    # Each was shown before it ran.
    assert [line[2:] for line in said if line.startswith("$ ")] == [shlex.join(["az", *call]) for call in az.calls()]
    # Only what was written, and what lies between two such parts.
    assert sum(end - start for start, end in blob.asked) < 16 * MIB
    image = done.image
    assert (image.virtual_size, image.info.generation, image.info.os_type) == (30 * GIB, Generation.V2, "Linux")
    assert store.aliases() == {EXACT: image.digest}
    assert image.info.origin == f"pull {EXACT} --azure"
    with blob.content.open("r+b") as stream:
        stream.truncate(30 * GIB)
    compare = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(blob.content), str(image.path)]
    subprocess.run(compare, check=True, capture_output=True)
    # A version that is here is not fetched again, by any of its names; `latest` has to be asked for.
    calls = len(az.calls())
    assert fetch(EXACT).known and len(az.calls()) == calls
    blob.asked.clear()
    assert fetch().known and blob.asked == [] and az.disks() == {}


def test_the_access_is_a_secret(az: Az, fetch: Callable[..., Imported], said: list[str]) -> None:
    fetch()
    secrets = [line for line in said if line.startswith("secret: ")]
    assert any(SIGNATURE in line for line in secrets)
    assert not any("s3cr3t" in line for line in said if line not in secrets)


@pytest.mark.parametrize(
    ("name", "verb", "shown", "origin"),
    [
        (f"{COMPUTE}/galleries/g/images/i/versions/1.2.3", "sig image-version show", {}, "--gallery-image-reference"),
        (f"{COMPUTE}/snapshots/s", "snapshot show", {}, "--source"),
        (f"{COMPUTE}/disks/d", "disk show", {}, "--source"),
        (f"{COMPUTE}/images/m", "image show",
         {"storageProfile": {"osDisk": {"managedDisk": {"id": f"{COMPUTE}/disks/of-m"}, "osType": "Linux"}}},
         "--source"),
    ],
)  # fmt: skip
def test_images_by_their_ids(
    name: str, verb: str, shown: dict[str, object], origin: str, az: Az, fetch: Callable[..., Imported],
    store: ImageStore,
) -> None:  # fmt: skip
    """The disk is made where the image is, in its subscription and group."""
    az.set(shown={verb: {"id": name, "location": "northeurope", **shown}}, disk=MADE | {"creationData": {}})
    done = fetch(name)
    show, create = az.calls()[:2]
    assert show == [*verb.split(), "--ids", name, "--output", "json"]
    value = f"{COMPUTE}/disks/of-m" if verb == "image show" else name
    assert shlex.join([origin, value, "--location", "northeurope"]) in shlex.join(create)
    assert shlex.join(["--subscription", "2222", "--resource-group", "images"]) in shlex.join(create)
    assert done.image.info.origin == f"pull {name} --azure" and az.disks() == {}
    # Only a version of a gallery is the same for ever.
    assert (store.find_label("azure", name.lower()) is not None) == ("versions" in name)


def test_a_managed_image_whose_origin_is_gone_is_refused(az: Az, fetch: Callable[..., Imported]) -> None:
    name = f"{COMPUTE}/images/m"
    az.set(shown={"image show": {"location": "northeurope", "storageProfile": {"osDisk": {"osType": "Linux"}}}})
    with pytest.raises(UsageError, match="was made from") as caught:
        fetch(name)
    assert "az sig image-version create --managed-image" in str(caught.value.hint)
    assert az.verbs() == ["image show"]


def test_a_windows_image(
    az: Az, blob: Blob, fetch: Callable[..., Imported], tmp_path: Path
) -> None:  # fmt: skip
    windows_disks.need_tools()
    raw = windows_disks.make_disk(tmp_path / "windows.raw", "gen2", hives=windows_disks.hives())
    blob.content = as_vhd(raw, tmp_path / "windows.vhd", 127 * GIB)
    blob.pages = written(blob.content)
    az.set(disk=MADE | {"osType": "Windows"})
    info = fetch("MicrosoftWindowsServer:WindowsServer:2022-datacenter-g2:latest").image.info
    assert (info.os_type, info.generation) == ("Windows", Generation.V2)
    assert info.windows is not None and info.windows.product.startswith("Windows")


def test_a_connection_that_breaks_costs_one_part(
    az: Az, blob: Blob, fetch: Callable[..., Imported], said: list[str]
) -> None:
    blob.cuts = [1000, 2000]
    assert fetch().known is False
    assert sum(line.endswith("trying again") for line in said) == 2, said
    # Nothing else is asked for twice.
    assert len(blob.asked) == len(set(blob.asked)) + 2


def test_when_the_access_is_over_the_disk_goes_and_the_error_says_so(
    az: Az, blob: Blob, fetch: Callable[..., Imported], store: ImageStore, said: list[str]
) -> None:
    blob.ends_after = 2
    with pytest.raises(AccessEnded, match="time that it was given for is over") as caught:
        fetch()
    assert "--hours" in str(caught.value.hint)
    assert az.verbs()[-2:] == ["disk revoke-access", "disk delete"] and az.disks() == {}
    assert store.images() == [] and list((store.root / "tmp").iterdir()) == []
    assert any(re.fullmatch(r"the disk aibemu-pull-\w+ is deleted", line) for line in said)
    assert "s3cr3t" not in repr((caught.value.message, caught.value.details))


def test_what_az_cannot_do_is_told_in_its_words(az: Az, fetch: Callable[..., Imported]) -> None:
    az.set(fails={"disk create": 1})
    with pytest.raises(AzureFailed, match=r"^az disk create failed$") as caught:
        fetch()
    assert caught.value.details == ("ERROR: (InternalServerError) something went wrong in Azure",)
    assert az.verbs() == ["account show", "disk create", "disk revoke-access", "disk delete"]


def test_a_disk_that_cannot_be_deleted_is_told_and_the_next_pull_tries_it(
    az: Az, fetch: Callable[..., Imported], store: ImageStore, said: list[str]
) -> None:
    """The image is here: that it costs something is no reason to lose it."""
    az.set(fails={"disk delete": 3})
    done = fetch()
    (disk,) = az.disks()
    (note,) = done.notes
    place = f"--subscription {SUBSCRIPTION} --resource-group mine --name {disk}"
    assert note == (
        f"the disk {disk} is still in Azure, in the resource group mine, and costs money; delete it: "
        f"az disk revoke-access {place} && az disk delete {place} --yes"
    )
    assert note in said and az.verbs().count("disk delete") == 3
    (record,) = (store.root / "azure-disks").iterdir()
    # The record of a process that lives is its own business; of one that is gone, it is to be done.
    value = json.loads(record.read_text())
    fetch()
    assert disk in az.disks()
    value["process"]["pid"] = 1 << 22
    record.write_text(json.dumps(value))
    fetch()
    assert az.disks() == {} and list((store.root / "azure-disks").iterdir()) == []


def test_a_disk_that_a_killed_pull_left_is_told_by_the_list(az: Az, call: Call, home: Home) -> None:
    """Somebody may never pull again, and it costs money."""
    az.set(fails={"disk delete": 3})
    call("pull", URN, "--azure", "-g", "mine")
    (record,) = (home.images / "azure-disks").iterdir()
    app = App(home=home, command="images")
    assert CliRunner().invoke(command, ["list"], obj=app).exit_code == 0
    assert app.warnings == []  # its process lives: this one
    value = json.loads(record.read_text())
    value["process"]["pid"] = 1 << 22
    record.write_text(json.dumps(value))
    (home.images / "azure-disks" / "damaged.json").write_text("{")
    CliRunner().invoke(command, ["list"], obj=app)
    (warning,) = app.warnings
    (disk,) = az.disks()
    assert warning.startswith(f"the disk {disk} is still in Azure") and f"--name {disk} --yes" in warning


def test_of_an_error_the_disk_that_is_left_is_told_too(az: Az, blob: Blob, fetch: Callable[..., Imported]) -> None:
    az.set(fails={"disk delete": 9})
    blob.ends_after = 1
    with pytest.raises(AccessEnded) as caught:
        fetch()
    (disk,) = az.disks()
    assert any(f"the disk {disk} is still in Azure" in line for line in caught.value.details)
    assert [command.split()[2] for command in caught.value.commands] == ["revoke-access", "delete"]


def test_a_cancel_deletes_the_disk(az: Az, blob: Blob, fetch: Callable[..., Imported], store: ImageStore) -> None:
    token = CancelToken()
    blob.before = lambda: token.cancel("interrupted")
    with pytest.raises(BuildCancelled):
        fetch(cancel=token)
    assert az.disks() == {} and store.images() == [] and list(store.root.glob("azure-disks/*")) == []


@pytest.mark.parametrize("kind", ["galleries/g/images/i/versions/1.2.3", "images/m"])
def test_a_template_finds_by_its_id_what_was_fetched(kind: str, az: Az, call: Call, home: Home) -> None:
    name, origin = f"{COMPUTE}/{kind}", {"osDisk": {"snapshot": {"id": f"{COMPUTE}/snapshots/of-it"}}}
    shown = {
        "location": "northeurope", "storageProfile": origin,
        "publishingProfile": {"targetRegions": [{"name": "North Europe"}, {"name": "West US 2"}]},
    }  # fmt: skip
    az.set(shown={"sig image-version show": shown, "image show": shown}, disk=MADE | {"creationData": {}})
    pulled = call("pull", name, "--azure")
    store, cloud = ImageStore(home.images, SystemClock()), LocalCloud(home.cloud, SystemClock())

    def wanted(name: str) -> Source:
        span = Span(file="t.json", line=1, column=1)
        if "versions" in name:
            return SharedImageVersionSource(image_version_id=name, span=span)
        return ManagedImageSource(image_id=name, span=span)

    for location in ("northeurope", "westus2"):
        found = resolve(wanted(name), store=store, cloud=cloud, catalogue=Catalogue(()), location=location)
        assert found.image.digest == pulled["digest"]
    if "versions" in name:
        with pytest.raises(ImageMissing, match="not replicated"):
            resolve(wanted(name), store=store, cloud=cloud, catalogue=Catalogue(()), location="eastus")
    assert call("show", pulled["digest"])["usedBy"] == [name]
    # Once more: nothing is in the way of what is there.
    assert call("pull", name, "--azure")["digest"] == pulled["digest"]


CHILD = """
import sys
from aibemu.cli.main import main
sys.argv[0] = "aibemu"
main()
"""


def start(home: Home, *words: str) -> subprocess.Popen[str]:
    env = os.environ | {"AIBEMU_HOME": str(home.images.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, "images", "pull", *words], env=env, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_while_az_makes_the_disk(number: signal.Signals, az: Az, home: Home, call: Call) -> None:
    """Whatever ends the program, the disk goes: at once, or with the next pull."""
    az.set(hangs="disk create")
    with start(home, URN, "--azure", "-g", "mine") as process:
        Deadline(clock=SystemClock()).within(60).poll(lambda: bool(az.disks()))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    if number is signal.SIGKILL:
        assert len(az.disks()) == 1
        az.set(hangs="")
        call("pull", URN, "--azure", "-g", "mine")
    else:
        assert process.returncode == 130, errors
        assert "deleting the disk in Azure" in errors
    assert az.disks() == {}
    assert list(home.images.glob("azure-disks/*")) == []


def test_the_command_line(az: Az, blob: Blob, call: Call, home: Home) -> None:
    dry = call("pull", URN, "--azure", "-g", "mine", "--location", "westeurope", "--hours", "2", "--dry-run")
    assert [" ".join(command.split()[:3]) for command in dry["commands"]] == [
        "az account show", "az disk create", "az disk grant-access", "az disk revoke-access", "az disk delete",
    ]  # fmt: skip
    assert "--location westeurope" in dry["commands"][1] and "--duration-in-seconds 7200" in dry["commands"][2]
    text = call("pull", f"{COMPUTE}/snapshots/s", "--azure", "--dry-run", human=True)
    assert text.splitlines()[0] == f"az snapshot show --ids {COMPUTE}/snapshots/s --output json"
    assert f"--source {COMPUTE}/snapshots/s --location REGION_OF_THE_IMAGE" in text and "nothing was run" in text
    assert az.calls() == [] and blob.asked == [] and not (home.images / "azure-disks").exists()
    assert call("pull", URN, "--azure", "-g", "mine")["aliases"] == [EXACT]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((URN, "--azure"), "say in which resource group"),
        (("gold", "--azure", "-g", "mine"), "names nothing that can be fetched"),
        ((f"{COMPUTE}/galleries/g/images/i/versions/latest", "--azure"), "give the number of the version"),
        ((URN, "--dry-run"), "are for --azure"),
        (("--list", "--azure"), "give ALIAS, or --list"),
    ],
)
def test_what_is_asked_wrongly(words: tuple[str, ...], text: str, call: Call) -> None:
    with pytest.raises(UsageError, match=text):
        call("pull", *words)


def test_without_az(
    blob: Blob, fetch: Callable[..., Imported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostNotReady, match="the program az is not installed"):
        fetch()


@pytest.mark.parametrize(
    ("pages", "text"),
    [([(0, 512), (256, 1024)], "not in order"), ([(1024, 2048), (0, 512)], "not in order")],
)
def test_a_list_that_cannot_be_is_refused(
    pages: list[tuple[int, int]], text: str, blob: Blob, tmp_path: Path, deadline: Deadline
) -> None:
    blob.pages = pages
    with pytest.raises(BlobFailed, match=text):
        fetch_page_blob(blob.url, tmp_path / "x.vhd", limit=64 * GIB, deadline=deadline, say=print)
    with pytest.raises(UsageError, match="more than the 1 GiB that are taken"):
        fetch_page_blob(blob.url, tmp_path / "x.vhd", limit=GIB, deadline=deadline, say=print)

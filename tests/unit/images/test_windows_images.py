"""Importing, showing and preparing Windows images: disks in the layouts of Microsoft's, made by others."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aibemu.cli import confirm
from aibemu.cli.app import App
from aibemu.cli.images import command
from aibemu.clock import SystemClock, forever
from aibemu.disks import Unreadable
from aibemu.disks.hives import WindowsDisk, open_windows
from aibemu.errors import UsageError
from aibemu.images import Generation, Provisioning
from aibemu.images.importing import Imported, import_image
from aibemu.images.preparing import LABEL
from aibemu.images.store import ImageStore
from aibemu.images.windows import WindowsFacts
from aibemu.images.windows_answers import has_unused_settings
from aibemu.images.windows_boot import Mended, prepare, restore
from aibemu.images.windows_needs import needs, objection
from aibemu.paths import Home
from tests import windows_disks
from tests.windows_disks import MIB, Registry, differing

AZURE = Registry(
    control_sets=(1, 2), overrides={"pci": 3, "storahci": 3, "vmbus": 0}, product="Windows Server 2022 Datacenter",
    edition="ServerDatacenter", revision=2322, services=("RdAgent", "WindowsAzureGuestAgent"),
)  # fmt: skip
UNUSED = b'<?xml version="1.0"?><unattend><settings pass="oobeSystem"><component/></settings></unattend>'
FILES = {
    "Windows\\Panther\\unattend.xml": UNUSED, "Windows\\OEM\\SetupComplete2.cmd": b"rem",
    "Windows\\Panther\\Unattend\\Unattend.xml": UNUSED.replace(b'stem"', b'stem" wasPassProcessed="true"'),
}  # fmt: skip
CONFIG = "Windows\\System32\\config"


def mended(disk: Path, mend: Callable[[WindowsDisk], Mended]) -> Mended:
    """Of a raw disk, which is changed."""
    with open_windows(disk, "raw", forever(), writable=True) as windows:
        done = mend(windows)
        windows.save()
    return done


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk as an export from Azure is: generation 2, its drivers as Azure left them."""
    windows_disks.need_tools()
    path = tmp_path_factory.mktemp("azure") / "disk.raw"
    return windows_disks.make_disk(path, "gen2-recovery", hives=windows_disks.hives(AZURE), files=FILES)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> ImageStore:
    return ImageStore(home.images, SystemClock())


def imported(path: Path, store: ImageStore, **options: Any) -> Imported:
    return import_image(path, store, deadline=forever(), say=lambda text: None, **options)


def test_an_image_of_azure_is_recognised(azure: Path, store: ImageStore) -> None:
    done = imported(azure, store)
    info = done.image.info
    assert (info.os_type, info.os_name) == ("Windows", "Windows Server 2022 Datacenter")
    assert (info.generation, info.provisioning, info.generalized) == (Generation.V2, Provisioning.UNKNOWN, True)
    assert info.windows == WindowsFacts(
        product="Windows Server 2022 Datacenter", edition="ServerDatacenter", build=20348, revision=2322,
        installation="Server", evaluation=False, image_state="IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE",
        agents=("RdAgent", "WindowsAzureGuestAgent"), answer_files=("Windows\\Panther\\Unattend.xml",),
        setup_scripts=("Windows\\OEM\\SetupComplete2.cmd",), unprepared=("pci", "storahci"),
    )  # fmt: skip
    assert done.notes == () and objection(info) is None
    assert store.get(done.image.digest).info == info, "the record has all of it"
    assert imported(azure, store).known


@pytest.mark.parametrize(
    ("layout", "changes", "name", "generation"),
    [
        ("gen1", {}, "Windows Server 2022 Datacenter Evaluation", "V1"),
        ("gen1-reserved", {"product": "Windows Server 2019", "build": 17763}, "Windows Server 2019", "V1"),
        ("gen2", {"product": "Windows 10 Pro", "build": 26100, "installation": "Client"}, "Windows 11 Pro", "V2"),
        ("gen2-old", {"product": "Windows 10 Pro", "build": 19045, "installation": "Client"}, "Windows 10 Pro", "V2"),
    ],
)  # fmt: skip
def test_each_layout(
    layout: str, changes: dict[str, Any], name: str, generation: str, tmp_path: Path, store: ImageStore
) -> None:
    windows_disks.need_tools()
    hives = windows_disks.hives(Registry(**changes))
    disk = windows_disks.make_disk(tmp_path / "disk", layout, hives=hives, format="vpc")
    info = imported(disk, store).image.info
    assert (info.os_name, info.generation) == (name, generation)
    assert info.windows and info.windows.is_client == (changes.get("installation") == "Client")


def test_a_prepared_image_is_a_copy_and_the_original_stays(
    azure: Path, store: ImageStore, call: Callable[..., Any]
) -> None:
    image = imported(azure, store, aliases=["server"]).image
    before = image.path.read_bytes()
    told = call("show", "server", human=True)
    assert "drivers that it needs to boot on other hardware are switched off: pci, storahci" in told
    assert "aibemu images prepare server" in told and "switched on before the first boot" in told
    done = call("prepare", "server", "--alias", "ready")
    assert done["new"] and done["aliases"] == ["ready"] and done["origin"] == f"prepare {image.short}"
    assert {(change["controlSet"], change["driver"], change["before"]) for change in done["changes"]} == {
        (f"ControlSet00{number}", driver, "0=3") for number in (1, 2) for driver in ("pci", "storahci")
    }  # fmt: skip
    assert (
        done["windows"]["unprepared"] == []
        and "prepare" not in call("show", "ready", human=True).partition("before")[2]
    )
    assert image.path.read_bytes() == before and store.get("server") == image
    again = call("prepare", "server")
    assert (again["digest"], again["new"]) == (done["digest"], False) and again["changes"] == done["changes"]
    assert call("prepare", "ready")["changes"] == [] and len(store.images()) == 2
    assert "nothing to change" in call("prepare", "ready", human=True)
    _only_the_hive_changed(azure, store.get("ready").path)


def test_a_copy_that_lacks_a_change_is_made_again(
    azure: Path, store: ImageStore, call: Callable[..., Any], tmp_path: Path
) -> None:
    """As one that an earlier version made, which knew of fewer drivers."""
    image = imported(azure, store, aliases=["server"]).image
    earlier = _copied(azure, tmp_path)
    with earlier.open("r+b") as stream:
        stream.seek(440)
        stream.write(b"copy")
    lacks = store.add(earlier, image.info, deadline=forever(), source_format="raw", labels={LABEL: image.digest})
    done = call("prepare", "server")
    assert done["new"] and done["digest"] not in (image.digest, lacks.digest)
    again = call("prepare", "server")
    assert (again["digest"], again["new"]) == (done["digest"], False)


def test_what_is_kept_of_a_registry_is_bounded(tmp_path: Path, store: ImageStore) -> None:
    """Else the record of the image has more than is read of a record."""
    windows_disks.need_tools()
    name = ",".join("61,00" for _ in range(3000))
    key = "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Control\\Class\\{4d36e967-e325-11ce-bfc1-08002be10318}]"
    more = {"SYSTEM": f'{key}\n"UpperFilters"=hex(7):{name},00,00,00,00\n\n'}
    hives = windows_disks.hives(Registry(product="P" * 3000, more=more))
    info = imported(windows_disks.make_disk(tmp_path / "disk", "gen1", hives=hives), store).image.info
    assert info.windows is not None and len(json.dumps(info.windows.as_json())) < 2000
    assert info.windows.filters[0].startswith("DiskDrive: aaa")


def _only_the_hive_changed(azure: Path, prepared: Path) -> None:
    raw = prepared.parent.parent / "raw"
    windows_disks.run("qemu-img", "convert", "-O", "raw", prepared, raw)
    old, new = azure.read_bytes(), raw.read_bytes()
    hives = [windows_disks.ntfs_read(disk, "gen2-recovery", f"{CONFIG}\\SYSTEM") for disk in (azure, raw)]
    assert 0 < len(differing(old, new)) == len(differing(*hives))


def test_a_disk_is_prepared_for_a_run_and_restored_after_it(azure: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    shutil.copy(azure, disk)
    assert mended(disk, prepare).drivers == ("pci", "storahci")
    assert mended(disk, prepare).changes == ()
    assert mended(disk, restore).changes == ()
    assert mended(_copied(azure, tmp_path), restore).drivers == ("pci", "storahci")


def _copied(disk: Path, folder: Path, name: str = "copy.raw") -> Path:
    shutil.copy(disk, folder / name)
    return folder / name


def test_what_an_image_needs_is_told(tmp_path: Path, store: ImageStore, call: Callable[..., Any]) -> None:
    windows_disks.need_tools()
    registry = Registry(
        image_state="IMAGE_STATE_COMPLETE", build=9600, services=("cloudbase-init",), overrides={"pci": 3}
    )
    files = {"Windows\\Setup\\Scripts\\ErrorHandler.cmd": b"x"}
    disk = windows_disks.make_disk(tmp_path / "disk", "gen1", hives=windows_disks.hives(registry), files=files)
    image = imported(disk, store).image
    texts = [need.text for need in needs(image.short, image.info)]
    for words in (
        "not generalised (IMAGE_STATE_COMPLETE)", "ERROR HANDLER", "cloudbase-init", "switched off: pci",
        "shuts itself down about once an hour (wlms.exe, event 1074)", "older than Windows Server 2016",
    ):  # fmt: skip
        assert sum(words in text for text in texts) == 1, words
    assert not image.info.generalized and "IMAGE_STATE_COMPLETE" in (objection(image.info) or "")
    shown = call("show", image.short)
    assert [need["text"] for need in shown["needs"]] == texts and shown["windows"]["evaluation"]
    text = call("show", image.short, human=True)
    assert "generalized   no" in text and "edition       ServerDatacenterEval, Server, build 9600.169" in text


DAMAGED = {
    "SYSTEM is missing": {}, "SOFTWARE .*is empty": {"SOFTWARE": b""}, "SYSTEM .*is empty": {"SYSTEM": bytes(8192)},
    "SYSTEM .*is cut off": {"SYSTEM": 5000}, "SOFTWARE .*begin as a hive": {"SOFTWARE": b"MZ" * 5000},
}  # fmt: skip


@pytest.mark.parametrize("why", DAMAGED)
def test_a_windows_that_cannot_be_read_is_told(
    why: str, tmp_path: Path, store: ImageStore, call: Callable[..., Any]
) -> None:
    windows_disks.need_tools()
    hives = dict(windows_disks.hives(AZURE))
    for name, content in DAMAGED[why].items():  # type: ignore[attr-defined]
        hives[name] = hives[name][:content] if isinstance(content, int) else content
    if not DAMAGED[why]:
        del hives["SYSTEM"]
    disk = windows_disks.make_disk(tmp_path / "disk.raw", "gen1", hives=hives)
    with pytest.raises(UsageError, match=f"the Windows on .*disk.raw cannot be read: .*{why}") as caught:
        imported(disk, store)
    assert "--os-type Windows" in str(caught.value.hint) and store.images() == []
    done = imported(disk, store, os_type="Windows")
    assert done.image.info.windows is None and len(done.notes) == 1 and done.image.info.os_name == "Windows"
    assert "generalized   not known" in call("show", done.image.short, human=True)
    with pytest.raises(Unreadable, match=why):
        call("prepare", done.image.short)


def test_a_disk_that_is_encrypted_or_has_no_windows_is_told(azure: Path, tmp_path: Path, store: ImageStore) -> None:
    disk = _copied(azure, tmp_path)
    with disk.open("r+b") as stream:
        stream.seek(windows_disks.ntfs_start("gen2-recovery") + 3)
        stream.write(b"-FVE-FS-")
    with pytest.raises(UsageError, match="no operating system was recognised") as caught:
        imported(disk, store)
    assert "encrypted by BitLocker" in caught.value.details[0]
    data = windows_disks.make_disk(tmp_path / "data.raw", "gen1", hives={}, without=[])
    with pytest.raises(UsageError, match="no operating system was recognised") as caught:
        imported(data, store)
    assert "there is no Windows on" in caught.value.details[0] and "--os-type" in str(caught.value.hint)
    assert store.images() == []


def test_a_person_is_asked_what_a_disk_holds(
    tmp_path: Path, store: ImageStore, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows_disks.need_tools()
    data = windows_disks.make_disk(tmp_path / "data.raw", "gen1", hives={}, without=[])
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "Windows"

    assert imported(data, store, ask=ask).image.info.os_type == "Windows"
    assert len(asked) == 1 and "What does it hold, Linux or Windows?" in asked[0]
    app = App(home=home, output="human", command="images")
    monkeypatch.setattr(confirm, "_somebody_there", lambda app: True)
    monkeypatch.setattr("sys.stdin", (tmp_path / "said").open("w+"))
    assert confirm.ask_which(app, "which?", ("Linux", "Windows")) is None
    (tmp_path / "said").write_text("windows\n")
    assert confirm.ask_which(app, "which?", ("Linux", "Windows")) == "Windows"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("dirty", "was not shut down properly on this disk: its NTFS volume was not closed"),
        ("hibernated", r"hibernated on this disk \(hiberfil.sys\)"), ("log", "hive SYSTEM was not closed properly"),
        ("file", r"the driver pci has no file"),
    ],
)  # fmt: skip
def test_what_cannot_be_prepared_is_refused(
    change: str, why: str, tmp_path: Path, store: ImageStore, call: Callable[..., Any]
) -> None:
    windows_disks.need_tools()
    hives = dict(windows_disks.hives(AZURE))
    files = {"hiberfil.sys": b"HIBR".ljust(8192)} if change == "hibernated" else {}
    if change == "log":
        hives["SYSTEM"] = _with_log(hives["SYSTEM"])
    disk = windows_disks.make_disk(tmp_path / "disk.raw", "gen1", hives=hives, files=files,
                                   without=["Windows\\System32\\drivers\\pci.sys"] * (change == "file"))  # fmt: skip
    if change == "dirty":
        _make_dirty(disk, tmp_path)
    done = imported(disk, store)
    assert len(done.notes) == 1, "importing tells it, too"
    with pytest.raises(Unreadable, match=why):
        call("prepare", done.image.short)
    before = disk.read_bytes()
    with pytest.raises(Unreadable, match=why):
        mended(disk, prepare)
    assert disk.read_bytes() == before and len(store.images()) == 1


def _with_log(hive: bytes) -> bytes:
    data = bytearray(hive)
    struct.pack_into("<I", data, 4, struct.unpack_from("<I", data, 8)[0] + 1)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", data[:508]):
        checksum ^= word
    struct.pack_into("<I", data, 508, checksum)
    return bytes(data)


def _make_dirty(disk: Path, folder: Path) -> None:
    start, volume = windows_disks.ntfs_start("gen1"), folder / "volume"
    volume.write_bytes(disk.read_bytes()[start : start + 40 * MIB])
    windows_disks.run("ntfsfix", volume)
    windows_disks.put(disk, start, volume)


def test_another_image_is_not_prepared(
    store: ImageStore, call: Callable[..., Any], make_disk: Callable[..., Path]
) -> None:
    image = imported(make_disk(), store).image
    with pytest.raises(UsageError, match="only Windows images are prepared"):
        call("prepare", image.short)


def test_what_an_earlier_version_did_not_read_is_read_when_it_is_imported_again(azure: Path, store: ImageStore) -> None:
    image = imported(azure, store).image
    record = store.root / "records" / f"{image.digest}.json"
    value = json.loads(record.read_text())
    del value["info"]["windows"]
    value["info"]["os_name"] = "Windows"
    record.write_text(json.dumps(value))
    old = store.get(image.digest)
    assert old.info.windows is None and old.info.os_name == "Windows"
    assert imported(azure, store).image.info == image.info


def test_facts_survive_their_record_and_those_of_an_earlier_version() -> None:
    facts = WindowsFacts(
        product="p", edition="e", build=1, installation="Client", evaluation=True, image_state="s", agents=("a",)
    )
    record = json.loads(json.dumps(asdict(facts)))
    assert WindowsFacts.of(record) == facts and WindowsFacts.of(None) is None
    del record["filters"], record["revision"]
    assert WindowsFacts.of(record | {"of a later version": 1}) == facts
    for damage in ({"agents": [1]}, {"build": "1"}, {"evaluation": 1}, {"product": None}):
        with pytest.raises(ValueError):
            WindowsFacts.of(record | damage)


@pytest.mark.parametrize("damage", [{"windows": 1}, {"windows": {"product": "x"}}, {"windows": {"build": -1}}])
def test_a_damaged_record_costs_only_itself(damage: dict[str, Any], azure: Path, store: ImageStore) -> None:
    image = imported(azure, store).image
    record = store.root / "records" / f"{image.digest}.json"
    value = json.loads(record.read_text())
    value["info"] |= damage
    record.write_text(json.dumps(value))
    with pytest.warns(UserWarning, match="was damaged"):
        assert store.images() == []


@pytest.mark.parametrize(
    ("text", "unused"),
    [
        (UNUSED, True), (UNUSED.decode().encode("utf-16"), True), (b"\xef\xbb\xbf" + UNUSED, True), (b"", False),
        (UNUSED.decode().encode("utf-16-le"), True), (UNUSED.decode().encode("utf-16-be"), True), (b"<", False),
        (UNUSED.replace(b"oobeSystem", b"windowsPE"), False), (b"<!-- " + UNUSED + b" -->", False),
        (UNUSED.replace(b'"oobeSystem"', b"'specialize' wasPassProcessed='false'"), True),
        (UNUSED.replace(b'"oobeSystem"', b'"specialize" wasPassProcessed="true"'), False),
        (b"<u:settings pass='specialize'/>", True), (b"<settings " * 100_000, False), (b"<!--" * 200_000, False),
    ],
)  # fmt: skip
def test_answers_that_setup_has_not_used(text: bytes, unused: bool) -> None:
    assert has_unused_settings(text) is unused


def test_importing_tells_what_is_wrong_and_what_to_type(azure: Path, call: Callable[..., Any], home: Home) -> None:
    result = CliRunner().invoke(command, ["import", str(azure)], obj=App(home=home, output="human", command="images"))
    assert result.exit_code == 0
    assert "switched off: pci, storahci; on the disk of each machine they are switched on" in result.stderr


def test_reading_takes_a_second_and_not_a_copy(azure: Path, tmp_path: Path) -> None:
    """No raw copy of the disk is made, whatever the format."""
    disk = tmp_path / "disk.vhdx"
    windows_disks.run("qemu-img", "convert", "-O", "vhdx", azure, disk)
    before = sorted(tmp_path.iterdir())
    with open_windows(disk, None, forever()) as windows:
        assert windows.hive("SYSTEM").control_sets() == ["ControlSet001", "ControlSet002"]
        assert sorted(tmp_path.iterdir()) == before

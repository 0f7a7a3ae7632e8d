"""The driver without a libvirt: which addresses it takes, what it says when the library is missing, its record."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from aibemu.errors import HostNotReady, ProvisionFailed, UsageError
from aibemu.hypervisor import Level, MachineState
from aibemu.testing.contract import MIB, make_folders, make_spec
from aibemu_drivers.libvirt import LibvirtDriver, library
from aibemu_drivers.libvirt.addresses import Kind, parse_address
from aibemu_drivers.records import FILE


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("qemu:///session", Kind.SESSION), ("qemu:///system", Kind.SYSTEM),
        ("qemu:///embed?root=/srv/a%20b", Kind.EMBED), ("qemu+unix:///system?socket=/run/x/libvirt-sock", Kind.SYSTEM),
        ("qemu+unix:///session?socket=/run/x/libvirt-sock", Kind.SESSION),
    ],
)  # fmt: skip
def test_what_is_on_this_host(uri: str, kind: Kind) -> None:
    address = parse_address(uri)
    assert (address.uri, address.kind) == (uri, kind)


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ssh://root@lab1/system", "qemu+tcp://lab1/system", "qemu+tls://lab1/system", "qemu://lab1/system",
        "qemu+libssh2://lab1/system", "qemu+ext:///system?command=/bin/x", "qemu+ssh:///system",
    ],
)  # fmt: skip
def test_another_host_is_refused_with_the_way_that_works(uri: str) -> None:
    with pytest.raises(UsageError, match="another host") as refused:
        parse_address(uri)
    assert "ssh HOST aibemu run" in str(refused.value.hint)
    assert "files and sockets of the host" in refused.value.details[0]


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("", "does not begin with qemu"), ("xen:///system", "does not begin with qemu"),
        ("test:///default", "does not begin with qemu"), ("qemu:///", "'/' is none of its connections"),
        ("qemu:", "'nothing' is none of its connections"), ("qemu:///sesion", "'/sesion' is none"),
        ("qemu:///embed", "the parameter root is needed"), ("qemu:///embed?root=a", "root must be a whole path"),
        ("qemu:///embed?root=/a&x=1", "the parameter root is needed, and no other"),
        ("qemu:///session?no_verify=1", "it takes no parameters"), ("qemu:///session?x", "x"),
        ("qemu+unix:///system", "the parameter socket is needed"), ("qemu+unix:///embed?root=/a", "'/embed' is none"),
        ("qemu:///system#x", "'/system' is none"), ("qemu://[/system", "Invalid IPv6"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_all_that_are_possible(uri: str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(uri)
    assert why in refused.value.message
    assert "qemu:///session (the default)" in str(refused.value.hint)


def test_the_driver_refuses_it_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another host"):
        LibvirtDriver({"uri": "qemu+ssh://lab1/system"}, make_folders(tmp_path))


def test_without_the_library_the_driver_can_be_made_and_doctor_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", missing)
    monkeypatch.setitem(sys.modules, "libvirt", None)
    driver = LibvirtDriver({}, make_folders(tmp_path))
    assert driver.capabilities().boots_guests
    (found,) = driver.check()
    assert (found.check, found.level) == ("libvirt: library", Level.ERROR)
    assert "libvirt-python" in found.message and "No module named 'libvirt'" in found.message
    assert found.fix == f"{library.INSTALL_HEADERS} && {library.INSTALL_LIBRARY}"
    with pytest.raises(HostNotReady) as failed:
        driver.connection.call(lambda virt: virt)
    assert failed.value.commands == (library.INSTALL_HEADERS, library.INSTALL_LIBRARY)
    for package in ("libvirt-dev", "pkg-config", "gcc", "python3-dev"):
        assert package in failed.value.commands[0]


def test_a_damaged_record_is_one_error_with_its_name(tmp_path: Path) -> None:
    base = tmp_path / "base.img"
    base.write_bytes(bytes(MIB))
    driver = LibvirtDriver({}, make_folders(tmp_path))
    machine = driver.create(make_spec("m", tmp_path / "m", base))
    assert machine.state() is MachineState.CREATED  # without libvirt: it was never asked
    record = tmp_path / "m" / FILE
    whole = json.loads(record.read_text())
    for name in ("uuid", "sockets", "ports", "booted", "asked"):
        record.write_text(json.dumps({key: value for key, value in whole.items() if key != name}))
        with pytest.raises(ProvisionFailed, match="cannot be read") as failed:
            driver.find(tmp_path / "m")
        assert name in failed.value.details[0]
    record.write_text(json.dumps(whole))
    found = driver.find(tmp_path / "m")
    assert found is not None
    found.destroy()
    assert not (tmp_path / "m").exists()

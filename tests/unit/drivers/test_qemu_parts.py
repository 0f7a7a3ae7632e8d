"""The small parts: ports, firmware, failures, records."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from aibemu.errors import HostNotReady, ProvisionFailed
from aibemu.hardware import Hardware
from aibemu.hypervisor import AZURE_SMBIOS, Wire
from aibemu.testing.contract import WINDOWS, make_spec
from aibemu_drivers.qemu.failures import explain_failure
from aibemu_drivers.qemu.firmware import find_firmware
from aibemu_drivers.qemu.ports import choose_ports
from aibemu_drivers.records import read_record, spec_from_json, spec_to_json, write_record

SPEC = make_spec("m", Path("/r/m"), Path("/base.img"))


def test_ports_are_free_and_different() -> None:
    chosen = choose_ports((22, 5986, 80))
    assert list(chosen) == [22, 5986, 80]
    assert len(set(chosen.values())) == 3
    for port in chosen.values():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


def test_firmware_is_the_first_place_that_has_both_files(tmp_path: Path) -> None:
    for name in ("a_code", "b_code", "b_vars"):
        (tmp_path / name).touch()
    places = [(str(tmp_path / f"{name}_code"), str(tmp_path / f"{name}_vars")) for name in "ab"]
    assert find_firmware({}, places).code == tmp_path / "b_code"
    chosen = {"ovmf_code": str(tmp_path / "a_code"), "ovmf_vars": str(tmp_path / "b_vars")}
    assert find_firmware(chosen, places).code == tmp_path / "a_code"


def test_firmware_with_secure_boot_is_another_one(tmp_path: Path) -> None:
    for name in ("code", "vars", "secure_code", "secure_vars"):
        (tmp_path / name).touch()
    options = {f"ovmf_{name}": str(tmp_path / name) for name in ("code", "vars", "secure_code", "secure_vars")}
    assert find_firmware(options, secure=True).code == tmp_path / "secure_code"
    assert find_firmware(options).code == tmp_path / "code"
    only_plain = {name: path for name, path in options.items() if "secure" not in name}
    with pytest.raises(HostNotReady, match="Secure Boot and Microsoft's keys") as failed:
        find_firmware(only_plain, [], secure=True)
    assert failed.value.commands == ("sudo apt-get install --yes ovmf",)


@pytest.mark.parametrize(
    "options", [{}, {"ovmf_code": "/nowhere/code", "ovmf_vars": "/nowhere/vars"}, {"ovmf_vars": "x"}]
)
def test_missing_firmware_names_the_package(options: dict[str, str]) -> None:
    with pytest.raises(HostNotReady, match="OVMF") as failed:
        find_firmware(options, [])
    assert failed.value.commands == ("sudo apt-get install --yes ovmf",)


@pytest.mark.parametrize(
    ("log", "says", "hint"),
    [
        ("qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory", "64 MiB of free memory", "vmSize"),
        ("qemu: Could not set up host forwarding rule 'tcp:127.0.0.1:1-:22'", "no free port", "port"),
        ('qemu: Failed to get "write" lock\nIs another process using the image?', "did not start", "another process"),
        ("qemu: failed to initialize kvm: Permission denied", "did not start", "accelerator=auto"),
        ("qemu: kernel doesn't allow setting HyperV VP_INDEX", "did not start", "newer kernel"),
        ("qemu: unsupported machine type", "did not start", "doctor"),
    ],
)
def test_failures_are_explained_with_qemus_own_words(log: str, says: str, hint: str) -> None:
    error = explain_failure(SPEC, f"qemu: warning: host doesn't support requested feature\n{log}\n")
    assert says in error.message
    assert error.hint is not None and hint in error.hint
    assert list(error.details) == log.splitlines()


def test_a_silent_failure_says_that_it_is_silent() -> None:
    assert explain_failure(SPEC, "").details == ("QEMU said nothing",)
    assert explain_failure(SPEC, "qemu: warning: only this").details == ("qemu: warning: only this",)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    spec = make_spec("m", tmp_path, tmp_path / "b.img")
    write_record(tmp_path, {"driver": "qemu", "spec": spec_to_json(spec)})
    record = read_record(tmp_path, "qemu")
    assert record is not None
    assert spec_from_json(record["spec"], tmp_path) == spec


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"driver": "qemu", "spec": 1}'])
def test_a_damaged_record_is_an_error_not_a_traceback(tmp_path: Path, text: str) -> None:
    (tmp_path / "machine.json").write_text(text)
    with pytest.raises(ProvisionFailed):
        read_record(tmp_path, "qemu")


@pytest.mark.parametrize("change", [{"uuid": "x"}, {"firmware": "coreboot"}, {"cdroms": None}])
def test_a_damaged_spec_is_an_error_not_a_traceback(tmp_path: Path, change: dict[str, str | None]) -> None:
    with pytest.raises(ProvisionFailed, match="cannot be read"):
        spec_from_json(spec_to_json(SPEC) | change, tmp_path)
    incomplete = json.loads(json.dumps(spec_to_json(SPEC)))
    del incomplete["mac"]
    with pytest.raises(ProvisionFailed, match="cannot be read"):
        spec_from_json(incomplete, tmp_path)


def test_a_wire_and_smbios_are_read_back() -> None:
    wire = Wire(
        nic=Path("/n"), uplink=Path("/u"), subnet=IPv4Network("10.8.0.0/29"), address=IPv4Address("10.8.0.4")
    )  # fmt: skip
    spec = replace(SPEC, wire=wire, smbios=AZURE_SMBIOS)
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec))), spec.directory) == spec


def test_hardware_is_read_back_and_an_older_record_has_the_hardware_that_there_was() -> None:
    for hardware in (WINDOWS, Hardware(), Hardware(tpm=True, secure_boot=True)):
        spec = replace(SPEC, hardware=hardware, sticks=(Path("/s/a.img"),))
        assert spec_from_json(json.loads(json.dumps(spec_to_json(spec))), spec.directory) == spec
    older = json.loads(json.dumps(spec_to_json(SPEC))) | {"guest_ports": [22, 80]}
    del older["hardware"], older["sticks"]
    assert spec_from_json(older, SPEC.directory).hardware == Hardware(guest_ports=(22, 80))
    before_tpms = json.loads(json.dumps(spec_to_json(SPEC)))
    del before_tpms["hardware"]["tpm"], before_tpms["hardware"]["secure_boot"]
    assert spec_from_json(before_tpms, SPEC.directory) == SPEC
    broken = json.loads(json.dumps(spec_to_json(SPEC)))
    broken["hardware"]["disk"] = "floppy"
    with pytest.raises(ProvisionFailed, match="cannot be read"):
        spec_from_json(broken, SPEC.directory)

"""The provisioning DVD, read back by blkid and the library's own reader, and its document by the agents' rules."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from aibemu.systems.linux.dvd import ovf_env, write_dvd
from tests.unit.fabric.machines import machine

OVF = "{http://schemas.dmtf.org/ovf/environment/1}"
WA = "{http://schemas.microsoft.com/windowsazure}"
ODD = """ssh-ed25519 AAAA a&b<c>'d"e"""


def section(**changes: Any) -> ET.Element:
    root = ET.fromstring(ovf_env(machine(**changes)).encode())
    assert root.tag == f"{OVF}Environment"
    sets = root.findall(f"{WA}ProvisioningSection/*")
    assert [entry.tag for entry in sets] == [f"{WA}Version", f"{WA}LinuxProvisioningConfigurationSet"]
    return sets[1]


def read(disc: Path, **path: str) -> bytes:
    iso, out = pycdlib.PyCdlib(), io.BytesIO()
    iso.open(str(disc))
    try:
        iso.get_file_from_iso_fp(out, **path)
    finally:
        iso.close()
    return out.getvalue()


def test_disc_holds_the_document_by_udf_and_by_rock_ridge(tmp_path: Path) -> None:
    vm, target = machine(public_keys=(ODD,)), tmp_path / "dvd.iso"
    write_dvd(target, vm)
    assert read(target, udf_path="/ovf-env.xml").decode() == ovf_env(vm)
    assert read(target, rr_path="/ovf-env.xml").decode() == ovf_env(vm)
    assert [path.name for path in tmp_path.iterdir()] == ["dvd.iso"]


@pytest.mark.skipif(shutil.which("blkid") is None, reason="blkid is not installed (util-linux)")
def test_disc_is_udf_with_azures_label(tmp_path: Path) -> None:
    target = tmp_path / "dvd.iso"
    write_dvd(target, machine())
    words = ["blkid", "-p", "-o", "export", str(target)]
    found = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    assert "TYPE=udf" in found
    assert "LABEL=rd_rdfe_stable.aibemu" in found


def test_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Windows"):
        write_dvd(tmp_path / "dvd.iso", machine(os_type="Windows"))
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_disc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "dvd.iso"
    target.write_bytes(b"old")

    def half(_: object, name: str) -> None:
        Path(name).write_bytes(b"half")
        raise OSError("no space")

    monkeypatch.setattr(pycdlib.PyCdlib, "write", half)
    with pytest.raises(OSError, match="no space"):
        write_dvd(target, machine())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("dvd.iso", b"old")]


def test_document_has_the_literal_prefixes() -> None:
    document = ovf_env(machine())
    for name in ("ProvisioningSection", "PlatformSettingsSection", "Version"):
        assert f"<wa:{name}>" in document
    assert "<Environment " in document
    assert "<LinuxProvisioningConfigurationSet " in document


def test_document_names_host_user_and_keys_and_has_no_password() -> None:
    found = section(computer_name="h&<>'\"", admin_username="u&<>'", public_keys=(f"{ODD}\n", "ssh-rsa BBBB"))
    assert found.findtext(f"{WA}HostName") == "h&<>'\""
    assert found.findtext(f"{WA}UserName") == "u&<>'"
    assert found.findtext(f"{WA}DisableSshPasswordAuthentication") == "true"
    assert found.find(f"{WA}UserPassword") is None
    keys = found.findall(f"{WA}SSH/{WA}PublicKeys/{WA}PublicKey")
    assert [key.findtext(f"{WA}Value") for key in keys] == [ODD, "ssh-rsa BBBB"]
    assert {key.findtext(f"{WA}Path") for key in keys} == {"/home/u&<>'/.ssh/authorized_keys"}
    assert [key.find(f"{WA}Fingerprint") is not None for key in keys] == [True, True]


def test_custom_data_is_there_only_if_given() -> None:
    data = base64.b64encode(b"#cloud-config\n").decode()
    assert section().find(f"{WA}CustomData") is None
    assert section(custom_data=data).findtext(f"{WA}CustomData") == data
    assert section(custom_data="<&>").findtext(f"{WA}CustomData") == "<&>"


def test_platform_settings_want_the_agent_and_no_second_nic() -> None:
    root = ET.fromstring(ovf_env(machine()).encode())
    platform = f"{WA}PlatformSettingsSection"
    for version in (f"{WA}ProvisioningSection/{WA}Version", f"{platform}/{WA}Version"):
        assert root.findtext(version) == "1.0"
    assert root.findtext(f"{platform}/{WA}PlatformSettings/{WA}ProvisionGuestAgent") == "true"
    assert root.findtext(f"{platform}/{WA}PlatformSettings/{WA}PreprovisionedVm") == "false"

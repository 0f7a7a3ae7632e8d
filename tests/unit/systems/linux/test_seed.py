"""The NoCloud CD, read back by the library's own reader and cloud-init's rules."""

from __future__ import annotations

import io
import json
import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pycdlib

from aibemu.fabric.identity import fresh_identity
from aibemu.systems.linux.seed import meta_data, ovf_env, user_data, write_seed

KEY = "ssh-ed25519 AAAA aibemu"


def read(iso: pycdlib.PyCdlib, name: str) -> str:
    out = io.BytesIO()
    iso.get_file_from_iso_fp(out, rr_path=f"/{name}")
    return out.getvalue().decode()


def test_cd_holds_what_cloud_init_looks_for(tmp_path: Path) -> None:
    identity = fresh_identity("packer", random.Random(1))
    target = tmp_path / "seed.iso"
    write_seed(target, identity, KEY)
    iso = pycdlib.PyCdlib()
    iso.open(str(target))
    try:
        assert iso.pvd.volume_identifier.rstrip() == b"cidata"
        assert read(iso, "user-data") == user_data(identity, KEY)
        assert read(iso, "meta-data") == meta_data(identity)
        network = json.loads(read(iso, "network-config"))
        assert network["ethernets"]["nic"]["match"]["macaddress"] == identity.mac
    finally:
        iso.close()
    assert not list(tmp_path.glob("*.partial"))


def test_user_data_is_cloud_config_with_one_user_and_the_key() -> None:
    identity = fresh_identity("packer", random.Random(1))
    first, _, body = user_data(identity, KEY).partition("\n")
    assert first == "#cloud-config"
    config = json.loads(body)
    (user,) = config["users"]
    assert user["name"] == "packer"
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["lock_passwd"] is True
    assert user["sudo"] == "ALL=(ALL) NOPASSWD:ALL"  # a text: cloud-init 22's schema does not know a list
    assert config["ssh_pwauth"] is False


def test_ovf_env_names_the_user_where_the_agent_looks_for_it() -> None:
    identity = fresh_identity("packer", random.Random(1))
    root = ET.fromstring(ovf_env(identity))
    azure = "{http://schemas.microsoft.com/windowsazure}"
    section = root.find(f"{azure}ProvisioningSection/{azure}LinuxProvisioningConfigurationSet")
    assert section is not None
    assert section.findtext(f"{azure}UserName") == "packer"
    assert section.findtext(f"{azure}HostName") == identity.hostname


def test_each_identity_is_new() -> None:
    rng = random.Random(2)
    first, second = fresh_identity("packer", rng), fresh_identity("packer", rng)
    assert first.vm_id != second.vm_id
    assert first.mac != second.mac
    assert first.hostname != second.hostname
    assert first.hostname.startswith("pkrvm")
    assert len(first.hostname) == 15
    assert meta_data(first) != meta_data(second)

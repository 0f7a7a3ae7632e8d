"""The provisioning CD: a NoCloud seed that gives the guest this run's identity.

It also leaves `/var/lib/waagent/ovf-env.xml`, as cloud-init's Azure data source does: that copy is where
`waagent -deprovision+user` takes the name of the user to delete from (facts: guest-platform 1.2).
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.sax.saxutils import escape

from aibemu.fabric.identity import Identity
from aibemu.files import replacing

OVF_ENV = """<?xml version="1.0" encoding="utf-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:oe="http://schemas.dmtf.org/ovf/environment/1"
 xmlns:wa="http://schemas.microsoft.com/windowsazure" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <wa:ProvisioningSection>
  <wa:Version>1.0</wa:Version>
  <LinuxProvisioningConfigurationSet xmlns="http://schemas.microsoft.com/windowsazure">
   <ConfigurationSetType>LinuxProvisioningConfiguration</ConfigurationSetType>
   <HostName>{hostname}</HostName>
   <UserName>{user}</UserName>
   <DisableSshPasswordAuthentication>true</DisableSshPasswordAuthentication>
  </LinuxProvisioningConfigurationSet>
 </wa:ProvisioningSection>
 <wa:PlatformSettingsSection>
  <wa:Version>1.0</wa:Version>
  <PlatformSettings xmlns="http://schemas.microsoft.com/windowsazure">
   <ProvisionGuestAgent>true</ProvisionGuestAgent>
  </PlatformSettings>
 </wa:PlatformSettingsSection>
</Environment>
"""


def ovf_env(identity: Identity) -> str:
    """The document that Azure's provisioning DVD holds, without secrets."""
    return OVF_ENV.format(hostname=escape(identity.hostname), user=escape(identity.user))


def user_data(identity: Identity, public_key: str) -> str:
    """cloud-config as JSON, which is YAML: one build user with this run's key and passwordless sudo, as on Azure."""
    config = {
        "preserve_hostname": False,
        "ssh_pwauth": False,
        "users": [
            {
                "name": identity.user,
                "gecos": "",
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",  # a list works too, but cloud-init 22's schema complains of it
                "ssh_authorized_keys": [public_key],
            }
        ],
        "write_files": [
            {
                "path": "/var/lib/waagent/ovf-env.xml",
                "owner": "root:root",
                "permissions": "0600",
                "content": ovf_env(identity),
            }
        ],
    }
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def meta_data(identity: Identity) -> str:
    """The instance id is new with each identity, so cloud-init runs its per-instance work again."""
    return json.dumps({"instance-id": str(identity.vm_id), "local-hostname": identity.hostname}) + "\n"


def _nic(identity: Identity) -> dict[str, object]:
    """One NIC, found by its address, configured by DHCP."""
    return {"match": {"macaddress": identity.mac}, "dhcp4": True}


def write_seed(target: Path, identity: Identity, public_key: str) -> None:
    """Write the CD: ISO 9660 with Rock Ridge and Joliet, volume id `cidata` (cloud-init's NoCloud rule)."""
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, rock_ridge="1.09", joliet=3, vol_ident="cidata")
    files = {
        "user-data": user_data(identity, public_key),
        "meta-data": meta_data(identity),
        "network-config": json.dumps({"version": 2, "ethernets": {"nic": _nic(identity)}}) + "\n",
    }
    for number, (name, text) in enumerate(files.items()):
        content = text.encode()
        iso.add_fp(io.BytesIO(content), len(content), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    with replacing(target) as temporary:
        iso.write(str(temporary))
    iso.close()

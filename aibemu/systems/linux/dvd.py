"""The provisioning DVD: what Azure puts into a new Linux machine's drive.

One file, `ovf-env.xml`, on UDF. cloud-init's Azure data source, waagent and azure-init read it, so an image from the
marketplace comes up as it is. cloud-init leaves a copy in /var/lib/waagent (facts: guest-platform 1.2).
"""

from __future__ import annotations

import io
from pathlib import Path
from xml.sax.saxutils import escape

from aibemu.fabric.vm import VirtualMachine
from aibemu.files import replacing

FILE = "ovf-env.xml"
# Azure's begin with `rd_rdfe_stable.`; what follows is a date there.
LABEL = "rd_rdfe_stable.aibemu"

# The prefixes are as Azure writes them: azure-init looks for `wa:ProvisioningSection` by that very name.
# One configuration set only; no PreprovisionedVm=true, which makes cloud-init wait for another NIC.
OVF_ENV = """<?xml version="1.0" encoding="utf-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:oe="http://schemas.dmtf.org/ovf/environment/1" \
xmlns:wa="http://schemas.microsoft.com/windowsazure" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <wa:ProvisioningSection>
    <wa:Version>1.0</wa:Version>
    <LinuxProvisioningConfigurationSet xmlns="http://schemas.microsoft.com/windowsazure" \
xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
      <ConfigurationSetType>LinuxProvisioningConfiguration</ConfigurationSetType>
      <HostName>{host_name}</HostName>
      <UserName>{user_name}</UserName>
      <DisableSshPasswordAuthentication>true</DisableSshPasswordAuthentication>
      <SSH>
        <PublicKeys>
{public_keys}
        </PublicKeys>
      </SSH>{custom_data}
    </LinuxProvisioningConfigurationSet>
  </wa:ProvisioningSection>
  <wa:PlatformSettingsSection>
    <wa:Version>1.0</wa:Version>
    <PlatformSettings xmlns="http://schemas.microsoft.com/windowsazure" \
xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
      <KmsServerHostname>azkms.core.windows.net</KmsServerHostname>
      <ProvisionGuestAgent>true</ProvisionGuestAgent>
      <GuestAgentPackageName i:nil="true"/>
      <RetainWindowsPEPassInUnattend>true</RetainWindowsPEPassInUnattend>
      <RetainOfflineServicingPassInUnattend>true</RetainOfflineServicingPassInUnattend>
      <PreprovisionedVm>false</PreprovisionedVm>
      <EnableTrustedImageIdentifier>false</EnableTrustedImageIdentifier>
    </PlatformSettings>
  </wa:PlatformSettingsSection>
</Environment>
"""
PUBLIC_KEY = "          <PublicKey><Fingerprint></Fingerprint><Path>{path}</Path><Value>{value}</Value></PublicKey>"


def ovf_env(vm: VirtualMachine) -> str:
    """The document for a Linux machine: host name, user, its keys, custom data; never a password.

    Raises ValueError for another system: Windows has another configuration set, and a setup program of Microsoft's.
    """
    if vm.os_type != "Linux":
        raise ValueError(f"a provisioning DVD for {vm.os_type}")
    path = escape(f"/home/{vm.admin_username}/.ssh/authorized_keys")
    # Fingerprint is for keys of certificates; agents that find a Value do not look at it.
    keys = "\n".join(PUBLIC_KEY.format(path=path, value=escape(key.strip())) for key in vm.public_keys)
    custom_data = f"\n      <CustomData>{escape(vm.custom_data)}</CustomData>" if vm.custom_data else ""
    return OVF_ENV.format(
        host_name=escape(vm.computer_name), user_name=escape(vm.admin_username),
        public_keys=keys, custom_data=custom_data,
    )  # fmt: skip


def write_dvd(target: Path, vm: VirtualMachine) -> None:
    """Write the DVD: UDF as Azure has, and ISO 9660 with Rock Ridge (Joliet would cut the label to 16 characters)."""
    import pycdlib

    content = ovf_env(vm).encode()
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, rock_ridge="1.09", udf="2.60", vol_ident=LABEL)
    try:
        iso.add_fp(io.BytesIO(content), len(content), "/OVF_ENV.XML;1", rr_name=FILE, udf_path=f"/{FILE}")
        with replacing(target) as temporary:
            iso.write(str(temporary))
    finally:
        iso.close()

"""One virtual machine as its platform knows it: what the metadata service tells, and to whom it gives tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """The image a machine was made from, as `storageProfile.imageReference` has it.

    A marketplace image has publisher, offer, sku, version (as asked for, e.g. `latest`) and exact_version; a managed
    image or gallery version only `id`. plan: {planName, planProduct, planPublisher} as in the template, or empty.
    """

    publisher: str = ""
    offer: str = ""
    sku: str = ""
    version: str = ""
    exact_version: str = ""
    id: str = ""
    plan: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedIdentity:
    """A user-assigned identity of the machine. command: words of a program that prints a real token, or empty.

    `{resource}` in a word stands for the resource that the guest asks a token for.
    """

    resource_id: str
    client_id: str
    principal_id: str
    command: tuple[str, ...] = ()

    @classmethod
    def local(cls, resource_id: str, command: tuple[str, ...] = ()) -> ManagedIdentity:
        """An identity known by its id only: client and principal id are made from it, always the same ones."""
        return cls(
            resource_id=resource_id, command=command,
            client_id=str(uuid5(NAMESPACE_URL, f"{resource_id.lower()}#client")),
            principal_id=str(uuid5(NAMESPACE_URL, f"{resource_id.lower()}#principal")),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """mac: `00:0d:3a:..`, the very one that the guest's NIC has (cloud-init finds the NIC by it)."""

    mac: str
    address: IPv4Address
    subnet: IPv4Network

    @property
    def gateway(self) -> IPv4Address:
        """Azure's: the first address of the subnet."""
        return self.subnet.network_address + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """All that the platform tells about one machine.

    name: of the VM resource; computer_name: the host name. vm_id: Azure's, not the (maybe byte-swapped) SMBIOS UUID.
    public_keys: OpenSSH lines. os_type: Linux or Windows. generation: V1 or V2. disk_gib: of the system disk.
    custom_data: the raw bytes' base64, on the provisioning DVD; user_data: base64, served by the metadata service.
    """

    vm_id: UUID
    name: str
    computer_name: str
    admin_username: str
    public_keys: tuple[str, ...]
    subscription_id: str
    tenant_id: str
    resource_group: str
    location: str
    vm_size: str
    generation: str
    image: ImageReference
    nic: Nic
    os_type: str = "Linux"
    disk_gib: int = 30
    tags: Mapping[str, str] = field(default_factory=dict)
    user_data: str = ""
    custom_data: str = ""
    identities: tuple[ManagedIdentity, ...] = ()
    trusted: bool = False  # with Secure Boot and a TPM, as Azure's security type TrustedLaunch

    @property
    def resource_id(self) -> str:
        group = f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/Microsoft.Compute/virtualMachines/{self.name}"

    @property
    def container_id(self) -> UUID:
        """The wire server's name for the machine on its host; always the same for one vm_id."""
        return uuid5(self.vm_id, "container")

    @property
    def role_instance_id(self) -> str:
        """The wire server's name for the machine in its deployment: `<guid>._<name>`."""
        return f"{uuid5(self.vm_id, 'deployment')}._{self.name}"

    @property
    def dns_suffix(self) -> str:
        """The form of Azure's own: 26 letters and digits, a zone's letters, `internal.cloudapp.net`."""
        return f"{uuid5(self.vm_id, 'network').hex[:26]}.ax.internal.cloudapp.net"

    @property
    def smbios_uuid(self) -> UUID:
        """What SMBIOS says: generation 1 has the first three fields byte-swapped (facts: guest-platform 1.1)."""
        return UUID(bytes=self.vm_id.bytes_le) if self.generation == "V1" else self.vm_id

    def as_json(self) -> dict[str, Any]:
        """JSON values for the platform's process; `from_json` reads them back."""
        image, nic = self.image, self.nic
        return {
            "vm_id": str(self.vm_id), "name": self.name, "computer_name": self.computer_name,
            "admin_username": self.admin_username, "public_keys": list(self.public_keys),
            "subscription_id": self.subscription_id, "tenant_id": self.tenant_id,
            "resource_group": self.resource_group, "location": self.location, "vm_size": self.vm_size,
            "generation": self.generation, "os_type": self.os_type, "disk_gib": self.disk_gib,
            "tags": dict(self.tags), "user_data": self.user_data, "custom_data": self.custom_data,
            "image": {
                "publisher": image.publisher, "offer": image.offer, "sku": image.sku, "version": image.version,
                "exact_version": image.exact_version, "id": image.id, "plan": dict(image.plan),
            },
            "nic": {"mac": nic.mac, "address": str(nic.address), "subnet": str(nic.subnet)},
            "identities": [
                {"resource_id": one.resource_id, "client_id": one.client_id, "principal_id": one.principal_id,
                 "command": list(one.command)}
                for one in self.identities
            ],
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> VirtualMachine:
        nic = value["nic"]
        made = {
            "vm_id": UUID(value["vm_id"]),
            "public_keys": tuple(value["public_keys"]),
            "image": ImageReference(**value["image"]),
            "nic": Nic(mac=nic["mac"], address=IPv4Address(nic["address"]), subnet=IPv4Network(nic["subnet"])),
            "identities": tuple(
                ManagedIdentity(**one | {"command": tuple(one["command"])}) for one in value["identities"]
            ),
        }
        return cls(**{**value, **made})

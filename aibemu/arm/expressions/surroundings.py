"""What a template can ask about the Azure around it: ids, names, the time. Sensible local values, all settable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aibemu.arm.nodes import Json

# What local resource ids carry when nothing is set: no real subscription or tenant has such an id.
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
TENANT = "00000000-0000-0000-0000-000000000002"


def _no_guid() -> str:
    return "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """template_uri: where the template file is, or empty. now: what utcNow() tells. new_guid: what newGuid() gives.
    supplied: values that only Azure knows, as the user gave them, by `key_of`."""

    subscription_id: str = SUBSCRIPTION
    subscription_name: str = "aibemu"
    tenant_id: str = TENANT
    resource_group: str = "aibemu"
    location: str = "westeurope"
    management_group: str = "aibemu"
    deployment_name: str = "aibemu"
    template_uri: str = ""
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    new_guid: Callable[[], str] = _no_guid
    supplied: Mapping[str, Json] = field(default_factory=dict)

    @property
    def subscription_scope(self) -> str:
        return f"/subscriptions/{self.subscription_id}"

    @property
    def group_scope(self) -> str:
        return f"{self.subscription_scope}/resourceGroups/{self.resource_group}"

    def subscription(self) -> dict[str, Json]:
        """What subscription() gives."""
        return {
            "id": self.subscription_scope,
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": self.subscription_id,
            "tenantId": self.tenant_id,
            "displayName": self.subscription_name,
            "state": "Enabled",
        }

    def group(self) -> dict[str, Json]:
        """What resourceGroup() gives."""
        return {
            "id": self.group_scope,
            "name": self.resource_group,
            "type": "Microsoft.Resources/resourceGroups",
            "location": self.location,
            "tags": {},
            "properties": {"provisioningState": "Succeeded"},
        }

    def tenant(self) -> dict[str, Json]:
        """What tenant() gives."""
        return {"countryCode": "NL", "displayName": "aibemu", "id": f"/tenants/{self.tenant_id}",
                "tenantId": self.tenant_id}  # fmt: skip

    def management(self) -> dict[str, Json]:
        """What managementGroup() gives."""
        id_ = f"/providers/Microsoft.Management/managementGroups/{self.management_group}"
        details = {"parent": {"id": None}, "updatedBy": "aibemu", "version": "1"}
        return {
            "id": id_,
            "name": self.management_group,
            "properties": {"details": details, "displayName": self.management_group, "tenantId": self.tenant_id},
            "type": "/providers/Microsoft.Management/managementGroups",
        }


ENVIRONMENT: Mapping[str, Json] = {
    "name": "AzureCloud",
    "gallery": "https://gallery.azure.com/",
    "graph": "https://graph.windows.net/",
    "portal": "https://portal.azure.com",
    "graphAudience": "https://graph.windows.net/",
    "activeDirectoryDataLake": "https://datalake.azure.net/",
    "batch": "https://batch.core.windows.net/",
    "media": "https://rest.media.azure.net",
    "sqlManagement": "https://management.core.windows.net:8443/",
    "vmImageAliasDoc": (
        "https://raw.githubusercontent.com/Azure/azure-rest-api-specs/master/arm-compute/quickstart-templates/aliases.json"
    ),
    "resourceManager": "https://management.azure.com/",
    "authentication": {
        "loginEndpoint": "https://login.microsoftonline.com/",
        "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
        "tenant": "common",
        "identityProvider": "AAD",
    },
    "suffixes": {
        "acrLoginServer": ".azurecr.io",
        "azureDatalakeAnalyticsCatalogAndJob": "azuredatalakeanalytics.net",
        "azureDatalakeStoreFileSystem": "azuredatalakestore.net",
        "azureFrontDoorEndpointSuffix": "azurefd.net",
        "keyvaultDns": ".vault.azure.net",
        "sqlServerHostname": ".database.windows.net",
        "storage": "core.windows.net",
    },
}
"""What environment() gives in the public cloud, as Microsoft documents it."""


def key_of(function: str, target: str) -> str:
    """How a supplied value is found: `reference('...')`, whatever the case and the slash at the end."""
    return f"{function}('{target.strip().rstrip('/')}')".casefold()

"""The imageTemplates resource itself: envelope, source, VM, validation and the rest (facts: service 1.2 to 1.4)."""

from __future__ import annotations

from aibemu.template.spec.distributors import DISTRIBUTOR, NAME_PATTERN, NAME_RULE
from aibemu.template.spec.shapes import (
    ALWAYS,
    Array,
    Boolean,
    Era,
    Field,
    Integer,
    Map,
    Record,
    Refusal,
    Text,
    Union,
    Variant,
)
from aibemu.template.spec.steps import CUSTOMIZER, VALIDATOR
from aibemu.template.spec.versions import (
    V2019_02,
    V2019_05,
    V2020_02,
    V2021_10,
    V2022_02,
    V2022_07,
    V2023_07,
    V2024_02,
    V2025_10,
)

TEXT = Text()
TAGS = Map(values=TEXT)
FREE = Record(name="", what="an object of the service's own")
STATE = Text(choices={"Enabled": ALWAYS, "Disabled": ALWAYS})
ON_ERROR = Text(choices={"cleanup": ALWAYS, "abort": ALWAYS})


def read_only(name: str, since: str = "") -> Field:
    """A field that only the service sets."""
    return Field(name=name, shape=FREE, era=Era(since=since), read_only=True)


PLAN_INFO = Record(
    name="PlatformImagePurchasePlan",
    what="planInfo",
    fields=tuple(Field(name=n, shape=TEXT, required=ALWAYS) for n in ("planName", "planProduct", "planPublisher")),
)
PLATFORM_IMAGE = Record(
    name="ImageTemplatePlatformImageSource",
    what="a PlatformImage source",
    fields=(
        *(Field(name=name, shape=TEXT) for name in ("publisher", "offer", "sku", "version")),
        Field(name="planInfo", shape=PLAN_INFO, era=Era(since=V2020_02), aka=("plan", "purchasePlan")),
        read_only("exactVersion"),
    ),
)
MANAGED_IMAGE = Record(
    name="ImageTemplateManagedImageSource",
    what="a ManagedImage source",
    fields=(Field(name="imageId", shape=TEXT, required=ALWAYS, aka=("id", "resourceId")),),
)
SHARED_IMAGE_VERSION = Record(
    name="ImageTemplateSharedImageVersionSource",
    what="a SharedImageVersion source",
    fields=(
        Field(name="imageVersionId", shape=TEXT, required=ALWAYS, aka=("imageId", "galleryImageId", "id")),
        read_only("exactVersion"),
    ),
)
ISO = Record(
    name="ImageTemplateIsoSource",
    what="an ISO source",
    fields=(
        Field(name="sourceUri", shape=TEXT, era=Era(since=V2019_05), required=Era(since=V2019_05)),
        Field(name="sourceURI", shape=TEXT, era=Era(until=V2019_05), required=Era(until=V2019_05)),
        Field(name="sha256Checksum", shape=TEXT, required=ALWAYS),
    ),
)
SOURCE = Union(
    what="source",
    discriminator="type",
    variants=(
        Variant(tag="PlatformImage", record=PLATFORM_IMAGE),
        Variant(tag="ManagedImage", record=MANAGED_IMAGE, era=Era(since=V2019_02)),
        Variant(tag="SharedImageVersion", record=SHARED_IMAGE_VERSION, era=Era(since=V2019_05)),
        Variant(tag="ISO", record=ISO, era=Era(until=V2020_02)),
    ),
    refused={
        "ISO": Refusal(
            id="E10",
            message="Source type ISO URI is not supported: the service dropped it with api version 2020-02-14",
            hint="use PlatformImage, ManagedImage or SharedImageVersion",
        )
    },
)

OPTIMIZE = Record(
    name="ImageTemplatePropertiesOptimize",
    what="optimize",
    fields=(
        Field(
            name="vmBoot",
            shape=Record(
                name="ImageTemplatePropertiesOptimizeVmBoot",
                what="optimize.vmBoot",
                fields=(Field(name="state", shape=STATE),),
            ),
        ),
        Field(
            name="workload",
            era=Era(since=V2025_10),
            shape=Record(
                name="ImageTemplatePropertiesOptimizeWorkload",
                what="optimize.workload",
                fields=(
                    Field(name="state", shape=STATE),
                    Field(name="scriptUri", shape=TEXT),
                    Field(name="sha256Checksum", shape=TEXT, default=""),
                ),
            ),
        ),
    ),
)
VALIDATE = Record(
    name="ImageTemplatePropertiesValidate",
    what="validate",
    fields=(
        Field(name="continueDistributeOnFailure", shape=Boolean(), default=False),
        Field(name="sourceValidationOnly", shape=Boolean(), default=False),
        Field(name="inVMValidations", shape=Array(items=VALIDATOR), aka=("validations", "validators")),
    ),
)
ERROR_HANDLING = Record(
    name="ImageTemplatePropertiesErrorHandling",
    what="errorHandling",
    fields=(
        Field(name="onCustomizerError", shape=ON_ERROR, default="cleanup"),
        Field(name="onValidationError", shape=ON_ERROR, default="cleanup"),
    ),
)
VNET_CONFIG = Record(
    name="VirtualNetworkConfig",
    what="vnetConfig",
    fields=(
        Field(name="subnetId", shape=TEXT, era=Era(since=V2020_02)),
        Field(name="proxyVmSize", shape=TEXT, era=Era(since=V2021_10), default=""),
        Field(name="containerInstanceSubnetId", shape=TEXT, era=Era(since=V2024_02)),
        *(
            Field(name=name, shape=TEXT, era=Era(since=V2019_05, until=V2020_02))
            for name in ("name", "subnetName", "resourceGroupName")
        ),
    ),
)
VM_PROFILE = Record(
    name="ImageTemplateVmProfile",
    what="vmProfile",
    fields=(
        Field(name="vmSize", shape=TEXT, default="", aka=("size",)),
        Field(name="osDiskSizeGB", shape=Integer(minimum=0), era=Era(since=V2020_02), default=0, aka=("diskSizeGB",)),
        Field(name="userAssignedIdentities", shape=Array(items=TEXT), era=Era(since=V2021_10)),
        Field(name="vnetConfig", shape=VNET_CONFIG, aka=("vnet",)),
    ),
)
DATA_DISK = Record(
    name="DataDisk", what="a data disk", fields=(Field(name="sizeGB", shape=Integer(minimum=0), aka=("diskSizeGB",)),)
)
AUTO_RUN = Record(
    name="ImageTemplateAutoRun", what="autoRun", fields=(Field(name="state", shape=STATE, default="Disabled"),)
)

PROPERTIES = Record(
    name="ImageTemplateProperties",
    what="`properties`",
    fields=(
        Field(name="source", shape=SOURCE, required=ALWAYS),
        Field(name="customize", shape=Array(items=CUSTOMIZER), aka=("customizers",)),
        Field(name="optimize", shape=OPTIMIZE, era=Era(since=V2022_07)),
        Field(name="validate", shape=VALIDATE, era=Era(since=V2022_02), aka=("validation",)),
        Field(name="distribute", shape=Array(items=DISTRIBUTOR), required=ALWAYS, aka=("distributors", "outputs")),
        Field(name="errorHandling", shape=ERROR_HANDLING, era=Era(since=V2023_07)),
        Field(
            name="buildTimeoutInMinutes", shape=Integer(minimum=0, maximum=960), era=Era(since=V2019_05), default=0,
            invalid="E70", aka=("buildTimeout", "timeout"),
        ),
        Field(name="vmProfile", shape=VM_PROFILE, era=Era(since=V2019_05)),
        Field(name="additionalDataDisks", shape=Array(items=DATA_DISK), era=Era(since=V2025_10), aka=("dataDisks",)),
        Field(name="stagingResourceGroup", shape=TEXT, era=Era(since=V2022_02), default=""),
        Field(name="autoRun", shape=AUTO_RUN, era=Era(since=V2024_02)),
        Field(name="managedResourceTags", shape=TAGS, era=Era(since=V2024_02)),
        read_only("exactStagingResourceGroup", V2022_02),
        read_only("provisioningState"),
        read_only("provisioningError"),
        read_only("lastRunStatus"),
    ),
)  # fmt: skip

USER_IDENTITY = Record(
    name="UserAssignedIdentity",
    what="a user-assigned identity",
    fields=(read_only("principalId"), read_only("clientId")),
)
IDENTITY = Record(
    name="ImageTemplateIdentity",
    what="identity",
    fields=(
        Field(name="type", shape=Text(choices={"UserAssigned": ALWAYS, "None": ALWAYS}), invalid="E07"),
        Field(name="userAssignedIdentities", shape=Map(values=USER_IDENTITY)),
    ),
)
IMAGE_TEMPLATE = Record(
    name="ImageTemplate",
    what="an image template",
    fields=(
        Field(
            name="name", shape=Text(pattern=NAME_PATTERN, rule=NAME_RULE), required=ALWAYS, missing="E06",
            invalid="E06",
        ),
        Field(name="location", shape=TEXT, required=ALWAYS, aka=("region",)),
        Field(name="tags", shape=TAGS),
        Field(
            name="identity", shape=IDENTITY, era=Era(since=V2019_05), required=Era(since=V2020_02), missing="E07"
        ),
        Field(name="properties", shape=PROPERTIES, required=ALWAYS),
        read_only("id"),
        read_only("systemData", V2021_10),
    ),
)  # fmt: skip

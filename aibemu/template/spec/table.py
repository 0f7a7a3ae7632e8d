"""The imageTemplates resource itself: envelope, source and properties (facts: service 1.2 to 1.4)."""

from __future__ import annotations

from aibemu.names import Form
from aibemu.template.spec.build import (
    AUTO_RUN,
    DATA_DISK,
    ERROR_HANDLING,
    OPTIMIZE,
    VALIDATE,
    VM_PROFILE,
)
from aibemu.template.spec.distributors import DISTRIBUTOR
from aibemu.template.spec.names import A_NAME, AN_ADDRESS, AN_ID, TAGS, TEXT, name_field, read_only
from aibemu.template.spec.shapes import (
    ALWAYS,
    Array,
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
from aibemu.template.spec.steps import CUSTOMIZER
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

PLAN_INFO = Record(
    name="PlatformImagePurchasePlan",
    what="planInfo",
    fields=tuple(
        Field(name=name, shape=A_NAME, doc=doc, required=ALWAYS)
        for name, doc in (
            ("planName", "Name of the purchase plan; often the sku of the image."),
            ("planProduct", "Product of the purchase plan; often the offer of the image."),
            ("planPublisher", "Publisher of the purchase plan; often that of the image."),
        )
    ),
)
PLATFORM_IMAGE = Record(
    name="ImageTemplatePlatformImageSource",
    what="a PlatformImage source",
    fields=(
        Field(name="publisher", shape=A_NAME, doc="Publisher of the marketplace image, like `Canonical`."),
        Field(name="offer", shape=A_NAME, doc="Offer of the marketplace image."),
        Field(name="sku", shape=A_NAME, doc="Sku of the marketplace image."),
        Field(
            name="version",
            shape=A_NAME,
            doc="Version of the marketplace image; `latest` is the newest one when the build runs.",
        ),
        Field(
            name="planInfo",
            shape=PLAN_INFO,
            doc="Purchase plan, for an image that needs one. Default: none.",
            era=Era(since=V2020_02),
            aka=("plan", "purchasePlan"),
        ),
        read_only("exactVersion", "The version that `latest` stood for in the last build."),
    ),
)
MANAGED_IMAGE = Record(
    name="ImageTemplateManagedImageSource",
    what="a ManagedImage source",
    fields=(
        Field(
            name="imageId",
            shape=AN_ID,
            doc="Resource id of the managed image, in the subscription and region of the template.",
            required=ALWAYS,
            aka=("id", "resourceId"),
        ),
    ),
)
SHARED_IMAGE_VERSION = Record(
    name="ImageTemplateSharedImageVersionSource",
    what="a SharedImageVersion source",
    fields=(
        Field(
            name="imageVersionId",
            shape=AN_ID,
            doc="Resource id of the image version in a compute gallery, replicated to the template's region. From api "
            "version 2022-07-01 on the version may be `latest`.",
            required=ALWAYS,
            aka=("imageId", "galleryImageId", "id"),
        ),
        read_only("exactVersion", "Resource id of the version that `latest` stood for in the last build."),
    ),
)
_ISO_URI = "Address of the installation medium."
ISO = Record(
    name="ImageTemplateIsoSource",
    what="an ISO source",
    fields=(
        Field(name="sourceUri", shape=AN_ADDRESS, doc=_ISO_URI, era=Era(since=V2019_05), required=ALWAYS),
        Field(name="sourceURI", shape=AN_ADDRESS, doc=_ISO_URI, era=Era(until=V2019_05), required=ALWAYS),
        Field(name="sha256Checksum", shape=TEXT, doc="SHA-256 that the medium must have.", required=ALWAYS),
    ),
)
SOURCE = Union(
    what="source",
    discriminator="type",
    doc="What the image is made of: a PlatformImage (from the marketplace), a ManagedImage or a SharedImageVersion "
    "(from a compute gallery).",
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

PROPERTIES = Record(
    name="ImageTemplateProperties",
    what="`properties`",
    fields=(
        Field(name="source", shape=SOURCE, doc="The image to start from.", required=ALWAYS),
        Field(
            name="customize",
            shape=Array(items=CUSTOMIZER),
            doc="Steps that change the machine, in this order. Default: none.",
            aka=("customizers",),
        ),
        Field(
            name="optimize",
            shape=OPTIMIZE,
            doc="What to optimize in the finished image. Default: nothing.",
            era=Era(since=V2022_07),
        ),
        Field(
            name="validate",
            shape=VALIDATE,
            doc="Steps that test the finished image before it is distributed. Default: none.",
            era=Era(since=V2022_02),
            aka=("validation",),
        ),
        Field(
            name="distribute",
            shape=Array(items=DISTRIBUTOR),
            doc="Where the finished image goes; one target or more.",
            required=ALWAYS,
            aka=("distributors", "outputs"),
        ),
        Field(
            name="errorHandling",
            shape=ERROR_HANDLING,
            doc="What happens to the machine when a step fails. Default: it is deleted.",
            era=Era(since=V2023_07),
        ),
        Field(
            name="buildTimeoutInMinutes",
            shape=Integer(minimum=0, maximum=960),
            doc="Minutes that a run may take, from customizing to distributing. Default: 0, which stands for 240; "
            "less than 6 is too short to run.",
            era=Era(since=V2019_05),
            default=0,
            invalid="E70",
            aka=("buildTimeout", "timeout"),
        ),
        Field(
            name="vmProfile",
            shape=VM_PROFILE,
            doc="The build machine: size, disk, identities, network.",
            era=Era(since=V2019_05),
        ),
        Field(
            name="additionalDataDisks",
            shape=Array(items=DATA_DISK),
            doc="Data disks that the image has besides its OS disk. Default: none.",
            era=Era(since=V2025_10),
            aka=("dataDisks",),
        ),
        Field(
            name="stagingResourceGroup",
            shape=AN_ID,
            doc="Resource id of the resource group to build in, empty or not there yet, in the template's region. "
            "Default: one that the service makes, called IT_...",
            era=Era(since=V2022_02),
            default="",
        ),
        Field(
            name="autoRun",
            shape=AUTO_RUN,
            doc="Whether a build starts as soon as the template is created. Default: no.",
            era=Era(since=V2024_02),
        ),
        Field(
            name="managedResourceTags",
            shape=TAGS,
            doc="Tags of the resource group and resources that the service makes for a build. Default: none.",
            era=Era(since=V2024_02),
        ),
        read_only("exactStagingResourceGroup", "The staging resource group in use.", V2022_02),
        read_only("provisioningState", "Whether the template itself was created."),
        read_only("provisioningError", "Why the template could not be created."),
        read_only("lastRunStatus", "How the last run went, or goes."),
    ),
)

USER_IDENTITY = Record(
    name="UserAssignedIdentity",
    what="a user-assigned identity",
    fields=(
        read_only("principalId", "The identity's id in the directory."),
        read_only("clientId", "The identity's application id."),
    ),
)
IDENTITY = Record(
    name="ImageTemplateIdentity",
    what="identity",
    fields=(
        Field(
            name="type",
            shape=Text(choices={"UserAssigned": ALWAYS, "None": ALWAYS}),
            doc="UserAssigned: the template acts as the identity in userAssignedIdentities.",
            invalid="E07",
        ),
        Field(
            name="userAssignedIdentities",
            shape=Map(values=USER_IDENTITY, form=Form.ID),
            doc="The one identity that reads the source and writes the image: its resource id as the key, {} as the "
            "value.",
        ),
    ),
)
IMAGE_TEMPLATE = Record(
    name="ImageTemplate",
    what="an image template",
    fields=(
        *name_field("name", "Name of the image template.", id_="E06"),
        Field(
            name="location",
            shape=A_NAME,
            doc="Region of the template, in which the image is built.",
            required=ALWAYS,
            aka=("region",),
        ),
        Field(name="tags", shape=TAGS, doc="Tags of the template itself. Default: none."),
        Field(
            name="identity",
            shape=IDENTITY,
            doc="The managed identity that the service uses to read the source and to write the image.",
            era=Era(since=V2019_05),
            required=Era(since=V2020_02),
            missing="E07",
        ),
        Field(name="properties", shape=PROPERTIES, doc="What to build, how, and where it goes.", required=ALWAYS),
        read_only("id", "Resource id of the template."),
        read_only("systemData", "Who made and changed the template, and when.", V2021_10),
    ),
)

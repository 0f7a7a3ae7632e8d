"""Distribute targets (facts: service 1.3, 1.4)."""

from __future__ import annotations

from aibemu.template.spec.names import A_NAME, A_TARGET, AN_ID, TAGS, name_field
from aibemu.template.spec.shapes import ALWAYS, Array, Boolean, Era, Field, Integer, Record, Text, Union, Variant
from aibemu.template.spec.versions import V2019_02, V2020_02, V2022_07, V2025_10

RUN_OUTPUT_NAME = name_field(
    "runOutputName",
    "Name of the runOutput that records what a run made for this target. Unique in the template.",
    id_="E50",
    aka=("runOutput", "outputName"),
)
ARTIFACT_TAGS = Field(
    name="artifactTags",
    shape=TAGS,
    doc="Tags of the image that is made. Default: none.",
    default={},
    aka=("tags",),
)
STORAGE_ACCOUNT_TYPE = Text(
    choices={"Standard_LRS": ALWAYS, "Standard_ZRS": ALWAYS, "Premium_LRS": Era(since=V2022_07)}
)


def place(name: str, shape: Text, doc: str, *aka: str) -> Field:
    """A required field that says where the artifact goes."""
    return Field(name=name, shape=shape, doc=doc, required=ALWAYS, missing="E51", aka=aka)


MANAGED_IMAGE = Record(
    name="ImageTemplateManagedImageDistributor",
    what="a ManagedImage distributor",
    fields=(
        *RUN_OUTPUT_NAME,
        ARTIFACT_TAGS,
        place(
            "imageId", AN_ID, "Resource id of the managed image to create: .../providers/Microsoft.Compute/images/NAME."
        ),
        place(
            "location",
            A_NAME,
            "Region of the managed image. If the image exists already, it has to be the same.",
            "region",
        ),
    ),
)
VHD = Record(
    name="ImageTemplateVhdDistributor",
    what="a VHD distributor",
    fields=(
        *RUN_OUTPUT_NAME,
        ARTIFACT_TAGS,
        Field(
            name="uri",
            shape=A_TARGET,
            doc="Storage blob to write the VHD to. Default: a blob in the staging resource group, which goes when the "
            "template is deleted.",
            era=Era(since=V2022_07),
            default="",
        ),
    ),
)
TARGET_REGION = Record(
    name="TargetRegion",
    what="a target region",
    fields=(
        Field(name="name", shape=A_NAME, doc="Name of the region, like `westeurope`.", required=ALWAYS),
        Field(
            name="replicaCount",
            shape=Integer(minimum=1),
            doc="Copies of the image version to keep in this region. Default: 1.",
            default=1,
            invalid="E59",
        ),
        Field(
            name="storageAccountType",
            shape=STORAGE_ACCOUNT_TYPE,
            doc="Storage for the image version in this region. Default: Standard_LRS.",
            default="Standard_LRS",
        ),
    ),
)
VERSIONING = Union(
    what="versioning scheme",
    discriminator="scheme",
    doc="How the version of the image is counted: Latest adds one to the highest in the gallery, Source takes over the "
    "version of the source image.",
    variants=(
        Variant(
            tag="Latest",
            record=Record(
                name="DistributeVersionerLatest",
                what="the versioning scheme Latest",
                fields=(
                    Field(
                        name="major",
                        shape=Integer(minimum=-1),
                        doc="Count only versions with this major number. Default: -1, which stands for all versions.",
                        default=-1,
                        invalid="E58",
                    ),
                ),
            ),
        ),
        Variant(tag="Source", record=Record(name="DistributeVersionerSource", what="the versioning scheme Source")),
    ),
)
SHARED_IMAGE = Record(
    name="ImageTemplateSharedImageDistributor",
    what="a SharedImage distributor",
    fields=(
        *RUN_OUTPUT_NAME,
        ARTIFACT_TAGS,
        place(
            "galleryImageId",
            AN_ID,
            "Resource id of the image definition in a compute gallery: .../galleries/GALLERY/images/NAME. With "
            "`/versions/x.y.z` behind it the version is fixed, and the template can run only once.",
            "imageId",
            "galleryImageDefinitionId",
        ),
        Field(
            name="replicationRegions",
            shape=Array(items=A_NAME),
            doc="Regions that get the image version. Not together with targetRegions, which is its successor.",
            required=Era(until=V2022_07),
            deprecated=Era(since=V2022_07),
            aka=("regions",),
        ),
        Field(
            name="targetRegions",
            shape=Array(items=TARGET_REGION),
            doc="Regions that get the image version, each with its replicas and storage. Not together with "
            "replicationRegions.",
            era=Era(since=V2022_07),
        ),
        Field(
            name="excludeFromLatest",
            shape=Boolean(),
            doc="True: who asks the gallery for the latest version does not get this one. Default: false.",
            era=Era(since=V2020_02),
            default=False,
        ),
        Field(
            name="storageAccountType",
            shape=STORAGE_ACCOUNT_TYPE,
            doc="Storage for the image version; only together with replicationRegions. Default: Standard_LRS.",
            era=Era(since=V2020_02),
            deprecated=Era(since=V2022_07),
        ),
        Field(
            name="versioning",
            shape=VERSIONING,
            doc="How the version of the image is counted, when galleryImageId does not fix it. Default: Latest.",
            era=Era(since=V2022_07),
        ),
        Field(
            name="replicationMode",
            shape=Text(choices={"Full": ALWAYS, "Shallow": ALWAYS}),
            doc="Full copies the image to the regions; Shallow is quick, and for tests only. Default: Full.",
            era=Era(since=V2025_10),
            default="Full",
        ),
    ),
)

DISTRIBUTOR = Union(
    what="distributor",
    discriminator="type",
    doc="Where the image goes: a ManagedImage, a SharedImage (a version in a compute gallery) or a VHD.",
    plugins="distributors",
    common=Record(name="ImageTemplateDistributor", what="a distributor", fields=(*RUN_OUTPUT_NAME, ARTIFACT_TAGS)),
    variants=(
        Variant(tag="ManagedImage", record=MANAGED_IMAGE, era=Era(since=V2019_02)),
        Variant(tag="managedImage", record=MANAGED_IMAGE, era=Era(until=V2019_02)),
        Variant(tag="SharedImage", record=SHARED_IMAGE, era=Era(since=V2019_02)),
        Variant(tag="sharedImage", record=SHARED_IMAGE, era=Era(until=V2019_02)),
        Variant(tag="VHD", record=VHD, era=Era(since=V2019_02)),
    ),
)

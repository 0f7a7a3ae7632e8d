"""How the image is built: the machine, optimization, validation, what happens on errors (facts: service 1.3, 1.4)."""

from __future__ import annotations

from aibemu.template.spec.names import A_NAME, AN_ADDRESS, AN_ID, STATE, TEXT
from aibemu.template.spec.shapes import ALWAYS, Array, Boolean, Era, Field, Integer, Record, Text
from aibemu.template.spec.steps import VALIDATOR
from aibemu.template.spec.versions import V2019_05, V2020_02, V2021_10, V2024_02, V2025_10

ON_ERROR = Text(choices={"cleanup": ALWAYS, "abort": ALWAYS})

VM_BOOT = Record(
    name="ImageTemplatePropertiesOptimizeVmBoot",
    what="optimize.vmBoot",
    fields=(Field(name="state", shape=STATE, doc="Enabled: machines made of the image start faster. Default: off."),),
)
WORKLOAD = Record(
    name="ImageTemplatePropertiesOptimizeWorkload",
    what="optimize.workload",
    fields=(
        Field(name="state", shape=STATE, doc="Enabled: the image is optimized for a workload. Default: off."),
        Field(name="scriptUri", shape=AN_ADDRESS, doc="Address of the script that runs the workload."),
        Field(
            name="sha256Checksum",
            shape=TEXT,
            doc="SHA-256 that the script must have, 64 hex digits in lower case. Default: not checked.",
            default="",
        ),
    ),
)
OPTIMIZE = Record(
    name="ImageTemplatePropertiesOptimize",
    what="optimize",
    fields=(
        Field(name="vmBoot", shape=VM_BOOT, doc="Make machines of this image start faster. Default: off."),
        Field(
            name="workload",
            shape=WORKLOAD,
            doc="Optimize the image for a workload. Default: off.",
            era=Era(since=V2025_10),
        ),
    ),
)
VALIDATE = Record(
    name="ImageTemplatePropertiesValidate",
    what="validate",
    fields=(
        Field(
            name="continueDistributeOnFailure",
            shape=Boolean(),
            doc="True: distribute the image even if its validation fails; the run has failed all the same. "
            "Default: false.",
            default=False,
        ),
        Field(
            name="sourceValidationOnly",
            shape=Boolean(),
            doc="True: validate the source image itself and build nothing. Default: false.",
            default=False,
        ),
        Field(
            name="inVMValidations",
            shape=Array(items=VALIDATOR),
            doc="Steps that run in a machine made of the new image; one that fails is a bad image.",
            aka=("validations", "validators"),
        ),
    ),
)
ERROR_HANDLING = Record(
    name="ImageTemplatePropertiesErrorHandling",
    what="errorHandling",
    fields=(
        Field(
            name="onCustomizerError",
            shape=ON_ERROR,
            doc="When a customizer fails: cleanup deletes the build machine, abort keeps it. Default: cleanup.",
            default="cleanup",
        ),
        Field(
            name="onValidationError",
            shape=ON_ERROR,
            doc="When a validator fails: cleanup deletes the machine, abort keeps it. Default: cleanup.",
            default="cleanup",
        ),
    ),
)
VNET_CONFIG = Record(
    name="VirtualNetworkConfig",
    what="vnetConfig",
    fields=(
        Field(
            name="subnetId",
            shape=AN_ID,
            doc="Resource id of an existing subnet to put the build machine into.",
            era=Era(since=V2020_02),
        ),
        Field(
            name="proxyVmSize",
            shape=A_NAME,
            doc="Size of the proxy machine between the service and the build machine. Not together with "
            "containerInstanceSubnetId. Default: Standard_A1_v2.",
            era=Era(since=V2021_10),
            default="",
        ),
        Field(
            name="containerInstanceSubnetId",
            shape=AN_ID,
            doc="Resource id of a second subnet of the same network, for the container that runs an isolated build.",
            era=Era(since=V2024_02),
        ),
        *(
            Field(name=name, shape=A_NAME, doc=doc, era=Era(since=V2019_05, until=V2020_02), instead="subnetId")
            for name, doc in (
                ("name", "Name of the virtual network to put the build machine into."),
                ("subnetName", "Name of the subnet in that network."),
                ("resourceGroupName", "Resource group of that network."),
            )
        ),
    ),
)
VM_PROFILE = Record(
    name="ImageTemplateVmProfile",
    what="vmProfile",
    fields=(
        Field(
            name="vmSize",
            shape=A_NAME,
            doc="Size of the build machine. Default: Standard_D1_v2, or Standard_D2ds_v4 for a Gen2 source.",
            default="",
            aka=("size",),
        ),
        Field(
            name="osDiskSizeGB",
            shape=Integer(minimum=0),
            doc="Size of the OS disk in GB, not smaller than the source's. Default: 0, which stands for the source's.",
            era=Era(since=V2020_02, documented=V2019_05),
            default=0,
            aka=("diskSizeGB",),
        ),
        Field(
            name="userAssignedIdentities",
            shape=Array(items=AN_ID),
            doc="Resource ids of the managed identities that the build machine has. Default: none.",
            era=Era(since=V2021_10),
        ),
        Field(
            name="vnetConfig",
            shape=VNET_CONFIG,
            doc="An existing virtual network to build in. Default: a network that the service makes.",
            aka=("vnet",),
        ),
    ),
)
DATA_DISK = Record(
    name="DataDisk",
    what="a data disk",
    fields=(
        Field(name="sizeGB", shape=Integer(minimum=0), doc="Size of the data disk in GB.", aka=("diskSizeGB",)),
    ),
)  # fmt: skip
AUTO_RUN = Record(
    name="ImageTemplateAutoRun",
    what="autoRun",
    fields=(
        Field(
            name="state",
            shape=STATE,
            doc="Enabled: build as soon as the template is created. Default: Disabled.",
            default="Disabled",
        ),
    ),
)

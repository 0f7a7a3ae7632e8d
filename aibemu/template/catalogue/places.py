"""Where images come from and go to."""

from __future__ import annotations

from aibemu.arm.diagnostics import Severity
from aibemu.template.catalogue.example import document
from aibemu.template.catalogue.fragments import GALLERY_IMAGE, IMAGE, gallery, properties, source, target, whole
from aibemu.template.catalogue.model import Example, Rule
from aibemu.template.spec.versions import NEWEST

_CANONICAL = '"type": "PlatformImage", "publisher": "Canonical", "version": "latest"'
_NOBLE = f'{_CANONICAL}, "offer": "ubuntu-24_04-lts", "sku": "server"'
_CIS = '"type": "PlatformImage", "publisher": "center-for-internet-security-inc", "version": "latest"'
_CIS_IMAGE = f'{_CIS}, "offer": "cis-ubuntu-linux-2204-l1", "sku": "cis-ubuntu-linux-2204-l1"'
_PLAN = '"planName": "cis-ubuntu-linux-2204-l1", "planProduct": "cis-ubuntu-linux-2204-l1"'
_REGIONS = '"targetRegions": [{ "name": "westeurope" }]'
_OTHER = IMAGE.replace("000000000001", "000000000009")


def _from_image(scheme: str) -> Example:
    """A managed image to a gallery, with that versioning."""
    nothing = '"publisher": null, "offer": null, "sku": null, "version": null'
    image = f'"source": {{ {nothing}, "type": "ManagedImage", "imageId": "{IMAGE}" }}'
    target = f'"type": "SharedImage", "runOutputName": "gallery", "galleryImageId": "{GALLERY_IMAGE}"'
    versioning = f'"versioning": {{ "scheme": "{scheme}" }}'
    return properties(f'{image}, "distribute": [{{ {target}, {_REGIONS}, {versioning} }}]')


def _image(name: str, image: str) -> str:
    """A ManagedImage target."""
    return f'{{ "type": "ManagedImage", "runOutputName": "{name}", "imageId": "{image}", "location": "westeurope" }}'


def _deployment(*resources: str) -> Example:
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    listed = ", ".join(resources)
    return whole(f'{{\n"$schema": "{schema}",\n"contentVersion": "1.0.0.0",\n"resources": [{listed}]\n}}')


def _template(target: str) -> str:
    body = document(properties(f'"distribute": [{target}], "customize": []'))
    members = f'"type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "{NEWEST}",'
    return body.replace("{", f"{{\n  {members}", 1)


def _beside(generation: str) -> Example:
    """A template, and the image definition that it writes to."""
    of_system = f'"osType": "Linux", "hyperVGeneration": "{generation}"'
    definition = (
        '{ "type": "Microsoft.Compute/galleries/images", "apiVersion": "2023-07-03", "name": "gallery/web",\n'
        f'  "location": "westeurope", "properties": {{ {of_system} }} }}'
    )
    id_ = "[resourceId('Microsoft.Compute/galleries/images', 'gallery', 'web')]"
    target = f'{{ "type": "SharedImage", "runOutputName": "gallery", "galleryImageId": "{id_}", {_REGIONS} }}'
    return _deployment(definition, _template(target))


def _triggered(kind: str) -> Example:
    trigger = (
        f'{{ "type": "Microsoft.VirtualMachineImages/imageTemplates/triggers", "apiVersion": "{NEWEST}",\n'
        f'  "name": "web/source", "properties": {{ "kind": "{kind}" }}, "dependsOn": ["web"] }}'
    )
    return _deployment(_template(_image("image", IMAGE)), trigger)


RULES: tuple[Rule, ...] = (
    Rule(
        id="E10",
        level=Severity.ERROR,
        title="an ISO source",
        why="The service dropped ISO sources with api version 2020-02-14 (documented).",
        fix="Use PlatformImage, ManagedImage or SharedImageVersion.",
        bad=source('"type": "ISO"'),
        good=source(_NOBLE),
    ),
    Rule(
        id="E11",
        level=Severity.ERROR,
        title="an incomplete marketplace image",
        why="The schema has the four fields optional; an image is found only by publisher, offer, sku and version.",
        fix='Add what is missing; `"version": "latest"` is usual.',
        bad=source(_CANONICAL),
        good=source(_NOBLE),
    ),
    Rule(
        id="W12",
        level=Severity.WARNING,
        title="an image whose support has ended",
        why="It gets no more fixes, and such images go from the marketplace; the template then fails to provision.",
        fix="Take a newer image.",
        bad=source(f'{_CANONICAL}, "offer": "UbuntuServer", "sku": "18.04-LTS"'),
        good=source(_NOBLE),
    ),
    Rule(
        id="E13",
        level=Severity.ERROR,
        title="a managed image of another subscription",
        why="A managed image has to be in the subscription and region of the template (documented). Judged when the "
        "template's staging group says which subscription that is.",
        fix="Copy it, or share it by a gallery.",
        bad=properties(
            f'"stagingResourceGroup": "{IMAGE.partition("/providers")[0]}-staging", "source": {{ "publisher": null,'
            f' "offer": null, "sku": null, "version": null, "type": "ManagedImage", "imageId": "{_OTHER}" }}'
        ),
        good=source(f'"type": "ManagedImage", "imageId": "{IMAGE}"'),
    ),
    Rule(
        id="E14",
        level=Severity.ERROR,
        title="`latest` with an old api version",
        why="`latest` as the version of a gallery image came with api version 2022-07-01 (documented).",
        fix="Name the version, or use a newer api version.",
        bad=source(f'"type": "SharedImageVersion", "imageVersionId": "{GALLERY_IMAGE}/versions/latest"', "2022-02-14"),
        good=source(f'"type": "SharedImageVersion", "imageVersionId": "{GALLERY_IMAGE}/versions/latest"', "2022-07-01"),
    ),
    Rule(
        id="W15",
        level=Severity.WARNING,
        title="planInfo is missing",
        why="Images of this publisher have a purchase plan, and a build without planInfo fails when the "
        "machine is made.",
        fix="Add planInfo with planName, planProduct and planPublisher.",
        bad=source(_CIS_IMAGE),
        good=source(f'{_CIS_IMAGE}, "planInfo": {{ {_PLAN}, "planPublisher": "center-for-internet-security-inc" }}'),
    ),
    Rule(
        id="W16",
        level=Severity.WARNING,
        title="a hardened image",
        why="CIS images restrict SSH, WinRM and /tmp, which the build needs; builds were reported to fail (observed).",
        fix="Try it early, and keep the steps that open what the build needs.",
        bad=source(_CIS_IMAGE),
        good=source(_NOBLE),
    ),
    Rule(
        id="E49",
        level=Severity.ERROR,
        title="versioning Source of a source without a version",
        why="The scheme Source makes the image's version of the source's (documented), and a managed image "
        "has none. What the service says of it is not known.",
        fix='Write `"scheme": "Latest"`.',
        bad=_from_image("Source"),
        good=_from_image("Latest"),
    ),
    Rule(
        id="E50",
        level=Severity.ERROR,
        title="runOutputName",
        why="Every target needs one, unique in the template, of 1 to 64 letters, digits, `-`, `_` and `.` "
        "(documented).",
        fix="Give each target its own name.",
        bad=target('"type": "VHD", "runOutputName": "my disk"'),
        good=target('"type": "VHD", "runOutputName": "my-disk"'),
    ),
    Rule(
        id="E51",
        level=Severity.ERROR,
        title="a target without its place",
        why="The service has to know where the image goes: imageId and location, or galleryImageId (documented).",
        fix="Add the field.",
        bad=target('"type": "ManagedImage", "runOutputName": "image", "location": "westeurope"'),
        good=target(
            f'"type": "ManagedImage", "runOutputName": "image", "location": "westeurope", "imageId": "{IMAGE}"'
        ),
    ),
    Rule(
        id="E52",
        level=Severity.ERROR,
        title="replicationRegions together with targetRegions",
        why="Only one of them may be there (documented).",
        fix="Remove replicationRegions.",
        bad=gallery(f'{_REGIONS}, "replicationRegions": ["westeurope"]'),
        good=gallery(_REGIONS),
    ),
    Rule(
        id="E53",
        level=Severity.ERROR,
        title="storageAccountType without replicationRegions",
        why="It belongs to the old form of regions (documented).",
        fix="Put it into each of targetRegions.",
        bad=gallery(f'{_REGIONS}, "storageAccountType": "Standard_ZRS"'),
        good=gallery('"targetRegions": [{ "name": "westeurope", "storageAccountType": "Standard_ZRS" }]'),
    ),
    Rule(
        id="W54",
        level=Severity.NOTE,
        title="replicationRegions is deprecated",
        why="Since api version 2022-07-01 targetRegions has its place, with replicas and storage of each region.",
        fix='Write `"targetRegions": [{ "name": "..." }]`.',
        bad=gallery('"replicationRegions": ["westeurope"]'),
        good=gallery(_REGIONS),
    ),
    Rule(
        id="E55",
        level=Severity.ERROR,
        title="an explicit version that is not x.y.z",
        why="A version is three numbers of 32 bits (documented).",
        fix="Write it like 1.0.0, or leave it out, and the service counts.",
        bad=gallery(_REGIONS, image=f"{GALLERY_IMAGE}/versions/1.0"),
        good=gallery(_REGIONS),
    ),
    Rule(
        id="W56",
        level=Severity.NOTE,
        title="an explicit version: the template runs once",
        why="A version cannot be written again, so a second run of the same template fails when it distributes.",
        fix="Leave the version out, and the service counts.",
        bad=gallery(_REGIONS, image=f"{GALLERY_IMAGE}/versions/1.0.0"),
        good=gallery(_REGIONS),
    ),
    Rule(
        id="E57",
        level=Severity.ERROR,
        title="versioning together with an explicit version",
        why="The version is said already, and versioning has nothing to count.",
        fix="Remove one of the two.",
        bad=gallery(f'{_REGIONS}, "versioning": {{ "scheme": "Latest" }}', image=f"{GALLERY_IMAGE}/versions/1.0.0"),
        good=gallery(f'{_REGIONS}, "versioning": {{ "scheme": "Latest" }}'),
    ),
    Rule(
        id="E58",
        level=Severity.ERROR,
        title="major is out of bounds",
        why="It is a major number, or -1 for all (documented).",
        fix="Write 0 or more, or leave it out.",
        bad=gallery(f'{_REGIONS}, "versioning": {{ "scheme": "Latest", "major": -2 }}'),
        good=gallery(f'{_REGIONS}, "versioning": {{ "scheme": "Latest", "major": 1 }}'),
    ),
    Rule(
        id="E59",
        level=Severity.ERROR,
        title="replicaCount is out of bounds",
        why="A region has at least one replica (documented).",
        fix="Write 1 or more.",
        bad=gallery('"targetRegions": [{ "name": "westeurope", "replicaCount": 0 }]'),
        good=gallery('"targetRegions": [{ "name": "westeurope", "replicaCount": 1 }]'),
    ),
    Rule(
        id="W60",
        level=Severity.NOTE,
        title="a managed image in another region than the template",
        why="The disk is copied between regions, which takes long.",
        fix="Use the template's region, or a gallery, which replicates.",
        bad=target(f'"type": "ManagedImage", "runOutputName": "image", "location": "eastus", "imageId": "{IMAGE}"'),
        good=target(
            f'"type": "ManagedImage", "runOutputName": "image", "location": "westeurope", "imageId": "{IMAGE}"'
        ),
    ),
    Rule(
        id="W61",
        level=Severity.WARNING,
        title="the uri of a VHD does not end in .vhd",
        why="Azure makes disks and images only of blobs whose name does.",
        fix="Let it end in `.vhd`.",
        bad=target(
            '"type": "VHD", "runOutputName": "disk", "uri": "https://account.blob.core.windows.net/images/disk"'
        ),
        good=target(
            '"type": "VHD", "runOutputName": "disk", "uri": "https://account.blob.core.windows.net/images/disk.vhd"'
        ),
    ),
    Rule(
        id="W62",
        level=Severity.NOTE,
        title="a VHD that goes with the template",
        why="Without a uri the VHD is in the storage account of the staging group, which is deleted together "
        "with the template (documented).",
        fix="Give a uri, or copy the VHD from there.",
        bad=target('"type": "VHD", "runOutputName": "disk"'),
        good=target(
            '"type": "VHD", "runOutputName": "disk", "uri": "https://account.blob.core.windows.net/images/disk.vhd"'
        ),
    ),
    Rule(
        id="E18",
        level=Severity.ERROR,
        title="an image definition that is not for the source's images",
        why="Hyper-V generation and system of an image definition are those of its images. Since 2024 the service "
        "compares them when it gets the template, and refuses it (observed). Found where the same file makes the "
        "definition; `plan` and `run` compare with those of the local cloud.",
        fix="Change the definition, or take another source.",
        bad=_beside("V1"),
        good=_beside("V2"),
    ),
    Rule(
        id="W19",
        level=Severity.WARNING,
        title="a trigger that does not fit its template",
        why="A trigger starts the template when there is a newer source image. Its kind is SourceImage, the source is "
        "the `latest` one, no target has one version or is the source, and a template has one trigger (documented).",
        fix="As the message says.",
        bad=_triggered("Schedule"),
        good=_triggered("SourceImage"),
    ),
    Rule(
        id="E84",
        level=Severity.ERROR,
        title="a name that Azure does not take",
        why="Each type of resource has its own rule for names (documented); the service refuses the template, or fails "
        "when it distributes.",
        fix="Correct the name in the id; the id of a subscription is a GUID.",
        bad=gallery(_REGIONS, image=GALLERY_IMAGE.replace("/gallery/", "/my-gallery/")),
        good=gallery(_REGIONS, image=GALLERY_IMAGE.replace("/gallery/", "/my_gallery/")),
    ),
    Rule(
        id="E85",
        level=Severity.ERROR,
        title="two targets with one place",
        why="The second target would replace the image of the first one, or fail: a version cannot be written again.",
        fix="Give each target a place of its own.",
        bad=properties(f'"distribute": [{_image("a", IMAGE)}, {_image("b", IMAGE.upper())}]'),
        good=properties(f'"distribute": [{_image("a", IMAGE)}, {_image("b", f"{IMAGE}2")}]'),
    ),
    Rule(
        id="E86",
        level=Severity.ERROR,
        title="a region twice in a list",
        why="A version is in a region once, however it is spelt (`West Europe`, `westeurope`); its copies there are "
        "counted by replicaCount.",
        fix="Remove one of the two.",
        bad=gallery('"targetRegions": [{ "name": "westeurope" }, { "name": "West Europe" }]'),
        good=gallery('"targetRegions": [{ "name": "westeurope", "replicaCount": 2 }]'),
    ),
    Rule(
        id="W94",
        level=Severity.WARNING,
        title="a region that is none, or a list without the gallery's own",
        why="Azure refuses a name that is no region's. One of the regions of a gallery target has to be the gallery's "
        "own (documented); found where the same file makes the gallery.",
        fix="Write the name of a region: `az account list-locations` prints them; add the gallery's own.",
        bad=gallery('"targetRegions": [{ "name": "westeurop" }]'),
        good=gallery(_REGIONS),
    ),
    Rule(
        id="E79",
        level=Severity.ERROR,
        title="a target that cannot be written here",
        why="The file or folder that a VHD's uri names on this machine cannot be written, or the local cloud "
        "has something else under that name. Found by `plan` and `run`.",
        fix="As the message says.",
        bad=target('"type": "VHD", "runOutputName": "disk", "uri": "file:///proc/disk.vhd"'),
        good=target('"type": "VHD", "runOutputName": "disk", "uri": "out/disk.vhd"'),
    ),
)

"""Short ways to write examples: only what matters is in them."""

from __future__ import annotations

from aibemu.template.catalogue.model import Example
from aibemu.template.spec.versions import NEWEST

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/images"
GALLERY_IMAGE = f"{GROUP}/providers/Microsoft.Compute/galleries/gallery/images/web"
IMAGE = f"{GROUP}/providers/Microsoft.Compute/images/web"


def resource(text: str, version: str = NEWEST, system: str = "linux") -> Example:
    """Members of the resource itself."""
    return Example(text=f"{{ {text} }}", api_version=version, system=system)


def properties(text: str, version: str = NEWEST, system: str = "linux") -> Example:
    """Members of `properties`."""
    return resource(f'"properties": {{ {text} }}', version, system)


def step(text: str, version: str = NEWEST, system: str = "linux") -> Example:
    """One customizer."""
    return properties(f'"customize": [{{ {text} }}]', version, system)


def validator(text: str) -> Example:
    """One in-VM validator."""
    return properties(f'"validate": {{ "inVMValidations": [{{ {text} }}] }}')


def target(text: str, version: str = NEWEST) -> Example:
    """One distribute target."""
    return properties(f'"distribute": [{{ {text} }}]', version)


def gallery(text: str, version: str = NEWEST, image: str = GALLERY_IMAGE) -> Example:
    """A SharedImage target with more members."""
    more = f", {text}" if text else ""
    return target(f'"type": "SharedImage", "runOutputName": "gallery", "galleryImageId": "{image}"{more}', version)


def source(text: str, version: str = NEWEST) -> Example:
    """The source, whole."""
    return properties(
        f'"source": {{ "version": null, "publisher": null, "offer": null, "sku": null, {text} }}', version
    )


def whole(text: str) -> Example:
    """A file's whole text."""
    return Example(text=text, whole=True)

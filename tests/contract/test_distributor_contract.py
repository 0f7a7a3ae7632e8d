"""The built-in distributors against the contract that those of plugins pass."""

from __future__ import annotations

from aibemu.distributors import Distributor
from aibemu.distributors.managed_image import ManagedImageDistributor
from aibemu.distributors.shared_image import SharedImageDistributor
from aibemu.distributors.vhd import VhdDistributor
from aibemu.template.model import Target
from aibemu.testing.distributor import DistributorContract, Surroundings, make_target

GROUP = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Compute"


class TestVhd(DistributorContract):
    def new_distributor(self) -> Distributor:
        return VhdDistributor()

    def target(self, surroundings: Surroundings, name: str) -> Target:
        return make_target("VHD", name)


class TestVhdInAPlaceOfItsOwn(DistributorContract):
    def new_distributor(self) -> Distributor:
        return VhdDistributor()

    def target(self, surroundings: Surroundings, name: str) -> Target:
        return make_target("VHD", name, uri=f"../elsewhere/{name}.vhd")


class TestManagedImage(DistributorContract):
    def new_distributor(self) -> Distributor:
        return ManagedImageDistributor()

    def target(self, surroundings: Surroundings, name: str) -> Target:
        return make_target("ManagedImage", name, imageId=f"{GROUP}/images/{name}", location="eastus")


class TestSharedImage(DistributorContract):
    def new_distributor(self) -> Distributor:
        return SharedImageDistributor()

    def target(self, surroundings: Surroundings, name: str) -> Target:
        definition = f"{GROUP}/galleries/Gal/images/{name}"
        surroundings.tools.cloud.ensure_definition(definition, location="eastus", info=surroundings.finished.info)
        return make_target("SharedImage", name, galleryImageId=definition)

"""Names of Azure's regions: to tell a slip of the pen, not to refuse a region that is new."""

from __future__ import annotations

from aibemu.suggestions import closest

_PUBLIC = """australiacentral australiacentral2 australiaeast australiasoutheast austriaeast belgiumcentral brazilsouth
    brazilsoutheast brazilus canadacentral canadaeast centralindia centralus centraluseuap chilecentral
    denmarkeast eastasia eastus eastus2 eastus2euap eastus3 eastusstg finlandcentral francecentral francesouth
    germanynorth germanywestcentral greececentral indiasouthcentral indonesiacentral israelcentral italynorth
    japaneast japanwest jioindiacentral jioindiawest koreacentral koreasouth malaysiasouth malaysiawest
    mexicocentral newzealandnorth northcentralus northeastus northeurope northwestus norwayeast norwaywest
    polandcentral qatarcentral saudiarabiaeast southafricanorth southafricawest southcentralus
    southcentralusstg southeastasia southeastus southindia spaincentral swedencentral swedensouth
    switzerlandnorth switzerlandwest taiwannorth taiwannorthwest uaecentral uaenorth uksouth ukwest
    westcentralus westeurope westindia westus westus2 westus3"""
_OTHER_CLOUDS = """chinaeast chinaeast2 chinaeast3 chinanorth chinanorth2 chinanorth3 usdodcentral usdodeast
    usgovarizona usgoviowa usgovtexas usgovvirginia usnateast usnatwest usseceast ussecwest ussecwestcentral"""
REGIONS = frozenset((*_PUBLIC.split(), *_OTHER_CLOUDS.split()))


def normalised(text: str) -> str:
    """`West Europe` and `westeurope` are the same."""
    return text.replace(" ", "").casefold()


def meant(text: str) -> str | None:
    """The region that was meant by a name that is no region's, as far as one can tell."""
    name = normalised(text)
    # A new region often has the name of one that is there, with another number.
    if name in REGIONS or name.rstrip("0123456789") in REGIONS:
        return None
    return closest(name, sorted(REGIONS))

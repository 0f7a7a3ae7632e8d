"""The stable ids of all findings about a template, and what each stands for in a few words.

E and W ids are those of the preflight list (facts: service 7.2); J = not JSON, S = against the schema, T = what the
file is, P = plugins. The letter says what a finding usually is; the severity of a finding is its own (before api
version 2024-02-01 the service ignores much of what it refuses today).
"""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[str, str] = {
    "J01": "not JSON",
    "J02": "bad escape or character in a string",
    "J03": "a key that is there twice",
    "J04": "nested too deeply",
    "T01": "not an image template",
    "T02": "which image template is meant",
    "T03": "name taken from the file",
    "T04": "api version assumed",
    "T05": "api version unknown or refused",
    "S01": "wrong type",
    "S02": "missing field",
    "S03": "bad value",
    "S04": "read-only field",
    "P01": "customizer known to the service, not to this aibemu",
    "P02": "customizer known to this aibemu, not to the service",
    "E01": "unknown field, or wrong case",
    "W02": "field silently ignored, or wrong case",
    "E03": "unknown type",
    "E04": "newer than the api version",
    "W05": "what is meant for ARM, in a bare body",
    "E06": "template name",
    "E07": "identity",
    "E08": "unresolved placeholder or expression",
    "W09": "JSON that is not strict",
    "E10": "ISO source",
    "E11": "incomplete marketplace image",
    "E14": "`latest` with an old api version",
    "E20": "both or none of scriptUri and inline",
    "E21": "inline is not an array",
    "E22": "inline is empty",
    "E24": "runAsSystem without runElevated",
    "E26": "checksum is not 64 lower-case hex digits",
    "E30": "File destination that the build user cannot write",
    "E50": "runOutputName",
    "E51": "distributor without its place",
    "E52": "replicationRegions together with targetRegions",
    "E53": "storageAccountType without replicationRegions",
    "E55": "explicit version is not x.y.z",
    "E57": "versioning together with an explicit version",
    "E58": "major out of bounds",
    "E59": "replicaCount out of bounds",
    "E70": "buildTimeoutInMinutes out of bounds",
    "E71": "buildTimeoutInMinutes too short to run",
    "E73": "osDiskSizeGB smaller than the source",
    "E78": "stagingResourceGroup",
    "E79": "a target that cannot be written here",
    "E80": "customizer that cannot validate",
    "W81": "customize ignored with sourceValidationOnly",
}

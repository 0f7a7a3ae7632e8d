"""The API versions of Microsoft.VirtualMachineImages (facts: service 1.1). They sort as text."""

from __future__ import annotations

V2018_02 = "2018-02-01-preview"
V2019_02 = "2019-02-01-preview"
V2019_05 = "2019-05-01-preview"
V2020_02 = "2020-02-14"
V2021_10 = "2021-10-01"
V2022_02 = "2022-02-14"
V2022_07 = "2022-07-01"
V2023_07 = "2023-07-01"
V2024_02 = "2024-02-01"
V2025_10 = "2025-10-01"

VERSIONS = (V2018_02, V2019_02, V2019_05, V2020_02, V2021_10, V2022_02, V2022_07, V2023_07, V2024_02, V2025_10)
NEWEST = V2025_10
# Refused by the service since May 2020 when older.
OLDEST_ACCEPTED = V2019_05
# From here on unknown fields and wrong case are refused (facts: service 1.9).
STRICT_SINCE = V2024_02

"""Where Azure's platform is, seen from a guest: the same two addresses in every virtual network."""

from __future__ import annotations

from ipaddress import IPv4Address

IMDS = IPv4Address("169.254.169.254")
WIRE = IPv4Address("168.63.129.16")
HTTP_PORT = 80
PLUGIN_PORT = 32526  # HostGAPlugin
DEPOT_PORT = 32527  # not in Azure: aibemu.fabric.depot
DNS_PORT = 53

"""Time `aibemu validate`: whole processes, in turn with a bare Python, so that the ratios hold on a busy machine.

    .venv/bin/python -m tests.bench.bench_validate [--rounds 9] [--shared DIR]

Cases: a bare body, a deployment template with scripts (parsers, the shell's check and shellcheck included), and the
module of Azure Verified Modules (2,000 lines of compiled Bicep; only with ../shared, or --shared). Prints seconds and
ratios; asserts no time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.source import ROOT

OK = ROOT / "fixtures" / "templates" / "ok"
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/builder"
MODULE_VALUES = {
    "name": {"value": "img"},
    "imageSource": {
        "value": {
            "type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "latest"
        }
    },
    "distributions": {"value": [{"type": "ManagedImage", "imageName": "image"}]},
    "managedIdentities": {"value": {"userAssignedResourceIds": [IDENTITY]}},
}  # fmt: skip


def cases(shared: Path) -> dict[str, list[str]]:
    """Command lines by name; the first is what the others are compared with."""
    aibemu = [sys.executable, "-m", "aibemu"]
    found = {
        "bare python": [sys.executable, "-c", "pass"],
        "--version": [*aibemu, "--version"],
        "bare body": [*aibemu, "validate", str(OK / "bare.json")],
        "with scripts": [*aibemu, "validate", str(OK / "linux-quickstart.json")],
    }
    for module in (shared / "data" / "templates").glob("*image-template_main.json"):
        found["AVM module"] = [*aibemu, "validate", str(module), "--parameters", json.dumps(MODULE_VALUES)]
    return found


def seconds(command: Sequence[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    taken = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args()
    commands = cases(options.shared)
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(options.rounds + 1):
        for name, command in commands.items():
            taken = seconds(command)
            if number > 0:  # the first round warms caches up
                samples[name].append(taken)
    base = statistics.median(samples["bare python"])
    print(f"{'':14} {'min s':>8} {'median s':>9} {'max s':>8} {'ratio':>7}")
    for name, found in samples.items():
        median = statistics.median(found)
        print(f"{name:14} {min(found):8.3f} {median:9.3f} {max(found):8.3f} {median / base:7.1f}")


if __name__ == "__main__":
    main()

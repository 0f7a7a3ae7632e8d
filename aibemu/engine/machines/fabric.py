"""The process that is Azure's platform around one machine of a run: started, recorded before it exists."""

from __future__ import annotations

from aibemu.engine.services import Services
from aibemu.fabric.handle import Platform
from aibemu.fabric.serve import Bounds
from aibemu.fabric.vm import VirtualMachine
from aibemu.hypervisor import CONSOLE_FILE


def start_platform(services: Services, role: str, vm: VirtualMachine, secrets: frozenset[str]) -> Platform:
    """Start the platform of the run's machine `role`; it may not listen yet. secrets: never in its record."""
    return Platform.start(
        services.run.platform / role, vm, journal=services.run.platform_journal(role),
        offline=services.options.guest.offline, secrets=secrets, folder=services.options.template.folder,
        console=services.run.machines.resolve() / role / CONSOLE_FILE,
        bounds=Bounds(journal=services.settings.platform_log_limit, console=services.settings.console_limit),
    )  # fmt: skip

"""Data of other projects that tests compare with; each folder has a README that names its source and its licence."""

from __future__ import annotations

from pathlib import Path

_FIXTURES = Path(__file__).parents[1] / "fixtures"

# Microsoft's JSON Schema of each API version, named VERSION.json.
SCHEMAS = _FIXTURES / "schemas"
# Image templates that people published, as they wrote them.
TEMPLATES = _FIXTURES / "public-templates"
# Real deployments with what Azure's template engine predicts for them.
DEPLOYMENTS = _FIXTURES / "real-deployments" / "avm.tar.xz"
# Small deployments with what Azure's template engine says of them.
JUDGED_DEPLOYMENTS = _FIXTURES / "judged-deployments"
# What Packer's provisioners tell a Windows guest.
PACKER_WINDOWS = _FIXTURES / "packer-windows" / "steps.json"
# What a real PowerShell said of texts, recorded by this project.
POWERSHELL = _FIXTURES / "powershell"
# What the real Bicep compiler said of files, and what the engine predicts for files that people published.
BICEP = _FIXTURES / "bicep"

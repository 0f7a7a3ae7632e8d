"""Which tests `./test.sh --fast` leaves out."""

from __future__ import annotations

from pathlib import Path

_TESTS = Path(__file__).parent
# Files and folders whose tests are marked `slow`: thousands of examples, real servers, a real PowerShell. Together they
# take longer than all others; `./test.sh --fast` leaves them out.
SLOW = (
    "campaigns",
    "contract",
    "scenarios/cluster",
    "scenarios/test_cached_builds.py",
    "scenarios/test_damaged_home.py",
    "scenarios/test_foreign_text.py",
    "scenarios/test_plugins_page.py",
    "scenarios/test_retry.py",
    "scenarios/test_several.py",
    "scenarios/test_stuck_readers.py",
    "scenarios/windows",
    "unit/arm/evaluate/test_against_the_engine.py",
    "unit/arm/evaluate/test_judged_deployments.py",
    "unit/arm/evaluate/test_large_values.py",
    "unit/arm/evaluate/test_real_deployments.py",
    "unit/cli/test_start.py",
    "unit/communicators/winrm/test_winrm_faults.py",
    "unit/customizers/windows/test_powershell_texts.py",
    "unit/customizers/windows/test_recorded_wrappers.py",
    "unit/customizers/windows/test_steps_that_run.py",
    "unit/customizers/windows/test_task_script.py",
    "unit/customizers/windows/test_update_script.py",
    "unit/disks/test_hives.py",
    "unit/disks/test_ntfs.py",
    "unit/fabric/test_serve.py",
    "unit/guests",
    "unit/images/test_image_build.py",
    "unit/images/test_windows_images.py",
    "unit/submission/test_powershell_parser.py",
    "unit/systems/linux/test_restoring.py",
    "unit/systems/windows/test_first_boot_of_windows.py",
    "unit/systems/windows/test_first_disk.py",
    "unit/systems/windows/test_powered_off.py",
    "unit/systems/windows/test_windows_last_step.py",
    "unit/systems/windows/test_windows_sealing.py",
    "unit/template/scripts/test_powershell_tokens.py",
    "unit/template/test_json_schema.py",
    "unit/template/test_mutations.py",
    "unit/template/test_official_schemas.py",
    "unit/tools/test_rerun.py",
)


def is_slow(path: Path) -> bool:
    """path: a test file's."""
    return any(path.is_relative_to(_TESTS / name) for name in SLOW)

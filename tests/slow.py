"""Which tests `./test.sh --fast` leaves out."""

from __future__ import annotations

from pathlib import Path

_TESTS = Path(__file__).parent
# Files and folders whose tests are marked `slow`: thousands of examples, real servers, a real PowerShell. Together they
# take longer than all others; `./test.sh --fast` leaves them out, and does not even read them.
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
    "unit/arm/evaluate/test_public_bicep.py",
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
    "unit/images/test_azure_pull.py",
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

# Tests of other files that take above half a second each: nearly all of them prove a bound by much work.
SLOW_TESTS = frozenset(
    {
        "scenarios/test_one_door_for_secrets.py::test_a_secret_whose_name_is_misspelt",
        "scenarios/test_together.py::test_two_builds_at_once_take_different_versions",
        "unit/arm/evaluate/test_deployments.py::test_endless_work_ends",
        "unit/arm/expressions/test_secrets.py::test_does_not_tell_secrets_apart",
        "unit/cli/test_foreign_texts.py::test_no_verb_passes_commands_on",
        "unit/cli/test_main.py::test_any_text_can_be_shown_in_any_locale",
        "unit/cli/test_run_verbs.py::test_drivers",
        "unit/cli/test_validate.py::test_thousands_of_findings_in_one_long_line",
        "unit/communicators/test_lines.py::test_where_an_endless_line_is_cut_no_secret_becomes_two_halves",
        "unit/communicators/winrm/test_clixml.py::test_records_are_those_that_the_engine_reads",
        "unit/images/test_image_inspect.py::test_a_hostile_cloud_configuration_costs_nothing",
        "unit/layers/test_history.py::test_many_empty_lines_take_no_more_than_others",
        "unit/template/scripts/test_powershell_silent.py::test_a_script_that_means_harm_is_read_in_bounded_time",
        "unit/template/scripts/test_powershell_silent.py::test_returns_deep_in_blocks_take_no_time",
        "unit/template/scripts/test_script_rules.py::test_a_text_that_takes_the_parser_too_long_is_left_alone",
        "unit/template/test_loader.py::test_thousands_of_mistakes_are_no_hang",
        "unit/template/test_rules.py::test_thousands_of_files_are_looked_at_once_each",
        "unit/test_records.py::test_yaml_has_bounds",
        "unit/test_redact.py::test_a_secret_that_is_longer_than_what_is_looked_at",
        "unit/test_redact.py::test_a_text_made_to_be_slow",
        "unit/test_settings.py::test_a_file_full_of_values_is_refused_at_once",
        "unit/tools/test_stress.py::test_it_stops_at_the_first_failure_and_says_which_it_was",
    }
)


def is_slow(path: Path, test: str | None = None) -> bool:
    """path: a test file's, or a folder's; test: the function's name, or None to ask of the whole file."""
    if any(path.is_relative_to(_TESTS / name) for name in SLOW):
        return True
    return test is not None and f"{path.relative_to(_TESTS).as_posix()}::{test}" in SLOW_TESTS

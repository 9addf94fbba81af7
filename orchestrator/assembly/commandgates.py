"""The gates that run something: configured commands, and what the repository sets up itself."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.judgesettings import GateSettings
from orchestrator.ports import Gate


def gates_of_commands(settings: GateSettings, files: Mapping[str, bytes]) -> list[tuple[Gate, str]]:
    """Return the gates that run commands, each with its why; they share runs of one test suite.

    Args:
        settings: which ones are wanted.
        files: the settings files of the base commit, which say what the repository sets up.
    """
    from orchestrator.gates.checks import CheckGate, checks_of
    from orchestrator.gates.command import CommandGate
    from orchestrator.gates.coverage import CoverageGate, is_measured
    from orchestrator.gates.detect import DetectedTestsGate
    from orchestrator.gates.suites import Suites, TestCommand, reporter_of
    from orchestrator.gates.tests_changed import ChangedTestsGate

    suites = Suites()
    found: list[tuple[Gate, str]] = []
    for one in settings.commands:
        command = CommandGate(
            one.name,
            one.run,
            tests=one.tests,
            timeout_s=one.timeout_s,
            new_only=one.new_only,
            against_base=settings.against_base,
            suites=suites,
        )
        found.append((command, f"gates.commands: {one.run}"))
    tests = [one for one in settings.commands if one.tests]
    if settings.detect_tests and not tests:
        why = "gates.detect_tests is true, and no command of gates.commands runs tests"
        found.append((DetectedTestsGate(against_base=settings.against_base, suites=suites), why))
    commands = [TestCommand(one.run, one.timeout_s, reporter_of(one.run)) for one in tests]
    if settings.detect_checks:
        why = "gates.detect_checks is true, and the repository's base sets it up"
        taken = {one.name for one in settings.commands}
        checks = [CheckGate(one) for one in checks_of(files)]
        found += [(gate, why) for gate in checks if gate.name not in taken]
    if settings.changed_tests:
        changed = ChangedTestsGate(suites=suites, commands=commands)
        found.append((changed, "gates.changed_tests is true"))
    if settings.coverage and is_measured(files):
        coverage = CoverageGate(above=settings.coverage_above, commands=commands)
        found.append((coverage, "gates.coverage is true, and the repository's base measures it"))
    return found

"""The gates that read the change itself, as the settings ask for them."""

from __future__ import annotations

from orchestrator.judgesettings import GateSettings
from orchestrator.ports import Gate


def gates_of_changes(settings: GateSettings) -> list[tuple[Gate, str]]:
    """Return the gates that run no command but read what the commit changes, each with its why."""
    from orchestrator.gates.documented import DocsGate
    from orchestrator.gates.kept import KeptChecksGate
    from orchestrator.gates.migrations import MigrationsGate
    from orchestrator.gates.protected import ProtectedPathsGate
    from orchestrator.gates.secrets import SecretsGate
    from orchestrator.gates.size import SizeGate
    from orchestrator.gates.unfinished import UnfinishedGate

    waivers, size = settings.waivers, settings.size
    bounded = bool(size.lines or size.files or size.binary_kb)
    protected = ProtectedPathsGate(paths=settings.protected_paths, waivers=waivers)
    kept = KeptChecksGate(suppressions=settings.suppressions, waivers=waivers)
    asked: list[tuple[str, bool, Gate]] = [
        ("secrets", settings.secrets, SecretsGate(waivers=waivers)),
        ("protected", settings.protected, protected),
        ("size", bounded, SizeGate(settings.size, waivers=waivers)),
        ("unfinished", settings.unfinished, UnfinishedGate(waivers=waivers)),
        ("tests_kept", settings.tests_kept, kept),
        ("migrations", settings.migrations, MigrationsGate(waivers=waivers)),
        ("docs", settings.docs, DocsGate(waivers=waivers)),
    ]
    return [
        (gate, f"gates.{key} sets its bounds" if key == "size" else f"gates.{key} is true")
        for key, wanted, gate in asked
        if wanted
    ]

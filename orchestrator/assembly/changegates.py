"""The gates that read the change itself, as the settings ask for them."""

from __future__ import annotations

from orchestrator.ports import Gate
from orchestrator.settings import GateSettings


def gates_of_changes(settings: GateSettings) -> list[Gate]:
    """Return the gates that run no command: they read what the commit changes."""
    from orchestrator.gates.documented import DocsGate
    from orchestrator.gates.kept import KeptChecksGate
    from orchestrator.gates.migrations import MigrationsGate
    from orchestrator.gates.protected import ProtectedPathsGate
    from orchestrator.gates.secrets import SecretsGate
    from orchestrator.gates.size import SizeGate
    from orchestrator.gates.unfinished import UnfinishedGate

    waivers = settings.waivers
    asked: list[tuple[bool, Gate]] = [
        (settings.secrets, SecretsGate(waivers=waivers)),
        (settings.protected, ProtectedPathsGate(paths=settings.protected_paths, waivers=waivers)),
        (True, SizeGate(settings.size, waivers=waivers)),
        (settings.unfinished, UnfinishedGate(waivers=waivers)),
        (
            settings.tests_kept,
            KeptChecksGate(suppressions=settings.suppressions, waivers=waivers),
        ),
        (settings.migrations, MigrationsGate(waivers=waivers)),
        (settings.docs, DocsGate(waivers=waivers)),
    ]
    return [gate for wanted, gate in asked if wanted]

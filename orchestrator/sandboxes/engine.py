"""A container engine's command line: docker or podman, whichever answers."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path

import anyio

from orchestrator.errors import SandboxUnavailable
from orchestrator.records import Mount
from orchestrator.values import frozen

ENGINES = ("docker", "podman")
PREFIX = "orchestrate"
ANSWER_S = 20.0


@frozen
class Engine:
    """An engine's command line."""

    kind: str
    program: str
    environment: dict[str, str] = field(default_factory=dict)

    async def answers(self) -> str:
        """Return an empty text where the engine works, else what it says."""
        status, _, said = await self._ask("version")
        return "" if status == 0 else said

    async def require_image(self, image: str) -> None:
        """Raise SandboxUnavailable where the image is not on this machine."""
        status, _, said = await self._ask("image", "inspect", image)
        if status:
            raise SandboxUnavailable(
                f"container image {image}: {said or 'not there'}",
                hint=f"fetch it yourself: {self.kind} pull {image}",
            )

    async def remove_leftovers(self) -> None:
        """Remove containers whose owner was killed."""
        _, listed, _ = await self._ask(
            "ps", "--all", "--filter", f"name={PREFIX}-", "--format", "{{.Names}}"
        )
        for name in listed.split():
            parts = name.split("-")
            ours = len(parts) == 4 and parts[0] == PREFIX and parts[1].isdigit()
            if ours and started_at(int(parts[1])) != parts[2]:
                await self.remove(name)

    async def remove(self, name: str) -> None:
        """End a container, if it is still there, and remove it."""
        await self._ask("rm", "--force", name)

    def kill(self, name: str) -> None:
        """End a container at once; returns before it has ended."""
        argv = [self.program, "kill", name]
        null = subprocess.DEVNULL
        # Closed without waiting: `remove` waits for the same end.
        subprocess.Popen(
            ["/bin/sh", "-c", '"$@" &', "sh", *argv],
            env=self.environment, stdin=null, stdout=null, stderr=null, cwd="/",
        ).wait()  # fmt: skip

    def users(self) -> list[str]:
        """Return the flags by which files inside belong to who started it."""
        return ["--userns", "keep-id"] if self.kind == "podman" and os.geteuid() else []

    async def _ask(self, *arguments: str) -> tuple[int, str, str]:
        try:
            with anyio.fail_after(ANSWER_S):
                done = await anyio.run_process(
                    [self.program, *arguments], check=False, env=self.environment, cwd="/"
                )
        except TimeoutError:
            return 1, "", f"no answer within {ANSWER_S:g} s"
        except OSError as error:
            return 1, "", str(error.strerror)
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1] if lines else ""
        return done.returncode, done.stdout.decode("utf-8", "replace"), said


async def find_engine(wanted: Sequence[str], environment: Mapping[str, str]) -> Engine:
    """Return the first engine that answers.

    Raises:
        SandboxUnavailable: none does; the error tells what each of them says.
    """
    failures = []
    for kind in wanted:
        program = shutil.which(kind, path=environment.get("PATH", os.defpath))
        if program is None:
            failures.append(f"{kind} is not installed")
            continue
        engine = Engine(kind, program, engine_environment(environment))
        said = await engine.answers()
        if not said:
            return engine
        failures.append(f"{kind} does not answer: {said}")
    raise SandboxUnavailable(
        "; ".join(failures), hint="install docker or podman, start it, and be allowed to use it"
    )


def engine_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which an engine's command line finds its settings and its daemon."""
    names = ("PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    kept = {name: environment[name] for name in names if name in environment}
    return kept | {
        name: value
        for name, value in environment.items()
        if name.startswith(("DOCKER_", "CONTAINER_", "CONTAINERS_"))
    }


def bind(mount: Mount) -> str:
    """Return a mount as the command line takes it, whatever characters are in its paths."""
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    if not mount.writable:
        fields.append("readonly")
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(fields)
    return written.getvalue()


def started_at(pid: int) -> str:
    """Return when a process started, in the kernel's own count; empty where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return stat.rpartition(b")")[2].split()[19].decode("ascii")

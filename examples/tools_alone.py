"""Uses the sandboxed tools without an agent: over a folder, and over a private copy.

python examples/tools_alone.py REPOSITORY
"""

import asyncio
import sys

from orchestrator import open_toolbox, open_workspace

COMMAND = "ls; id -un; curl -s example.com || echo no network"


async def main(repository: str) -> None:
    """List a folder, then commit a change from a private copy."""
    async with open_toolbox(repository, tools=["Glob", "Bash"]) as toolbox:
        result = await toolbox.call("Bash", {"command": COMMAND})
        print(result.text)

    async with open_workspace(repository) as workspace:
        note = {"file_path": "NOTES.md", "content": "Written inside.\n"}
        await workspace.toolbox.call("Write", note)
        commit = await workspace.collect("refs/heads/notes", message="Add notes")
    print("branch notes is", commit)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""Starts the tool server; run inside the sandbox only."""

from orchestrator_tools.server import main

if __name__ == "__main__":
    main()

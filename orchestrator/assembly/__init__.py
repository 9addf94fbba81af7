"""From settings to a working runtime: the only rooms that name concrete adapters."""

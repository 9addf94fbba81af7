"""What talks to trackers and code hosts over HTTP: one client, its patience, its secrets."""

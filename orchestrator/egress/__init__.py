"""The one way out of a sandbox: named hosts, through a proxy that looks at every connection."""

"""Adapters of the Sandbox port."""

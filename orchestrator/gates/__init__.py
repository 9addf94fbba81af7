"""Adapters of the Gate port."""

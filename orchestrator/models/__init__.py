"""Adapters of the ModelClient port."""

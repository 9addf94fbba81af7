"""Nightly batches: many issues in one go, under one ceiling, resumable at any moment."""

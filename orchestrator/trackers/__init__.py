"""Adapters of the IssueTracker port."""

"""Adapters of code hosts: where pull requests are."""

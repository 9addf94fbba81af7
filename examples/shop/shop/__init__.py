"""Prices of a small shop, in cents."""

from shop.pricing import discounted

__all__ = ["discounted"]

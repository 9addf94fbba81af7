"""What a cart costs, in cents."""

DISCOUNT_FROM = 100_00


def discounted(amount):
    """Return the amount less ten percent, for carts from DISCOUNT_FROM upwards."""
    if amount > DISCOUNT_FROM:
        return amount - amount // 10
    return amount

import unittest

from shop.pricing import discounted


class Discount(unittest.TestCase):
    def test_small_carts_pay_the_full_price(self):
        self.assertEqual(discounted(99_99), 99_99)

    def test_large_carts_pay_ten_percent_less(self):
        self.assertEqual(discounted(200_00), 180_00)

    def test_the_discount_begins_at_the_boundary(self):
        self.assertEqual(discounted(100_00), 90_00)


if __name__ == "__main__":
    unittest.main()

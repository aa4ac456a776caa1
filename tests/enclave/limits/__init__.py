"""Budgets, rates and the nonce guard, without a node around them."""

"""What may be done over time: budgets, rates, and one transaction per EVM nonce (specs/budgets.md)."""

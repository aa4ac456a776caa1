"""Policy evaluation."""

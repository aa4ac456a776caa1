"""Tests of the ceremony engine and of what each kind of ceremony does to keys."""

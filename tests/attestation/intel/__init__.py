"""Intel quotes, TDX and SGX."""

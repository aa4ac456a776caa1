"""Can I trust this machine?  Verification of TEE evidence and proof of cloud: pure, offline, usable alone."""

__version__ = "0.1.0"

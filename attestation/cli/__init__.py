"""The auditor's command line: `attest`, one file per verb."""

from __future__ import annotations

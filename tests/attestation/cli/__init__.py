"""The auditor's command line."""

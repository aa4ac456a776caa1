"""Backups from an operator's side: custodians, where bundles are kept, what they cover, and the way back."""

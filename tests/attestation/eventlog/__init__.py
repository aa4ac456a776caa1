"""Event logs and their bindings."""

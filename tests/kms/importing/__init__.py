"""Import and export of keys: sources, nodes, gateway, files."""

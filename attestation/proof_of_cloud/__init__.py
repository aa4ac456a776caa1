"""Where does this machine stand?  Platform identifiers, signed statements about them, and the registry that keeps both."""

"""Where does this machine stand?  Platform ids, signed statements about them, and the registry keeping both."""

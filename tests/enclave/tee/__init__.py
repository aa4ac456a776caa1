"""Platform adapters against faithful stands-in of their kernel and socket interfaces."""

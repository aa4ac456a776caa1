"""Which code is this?  Release manifests: the measurements of a release, under its makers' signatures."""

"""Bundles: one archive with all that an index needs where there is no internet."""

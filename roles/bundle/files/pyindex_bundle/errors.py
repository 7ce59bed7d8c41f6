"""What can go wrong with a bundle."""

from __future__ import annotations


class BundleError(Exception):
    """Something that a person has to put right; the message says what, and where it can, how."""

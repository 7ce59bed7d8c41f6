"""What the readers of archives share: how they refuse one, what is too much, which names may be in it.

An archive is read once, from its start to its end, and piece by piece: what it takes is bounded by
the size of the file, whatever the file claims.
"""

from __future__ import annotations

import re
from typing import Final

CHUNK: Final = 2**18
MAX_METADATA_BYTES: Final = 8 * 2**20
MAX_MEMBERS: Final = 100_000
# What a compressed archive may grow to: a bomb reaches a thousandfold, text a tenfold
MAX_EXPANSION: Final = 200
MIN_EXPANDED_BYTES: Final = 64 * 2**20
MAX_GROWTH_BYTES: Final = 8 * 2**30

# From the root or a drive, or with a part that leads upwards; with the slashes of all systems
_ELSEWHERE: Final = re.compile(r"^[/\\]|^.:|(?:^|[/\\])\.\.(?:[/\\]|\Z)", re.DOTALL)
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


class ArchiveError(ValueError):
    """The archive is refused; the message goes on behind its name: ``has no ...``, ``is damaged ...``."""


def expanded_limit(size: int) -> int:
    """Return how many bytes an archive of *size* bytes may hold when it is unpacked."""
    return max(MIN_EXPANDED_BYTES, min(MAX_EXPANSION * size, size + MAX_GROWTH_BYTES))


def check_member(member: str) -> None:
    """Raise ArchiveError for a *member* that would be unpacked elsewhere than below the archive's folder."""
    if _ELSEWHERE.search(member):
        raise ArchiveError(f"has a member outside its own folder: {shorten(member)}")
    if _CONTROLS.search(member) or not member:
        raise ArchiveError(f"has a member whose name is empty or has control characters: {shorten(member)}")


def shorten(text: str, length: int = 120) -> str:
    """Return *text* quoted, printable ASCII on one line, at most about *length* characters."""
    return ascii(text if len(text) <= length else text[:length] + "...")

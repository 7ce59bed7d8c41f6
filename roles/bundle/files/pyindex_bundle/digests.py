"""Files by what is in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

_CHUNK: Final = 2**20


def of_text(text: str) -> str:
    """Return the SHA-256 of *text* as hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def of_stream(stream: IO[bytes]) -> str:
    """Return the SHA-256 of what *stream* still has."""
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """Return the SHA-256 of the file *path*."""
    with path.open("rb") as file:
        return of_stream(file)


def of_folder(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in *folder* by its name; nothing when there is no such folder."""
    return {path.name: of_file(path) for path in sorted(folder.glob("*"))}

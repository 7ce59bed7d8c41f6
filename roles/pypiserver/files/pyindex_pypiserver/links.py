"""Links in an archive: none leads out of its top folder, on no way, and nothing is unpacked through one.

What a link leads to depends on the links on its way, so none may be on it; and installers leave the
top folder out, so a link may not even pass by outside of it. Paths are compared as text: what is at
a link's place or below it would be written to wherever that leads, and is refused.
"""

from __future__ import annotations

from typing import Any, Final

from .archives import MAX_METADATA_BYTES, ArchiveError, shorten

# In a tree of names: here is a symbolic link. No name is empty
_LINK: Final = ""
# What a name in the tree takes, about
_NAME_BYTES: Final = 64


class Links:
    """The symbolic links of an archive, as they come."""

    def __init__(self) -> None:
        self._tree: dict[str, Any] = {}
        self._targets: list[tuple[str, str]] = []
        self._left = MAX_METADATA_BYTES

    def check_member(self, path: str) -> None:
        """Raise ArchiveError if the member *path* has the place of a link, or is below one."""
        if self._passes(_parts(path)):
            raise ArchiveError(f"has a member in the place of a link, or below one: {shorten(path)}")

    def add_symbolic(self, path: str, target: str) -> None:
        """Remember the symbolic link *path* to *target*; raise ArchiveError if it leads outside."""
        parts, way = _parts(path), _parts(target)
        depth = len(parts) - 1
        for part in way:
            depth += -1 if part == ".." else 1
            if depth < 1:
                raise _outside(path, target)
        if _is_absolute(target):
            raise _outside(path, target)
        self._left -= len(path) + len(target) + _NAME_BYTES * len(parts)
        if self._left < 0:
            raise ArchiveError("has too many or too long links")
        self._targets.append((path, target))
        node = self._tree
        for part in parts:
            node = node.setdefault(part, {})
        node[_LINK] = True

    def check_hard(self, path: str, target: str) -> None:
        """Raise ArchiveError if the hard link *path* to *target*, which begins at the top, leads outside or to a link."""
        parts = _parts(target)
        if _is_absolute(target) or ".." in parts or parts[:1] != _parts(path)[:1]:
            raise _outside(path, target)
        if self._passes(parts):
            raise _through(path, target)

    def finish(self) -> None:
        """Raise ArchiveError if a link leads through another one, whichever of them came first."""
        for path, target in self._targets:
            nodes = [self._tree]
            for part in [*_parts(path)[:-1], *_parts(target)]:
                if _LINK in nodes[-1]:
                    raise _through(path, target)
                if part == "..":
                    nodes.pop()
                else:
                    nodes.append(nodes[-1].get(part, {}))

    def _passes(self, parts: list[str]) -> bool:
        node = self._tree
        for part in parts:
            if part not in node:
                return False
            node = node[part]
            if _LINK in node:
                return True
        return False


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


def _is_absolute(target: str) -> bool:
    return target.startswith(("/", "\\"))


def _outside(path: str, target: str) -> ArchiveError:
    return ArchiveError(f"has a link that leads outside its own folder: {shorten(path)} to {shorten(target)}")


def _through(path: str, target: str) -> ArchiveError:
    return ArchiveError(f"has a link that leads through another one: {shorten(path)} to {shorten(target)}")

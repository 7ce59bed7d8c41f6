"""Publishing on an index by somebody who may, where the upload itself is not what is tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from .web import ask

if TYPE_CHECKING:
    from .distributions import Project
    from .indexes import Index, User


def publisher(index: Index) -> User | None:
    """Somebody who may upload to `index` and read from it; None where no login is asked for."""
    if index.protected and not index.uploader:
        pytest.skip(f"{index} has no user with the rights read and upload (htpasswd_users, devpi_users)")
    return index.uploader if index.protected else None


def publish(index: Index, *files: tuple[str, bytes]) -> None:
    """Publish files (name and content) from a host that uses the index."""
    user = publisher(index)
    answers = ask(index.vantages[0], index, [index.upload(user, *file) for file in files], parallel=4)
    assert {answer.status for answer in answers} == {200}, [str(answer) for answer in answers]


@dataclass
class Shelf:
    """Remembers what was published where."""

    _there: set[tuple[str, str, str]] = field(default_factory=set)

    def publish(self, index: Index, project: Project) -> None:
        """Publish a project's files unless they are there already."""
        self.put(index, project.name, project.version, [(path.name, path.read_bytes()) for path in project.files])

    def put(self, index: Index, name: str, version: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Publish a release's files unless it is there already."""
        key = (index.machine.name, name, version)
        if key not in self._there:
            publish(index, *files)
            self._there.add(key)

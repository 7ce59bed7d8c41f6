"""Which releases are withdrawn (PEP 592), and why: a small file for each project, beside its packages.

It lies with the packages, since nothing else can say it: a backup of the packages holds it too. As
a command it lists them: project, version and reason, one a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_version

from .disk import sync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from packaging.version import Version

FOLDER: Final = ".yanked"

_FILE_MODE: Final = 0o640
_SUFFIX: Final = ".json"


class Yanks:
    """The withdrawn releases below the packages folder *root*."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def of(self, project: str) -> dict[str, str]:
        """Return reasons ('' for none given) by version, in the form that ``key`` gives it.

        Raises ValueError for a file that does not say this.
        """
        try:
            content = json.loads(self._path(project).read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ValueError(f"{self._path(project)} is damaged ({error}): mend or remove it") from None
        if not isinstance(content, dict) or not all(isinstance(reason, str) for reason in content.values()):
            raise ValueError(f"{self._path(project)} is no object of versions and reasons: mend or remove it")
        return {key(version): one_line(reason) for version, reason in content.items()}

    def write(self, project: str, reasons: Mapping[str, str]) -> None:
        """Make *reasons* the withdrawn releases of *project*: on disk when it returns, all or nothing."""
        path = self._path(project)
        if not reasons:
            path.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                sync_folder(self.folder)
            return
        self.folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(self.folder.parent)
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(reasons, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_folder(self.folder)

    def projects(self) -> set[str]:
        """Return the projects that have withdrawn releases."""
        with contextlib.suppress(FileNotFoundError, PermissionError):
            return {path.name.removesuffix(_SUFFIX) for path in self.folder.glob(f"*{_SUFFIX}")}
        return set()

    def _path(self, project: str) -> Path:
        return self.folder / f"{project}{_SUFFIX}"


def key(version: Version | str) -> str:
    """Return *version* in the form that all spellings of it share."""
    return canonicalize_version(version)


def text(reasons: Mapping[str, str]) -> str:
    """Return *reasons* as one line that is equal for equal reasons."""
    return json.dumps(reasons, sort_keys=True) if reasons else ""


def one_line(reason: str) -> str:
    """Return *reason* as UTF-8 can hold it, on one line."""
    return " ".join(reason.split()).encode("utf-8", "replace").decode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. 1: what is withdrawn of a project cannot be read."""
    # It needs this module itself
    from .reconcile import parser_for, store_for

    withdrawn = store_for(parser_for("yanks", __doc__).parse_args(arguments)).publisher.yanks
    status = 0
    for project in sorted(withdrawn.projects()):
        try:
            for version, reason in withdrawn.of(project).items():
                print(project, version, reason or "(no reason given)")
        except (ValueError, OSError) as error:
            print(f"yanks: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())

"""Withdraws a release (PEP 592): installers take it only where it is asked for by its exact version.

Its files stay. The reason is shown to those who install it. ``unyank`` takes the withdrawal back.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from . import yanks
from .archives import shorten
from .reconcile import parser_for, store_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .publishing import Publisher


class UnknownReleaseError(ValueError):
    """There is no such release, or it is in no state that could be changed; the message says which."""


def yank(publisher: Publisher, project: str, version: str, reason: str | None) -> bool:
    """Withdraw a release for *reason* ('' for none given), or with None take that back; return whether it changed.

    When it returns, the pages say so. Raises UnknownReleaseError; ValueError when the file with the
    project's withdrawn releases is damaged.
    """
    normalised = canonicalize_name(project)
    try:
        key = yanks.key(Version(version))
    except InvalidVersion:
        raise UnknownReleaseError(f"{shorten(version)} is no version") from None
    with publisher.edit(normalised) as edit:
        reasons = publisher.yanks.of(normalised)
        there = any(yanks.key(record.version) == key for record in edit.published)
        if not there and not (reason is None and key in reasons):
            raise UnknownReleaseError(f"there is no release {shorten(version)} of {shorten(project)} in this index")
        wanted = {**reasons, key: yanks.one_line(reason or "")}
        if reason is None:
            del wanted[key]
        if wanted == reasons:
            return False
        publisher.yanks.write(normalised, wanted)
        edit.commit()
    return True


def main(arguments: Sequence[str] | None = None, *, verb: str = "yank") -> int:
    """Run the command. 1: there is no such release."""
    parser = parser_for(verb, __doc__)
    parser.add_argument("project")
    parser.add_argument("version")
    if verb == "yank":
        parser.add_argument("reason", nargs="?", default="", help="why, for those who install it")
    options = parser.parse_args(arguments)
    try:
        changed = yank(store_for(options).publisher, options.project, options.version, getattr(options, "reason", None))
    except (ValueError, OSError) as error:
        print(f"{verb}: {error}", file=sys.stderr)
        return 1
    state = "withdrawn" if verb == "yank" else "not withdrawn"
    print(f"{options.project} {options.version} is {state}{'' if changed else ', as it was before'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

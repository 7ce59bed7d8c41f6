"""Takes the withdrawal of a release back; see ``yank``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import yank

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. 1: there is no such release."""
    return yank.main(arguments, verb="unyank")


if __name__ == "__main__":
    sys.exit(main())

"""Takes the withdrawal of a release back; see ``yank``."""

from __future__ import annotations

import sys

from . import yank

if __name__ == "__main__":
    sys.exit(yank.main(verb="unyank"))

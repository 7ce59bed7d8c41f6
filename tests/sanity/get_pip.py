"""Install the pip that ansible-test wants, from the index that this machine is configured to use.

ansible-test downloads a bootstrap script from the internet when it finds none in its cache; run.py puts
this file there instead. It is run in an empty virtual environment with the arguments of the real one, and
lets the pip of the repository's own environment, which run.py puts first in PATH, do the work.
"""

from __future__ import annotations

import subprocess
import sys

NOT_FOR_PIP = {"--no-setuptools", "--no-wheel"}


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument not in NOT_FOR_PIP]
    return subprocess.call(["pip", "--python", sys.executable, "install", *arguments])


if __name__ == "__main__":
    sys.exit(main())

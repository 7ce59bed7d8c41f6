"""Makes the data of a new devpi-server in a folder of its own: root with a password, and the first index.

Reads the arguments of ``initialise`` as JSON from standard input: everyone on a host can read command lines.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

import devpi_server.main
from devpi_server.auth import hash_password
from devpi_server.init import init


def initialise(
    folder: str, root_password: str, storage: object, mirror: Mapping[str, object], *, root_pypi: bool
) -> int:
    """Make the data in *folder*; return 0, or what devpi-init returns when it cannot.

    *storage* is devpi-server's option of that name, *mirror* what root/pypi has in place of devpi's own
    settings.
    """
    # From its first moment: as soon as it runs, devpi-server asks a mirror for the list of all its projects
    devpi_server.main._pypi_ixconfig_default.update(mirror)
    # Nobody else needs to read the database
    os.umask(0o077)
    arguments = ["devpi-init", "--configfile", os.devnull, "--role", "primary", "--serverdir", folder]
    arguments += ["--storage", storage_argument(storage), "--root-passwd-hash", hash_password(root_password)]
    if not root_pypi:
        arguments.append("--no-root-pypi")
    return int(init(argv=arguments))


def storage_argument(storage: object) -> str:
    """Return the option ``storage`` of the file as the command line has it: NAME:KEY=VALUE,..."""
    if not isinstance(storage, Mapping):
        return str(storage)
    settings = ",".join(f"{key}={value}" for key, value in storage.items() if key != "name")
    return f"{storage['name']}:{settings}" if settings else str(storage["name"])


if __name__ == "__main__":
    sys.exit(initialise(**json.load(sys.stdin)))

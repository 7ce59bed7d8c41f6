"""What removes the lab waits for hosts that are being removed already."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.repository import ROOT

# Stands for an engine with one host, which is gone after so many requests to remove it
DOCKER = """#!/bin/sh
case $1 in
    ps) [ ! -e "$FOLDER/host" ] || echo pyindex-1-default-index1 ;;
    rm)
        echo . >>"$FOLDER/asked"
        [ "$(wc -l <"$FOLDER/asked")" -lt "$REQUESTS" ] || { rm "$FOLDER/host"; exit; }
        echo "removal of container pyindex-1-default-index1 is already in progress" >&2
        exit 1
        ;;
esac
"""


@pytest.mark.parametrize("requests", [1, 3])
def test_a_host_that_is_being_removed_is_waited_for(tmp_path: Path, requests: int) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "molecule" / "shared", checkout / "molecule" / "shared")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, program in (("docker", DOCKER), ("sleep", "#!/bin/sh\n")):
        (programs / name).write_text(program)
        (programs / name).chmod(0o755)
    (tmp_path / "host").touch()
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "FOLDER": str(tmp_path),
        "REQUESTS": str(requests),
    }
    done = subprocess.run(
        ["sh", checkout / "molecule/shared/down", "tests"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "host").exists()
    assert len((tmp_path / "asked").read_text().split()) == requests

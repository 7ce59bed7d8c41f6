"""Runs on a host of the fleet, read from standard input: looks for secrets where none may be.

Python >= 3.9 and its standard library only. What it returns names places, never a secret.
"""

from __future__ import annotations

import base64
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

CHUNK = 2**22
OVERLAP = 4096


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Look for ``secrets`` (pairs of a login, or '', and a password) for at most ``seconds``: in the process list for
    ``watch_seconds``, in the journal, in the files below ``folders`` but not below ``skipped``. Returns ``processes``
    and ``journal`` (descriptions of hits), ``files`` (path, mode, owner of each hit), ``searched`` (files) and
    ``complete`` (whether time was enough)."""
    end = time.monotonic() + job["seconds"]
    pattern = _pattern(job["secrets"])
    processes = _processes(pattern, time.monotonic() + job["watch_seconds"])
    journal = _journal(pattern, end) if job["folders"] else []
    files, searched = [], 0
    for path in _files(job["folders"], set(job["skipped"]), end):
        searched += 1
        if _holds(path, pattern):
            status = path.lstat()
            files.append({"path": str(path), "mode": stat.S_IMODE(status.st_mode), "owner": status.st_uid})
    return {
        "processes": processes,
        "journal": journal,
        "files": files,
        "searched": searched,
        "complete": time.monotonic() < end,
    }


def _pattern(secrets: list[list[str]]) -> re.Pattern[bytes]:
    forms = set()
    for login, password in secrets:
        forms |= {password, quote(password, safe="")}
        if login:
            # As it stands in an Authorization header, without the end that depends on what follows
            forms.add(base64.b64encode(f"{login}:{password}".encode()).decode().rstrip("="))
    return re.compile(b"|".join(re.escape(form.encode()) for form in sorted(forms)))


def _processes(pattern: re.Pattern[bytes], end: float) -> list[str]:
    found = set()
    while True:
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    data = (process / name).read_bytes()
                except OSError:
                    continue
                if pattern.search(data):
                    program = (process / "comm").read_text().strip() if process.exists() else "?"
                    found.add(f"{name} of {program}")
        if time.monotonic() >= end:
            return sorted(found)
        time.sleep(0.01)


def _journal(pattern: re.Pattern[bytes], end: float) -> list[str]:
    # `export` has all fields, the command lines of the senders among them
    command = ["journalctl", "--no-pager", "--quiet", "--output=export", "--since=-2d"]
    try:
        reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return []
    found = []
    with reader:
        assert reader.stdout
        tail = b""
        while time.monotonic() < end:
            chunk = reader.stdout.read(CHUNK)
            if not chunk:
                break
            if pattern.search(tail + chunk):
                found.append("journal of the last two days")
                break
            tail = chunk[-OVERLAP:]
        reader.kill()
    return found


def _files(folders: list[str], skipped: set[str], end: float) -> Iterator[Path]:
    seen = set()
    for start in folders:
        for folder, below, names in os.walk(start):
            below[:] = [name for name in below if f"{folder}/{name}" not in skipped]
            for name in names:
                if time.monotonic() > end:
                    return
                path = Path(folder, name)
                try:
                    status = path.lstat()
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    yield path


def _holds(path: Path, pattern: re.Pattern[bytes]) -> bool:
    try:
        with path.open("rb") as file:
            tail = b""
            while True:
                chunk = file.read(CHUNK)
                if not chunk:
                    return False
                if pattern.search(tail + chunk):
                    return True
                tail = chunk[-OVERLAP:]
    except OSError:
        return False

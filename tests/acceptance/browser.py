"""A browser as a client: Debian's Chromium, driven by Playwright. It trusts the fleet's CA as a person's browser is
made to, and finds the index by its name; nothing is ignored."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from .indexes import Index


def chromium() -> str:
    """Where the browser is. Skips the test where it is missing (tests/acceptance_prepare.sh installs it)."""
    for program in ("chromium", "certutil"):
        if not shutil.which(program):
            pytest.skip(f"the controller has no {program}: run tests/acceptance_prepare.sh")
    return str(shutil.which("chromium"))


def trust(home: Path, authorities: Sequence[str]) -> None:
    """Have the browser of that home directory trust CA certificates (PEM), besides those that it comes with."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    database = ("-d", f"sql:{store}")
    subprocess.run(["certutil", *database, "-N", "--empty-password"], check=True, capture_output=True)
    for number, authority in enumerate(authorities):
        command = ["certutil", *database, "-A", "-n", f"fleet {number}", "-t", "C,,", "-a"]
        subprocess.run(command, input=authority, text=True, check=True, capture_output=True)


@contextmanager
def started(indexes: Sequence[Index]) -> Iterator[Browser]:
    """A browser that knows the names and the CAs of `indexes`."""
    program = chromium()
    with tempfile.TemporaryDirectory(prefix="pyindex-browser-") as home, sync_playwright() as playwright:
        trust(Path(home), sorted({index.authority for index in indexes if index.authority}))
        rules = ",".join(f"MAP {index.server_name} {index.address}" for index in indexes)
        options = [f"--host-resolver-rules={rules}", "--no-proxy-server"]
        # Chromium's own sandbox needs a user who is not root
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        environment: dict[str, str | float | bool] = {**os.environ, "HOME": home}
        browser = playwright.chromium.launch(executable_path=program, args=options, env=environment)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def window(browser: Browser) -> Iterator[Page]:
    """A window without any history."""
    context = browser.new_context()
    context.set_default_timeout(20_000)
    try:
        yield context.new_page()
    finally:
        context.close()

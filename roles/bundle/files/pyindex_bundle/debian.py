"""Debian packages with all they depend on, as a repository that apt reads from a folder.

apt itself resolves and downloads, from the package sources of the controller (or those that are
given), as if for a system that has nothing yet: what comes along suffices for every host of a suite.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from .errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
SOURCES: Final = Path("/etc/apt")

_SETTINGS: Final = """\
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Debug::NoLocking "true";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "{work}/none";
Dir::Etc::sourcelist "-";
Dir::Etc::sourceparts "{work}/sources.list.d";
Dir::State "{work}";
Dir::State::status "{work}/status";
Dir::Cache "{work}";
Dir::Cache::archives "{work}/none";
"""


def controller_sources(suite: str, folder: Path = SOURCES, release: Path = Path("/etc/os-release")) -> dict[str, str]:
    """Return the package sources of this machine, files by name, with *suite* in place of its own.

    Raises BundleError when it has none.
    """
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    own = re.search(r"^VERSION_CODENAME=(\w+)$", text, flags=re.MULTILINE)
    paths = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found = {
        path.name: path.read_text(encoding="utf-8")
        for path in paths
        if path.suffix in {".list", ".sources"} and path.is_file()
    }
    if not own or not any(content.strip() for content in found.values()):
        raise BundleError(
            f"this controller has no package sources of Debian for {suite}: build the bundle on a Debian system, "
            "give it bundle_apt_sources, or set bundle_packages to [] where the hosts have the packages already."
        )
    return {name: re.sub(rf"\b{own[1]}\b", suite, content) for name, content in found.items()}


def collect(names: Sequence[str], machine: str, sources: dict[str, str], work: Path, folder: Path) -> None:
    """Make *folder* a repository of the packages *names* for *machine*, with all they depend on.

    *sources* says where from, files of apt's by their name;
    *work* is apt's own folder; what it has already is not downloaded again. Raises BundleError.
    """
    if machine not in ARCHITECTURES:
        raise BundleError(f"no Debian packages are known for the machine {machine}")
    for name in ("lists/partial", "archives", "none/partial", "sources.list.d"):
        (work / name).mkdir(parents=True, exist_ok=True)
    for old in (work / "sources.list.d").iterdir():
        old.unlink()
    for name, content in sources.items():
        path = work / "sources.list.d" / name
        # A login may be in it
        path.touch(0o600)
        path.write_text(content, encoding="utf-8")
    (work / "status").touch()
    settings = work / "apt.conf"
    settings.write_text(_SETTINGS.format(architecture=ARCHITECTURES[machine], work=work), encoding="utf-8")
    _run(["apt-get", "--quiet", "update", "--error-on=any"], settings)
    plan = _run(["apt-get", "install", "--print-uris", "--yes", *names], settings)
    files = re.findall(r"^'[^']+' (\S+\.deb) \d+", plan, flags=re.MULTILINE)
    _run(["apt-get", "download", "--quiet", *map(_version, files)], settings, work / "archives")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in files:
        os.link(work / "archives" / name, folder / name)
    (folder / "Packages").write_text(_index(folder, settings), encoding="utf-8")


def _version(file: str) -> str:
    """Return what apt calls the package in *file*, NAME_VERSION_ARCHITECTURE.deb."""
    name, version, architecture = unquote(file).removesuffix(".deb").split("_")
    return f"{name}={version}" if architecture == "all" else f"{name}:{architecture}={version}"


def _index(folder: Path, settings: Path) -> str:
    """Return the index of the packages in *folder*, made by whichever of Debian's two programs is there."""
    if shutil.which("apt-ftparchive"):
        return _run(["apt-ftparchive", "packages", "."], settings, folder)
    if shutil.which("dpkg-scanpackages"):
        return _run(["dpkg-scanpackages", "--multiversion", "."], settings, folder)
    raise BundleError("Debian packages need apt-ftparchive (package apt-utils) or dpkg-scanpackages (dpkg-dev) here")


def _run(command: list[str], settings: Path, folder: Path | None = None) -> str:
    environment = {**os.environ, "APT_CONFIG": str(settings), "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", " ", "W:"))] or ["it failed"]
        said = re.sub(r"//[^/@\s]*@", "//********@", " ".join(" ".join(lines).split()))
        raise BundleError(f"{command[0]}: {said[:1000]}")
    return done.stdout

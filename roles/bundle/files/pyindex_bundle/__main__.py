"""What the playbooks call. Each command reads JSON from standard input and writes JSON to standard output.

``plan`` names the sets of a bundle, ``collect SET`` gathers one of them, ``write`` makes the archive.
``check`` says what is wrong with an archive for a host, ``part`` writes what one host needs of it, and
``extract`` unpacks a seed.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import archive, debian, digests, needs
from .collect import Wanted, Work
from .description import Host, host, target_of
from .errors import BundleError
from .targets import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTROLLER = "controller"


class Build:
    """The making of the bundle that *description* asks for."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        self.hosts = [host(data) for data in description["hosts"]]
        self.work = Work(Path(description["work"]))
        self.controller_lock: str = description.get("controller_lock", "")
        self.refresh = bool(description.get("refresh"))

    def sets(self) -> dict[str, list[Host]]:
        """Return the folders of the bundle, each with the hosts that it is for."""
        found: dict[str, list[Host]] = {}
        for item in self.hosts:
            found.setdefault(item.wheels_set, []).append(item)
            if item.seed_requirements:
                found.setdefault(item.seed_set, []).append(item)
            if item.packages and item.suite:
                found.setdefault(item.packages_set, []).append(item)
        return {name: found[name] for name in sorted(found)} | ({CONTROLLER: []} if self.controller_lock else {})

    def collect(self, name: str) -> dict[str, Any]:
        """Gather the set *name*; return what the manifest says of it."""
        hosts = self.sets()[name]
        if name == CONTROLLER:
            declared = self.description.get("controller")
            target = target_of(declared) if declared else this_machine()
            content = self.work.wheels(name, [Wanted((self.controller_lock,), target)])
        elif name.startswith("seed/"):
            content = self.work.seed(hosts[0], refresh=self.refresh)
        elif name.startswith("packages/"):
            suite = hosts[0].suite
            given = self.description.get("apt_sources", {}).get(suite)
            sources = {"bundle.sources": given} if given else debian.controller_sources(suite)
            names = sorted({package for item in hosts for package in item.packages})
            content = self.work.packages(hosts[0], names, sources, refresh=self.refresh)
        else:
            wanted = {Wanted(tuple(item.locks), item.target, tuple(item.sources)) for item in hosts}
            content = self.work.wheels(name, sorted(wanted, key=lambda item: (item.target, item.locks)))
        note = self._note(name)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(content), encoding="utf-8")
        return content

    def _note(self, name: str) -> Path:
        return self.work.root / "sets" / f"{name.replace('/', '-')}.json"

    def write(self, output: Path) -> dict[str, Any]:
        """Make the archive *output* of all sets; return what it is."""
        names = list(self.sets())
        self.work.forget(names)
        sets = {name: json.loads(self._note(name).read_text(encoding="utf-8")) for name in names}
        manifest = archive.describe(self.work.tree, sets)
        changed = archive.write(self.work.tree, manifest, output)
        return {
            "changed": changed,
            "files": len(manifest.files),
            "megabytes": -(-output.stat().st_size // 10**6),
            "manifest_sha256": digests.of_text(manifest.text()),
        }


def this_machine() -> Target:
    """Return what this program runs on."""
    return Target(platform.python_version(), platform.libc_ver()[1], platform.machine())


def build(command: str, name: str, description: dict[str, Any]) -> Any:
    """Run a command that makes a bundle."""
    work = Path(description["work"])
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        making = Build(description)
        if command == "plan":
            return list(making.sets())
        return making.collect(name) if command == "collect" else making.write(Path(name))


def use(command: str, output: str, description: dict[str, Any]) -> Any:
    """Run a command that reads the bundle *description* names, for one host."""
    path = Path(description["bundle"])
    item = host(description["host"])
    if command == "part":
        archive.part(path, item.folders(), Path(output))
        return {}
    if command == "extract":
        return {"changed": archive.extract(path, [item.seed_set], Path(output))}
    if not path.is_file():
        raise BundleError(f"there is no bundle {path} on the controller: make it with playbooks/build_bundle.yml")
    manifest = archive.verify(path)
    found_digest, wanted = digests.of_text(manifest.text()), description.get("sha256")
    if wanted and wanted != found_digest:
        raise BundleError(
            f"{path} is another bundle than index_bundle_sha256 says: the SHA-256 of its manifest is {found_digest}, and "
            f"has to be {wanted}. Copy the right one, or set what building it has printed."
        )
    found = list(needs.problems(manifest, item))
    if found:
        raise BundleError(f"{path} does not fit: {'; '.join(found)}. Make it anew with playbooks/build_bundle.yml.")
    return {
        "digest": digests.of_text(json.dumps(manifest.below(item.folders()), sort_keys=True))[:16],
        "has_packages": item.packages_set in manifest.sets,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what is wrong is the only line on standard error."""
    parser = argparse.ArgumentParser(prog="pyindex_bundle", description=__doc__)
    parser.add_argument("command", choices=("plan", "collect", "write", "check", "part", "extract"))
    parser.add_argument("name", nargs="?", default="", help="collect: the set; write, part and extract: where to")
    options = parser.parse_args(arguments)
    run = build if options.command in {"plan", "collect", "write"} else use
    try:
        print(json.dumps(run(options.command, options.name, json.load(sys.stdin))))
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}" if error.filename else error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measure on this host: python3 -m host CONFIG.json RESULT.json (as root; the bench's playbook calls it)."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from . import prepare, services
from .bench import FULL, QUICK, Bench, FigureError
from .clients import ClientError, basic
from .dataset import Dataset
from .measure import Book
from .prepare import Devpi, Folder, Places, PrepareError
from .reading import asks, wait_for
from .schedule import WORKS, measure
from .targets import DEVPI_INDEX, DEVPI_SCRATCH, LIMIT, Filling, Target, deployed_devpi, deployed_pypiserver, peers

NGINX = Path("/etc/nginx")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Run:
    """One run on this host."""

    def __init__(self, config: dict[str, Any], result: Path) -> None:
        self.config = config
        self.result = result
        self.started, self.load_average = time.time(), os.getloadavg()[0]
        self.limits = QUICK if config["quick"] else FULL
        if config.get("sizes"):
            self.limits = replace(self.limits, sizes=tuple(sorted(config["sizes"])))
        self.places = Places(Path(config["folder"]))
        self.places.make()
        self.authority = self.places.scratch / "ca.crt"
        self.authority.write_text(config["authority"])
        self.book = Book()
        self.works = [work for work in WORKS if not config["works"] or work.name in config["works"]]
        self.few = min(self.limits.sizes)
        self.devpi_password = ""
        self.targets: list[Target] = []
        self.known_versions: dict[str, str] = {}
        self.values: dict[str, str] = {}

    def prepare(self) -> None:
        """Bring everything onto the host."""
        prepare.account()
        self.targets = [target for target in self._all() if self._wanted(target)]
        for name in sorted({"clients", *(target.requirements for target in self.targets if target.requirements)}):
            prepare.environment(self.places, name)
        say("environments are there")
        prepare.packages(self.places)
        if any(target.requirements == "devpi" for target in self.targets):
            self.devpi_password = prepare.devpi(self.places)
            # Now that the password is known
            self.targets = [target for target in self._all() if self._wanted(target)]
        self.known_versions = self.versions()
        crt, key = prepare.certificate(NGINX)
        self.values = {
            "state": str(self.places.state),
            "venvs": str(self.places.venvs),
            "tls": prepare.tls_policy(NGINX),
            "certificate": crt,
            "certificate_key": key,
            "server_name": self.config["server_name"],
            "htpasswd": self.config["pypiserver"]["readers_file"] if self.config["pypiserver"] else "",
            "account": services.ACCOUNT,
        }

    def _all(self) -> list[Target]:
        pypiserver, devpi = self.config["pypiserver"], self.config["devpi"]
        reader = basic(**pypiserver["reader"]) if pypiserver else {}
        writer = basic(**pypiserver["uploader"]) if pypiserver else {}
        found = peers(self.config["server_name"], reader, writer, basic("root", self.devpi_password), self.few)
        if pypiserver:
            found.insert(1, deployed_pypiserver(pypiserver["install_url"], pypiserver["upload_url"], reader, writer))
        if devpi:
            found.insert(1, deployed_devpi(devpi["url"], basic("root", devpi["root_password"]), self.few))
        return found

    def _wanted(self, target: Target) -> bool:
        return target.key in self.config["targets"]

    def folder(self) -> Folder:
        """Return the packages folder of the deployed pypiserver."""
        packages = Path(self.config["pypiserver"]["packages"])
        return Folder(packages, self.places.root / "published.txt", self.config["publish"])

    def fill(self, bench: Bench, target: Target) -> None:
        """Give a server that does not serve the data's folder the files."""
        if target.filling is Filling.LINKS:
            self.folder().fill(bench.data)
        elif target.filling is Filling.UPLOADS:
            password = self.config["devpi"]["root_password"] if target.deployed else self.devpi_password
            self._patient_devpi(target, password).fill(bench.data)

    def _patient_devpi(self, target: Target, password: str) -> Devpi:
        """Log in at a devpi that may just be starting."""
        end = time.monotonic() + 300
        while True:
            try:
                return Devpi(target, self.authority, "root", password)
            except (ClientError, PrepareError):
                ended = [service.unit for service in target.services if not services.active(service.unit)]
                if ended:
                    raise PrepareError(f"{ended[0]} has ended: {services.words(ended[0])}") from None
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def _counts(self) -> list[int]:
        """Return the numbers of files that somebody besides the limit takes."""
        others = [target for target in self.targets if target.key != LIMIT] or self.targets
        return [count for count in self.limits.sizes if any(target.takes(count) for target in others)]

    def make(self) -> None:
        """Make and upload what takes long, so that it is there when measuring begins."""
        for count in self._counts():
            Dataset(self.places.data, count).make(self.places.packages)
            say(f"{count} files are made")
        if any(target.filling is Filling.UPLOADS for target in self.targets):
            self._serve(self._bench(self.few))
        prepare.stop(self.targets)

    def _bench(self, count: int, began: float = 0) -> Bench:
        return Bench(
            limits=self.limits,
            data=Dataset(self.places.data, count),
            folder=self.places.root,
            authority=self.authority,
            scratch=self.places.scratch,
            venvs=self.places.venvs,
            began=began,
        )

    def measure(self) -> None:
        """Do all the work, number of files by number of files."""
        began = time.monotonic()
        for count in self._counts():
            bench = self._bench(count, began)
            ready = self._serve(bench)
            self.tell(f"{count} files are served by {', '.join(target.key for target in ready)}")
            measure(bench, ready, self.works, self.book, self.tell)

    def _serve(self, bench: Bench) -> list[Target]:
        """Make the targets serve the data; return those that do."""
        too_many = {target.key: target.too_many for target in self.targets if not target.takes(bench.data.count)}
        failed = dict(too_many)
        now = [target for target in self.targets if target.key not in failed]
        failed |= prepare.start(bench, now, self.values)
        # Those with files of their own are filled at once. Two that share a server take turns: the second has nothing to do
        servers: dict[str, list[Target]] = {}
        for target in now:
            if target.filling is not Filling.FOLDER:
                servers.setdefault(target.deployed or target.services[0].unit, []).append(target)
        with ThreadPoolExecutor() as pool:
            for found in pool.map(partial(self._fill_server, bench), servers.values()):
                failed |= found
        os.sync()
        for key, reason in failed.items():
            say(f"{key} is not measured with {bench.data.count} files: {reason}")
            for work in self.works:
                if work.takes(bench.data.count, self.limits.sizes):
                    self.book.skip(key, work.name, bench.data.count, reason, failed=key not in too_many)
        ready = [target for target in now if target.key not in failed]
        # One that starts again and again, or is idle, would take the others' time
        busy = {service.unit for target in ready for service in target.services}
        services.stop({service.unit for target in self.targets for service in target.services} - busy)
        return ready

    def _fill_server(self, bench: Bench, targets: Sequence[Target]) -> dict[str, str]:
        """Fill the targets of one server and wait until it serves the data; return why some do not."""
        failed = {}
        some = bench.data.sample()
        for target in targets:
            try:
                self.fill(bench, target)
                wait_for(bench, target, [*some[:: max(1, len(some) // 20)], bench.data.last()], bench.patience)
                if target.deployed and not asks(bench, target):
                    failed[target.key] = (
                        "everybody may read it: have it ask for a password, as what is to be reached does"
                    )
            except (PrepareError, ClientError, FigureError) as error:
                failed[target.key] = f"it did not serve the data: {error}"
            # What it still does with the files is no part of what is measured next
            services.settle(bench.units(target), bench.patience)
            say(f"{bench.data.count} files are in {target.key}")
        return failed

    def tell(self, text: str) -> None:
        """Say what is done or begins, and keep what was measured."""
        say(f"{time.time() - self.started:5.0f} s  {text}")
        self.save("it was ended before its time")

    def save(self, error: str = "") -> None:
        """Write what was measured so far; `error` says why it is not all."""
        result = {
            "host": self.config["host"],
            "error": error,
            "quick": self.config["quick"],
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "seconds": round(time.time() - self.started),
            "machine": machine(),
            "load_average": self.load_average,
            "limits": asdict(self.limits),
            "targets": {target.key: target.title for target in self.targets},
            "versions": self.known_versions,
            "series": self.book.dump(),
        }
        new = self.result.with_suffix(".new")
        new.write_text(json.dumps(result))
        new.rename(self.result)

    def clean(self) -> None:
        """Take the data out of the deployed indexes."""
        for target in self.targets:
            if target.deployed and target.filling is Filling.LINKS:
                self.folder().empty()
            elif target.deployed:
                devpi = self._patient_devpi(target, self.config["devpi"]["root_password"])
                devpi.remove(DEVPI_SCRATCH)
                devpi.remove(DEVPI_INDEX)

    def versions(self) -> dict[str, str]:
        """Return the version of each program that was measured or did the measuring."""
        found = {}
        for requirements in sorted(
            {target.requirements for target in self.targets if target.requirements} | {"clients"}
        ):
            text = (Path(__file__).parent / "requirements" / f"{requirements}.txt").read_text()
            tops = (Path(__file__).parent / "requirements" / f"{requirements}.in").read_text()
            for name, version in re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE):
                if re.search(rf"^{re.escape(name)}(?![\w-])", tops, re.MULTILINE):
                    found[name] = version
        for package in ("nginx", "wrk", "python3", "openssl"):
            done = subprocess.run(
                ["dpkg-query", "--show", "--showformat", "${Version}", package],
                capture_output=True,
                text=True,
                check=False,
            )
            found[package] = done.stdout.strip()
        return found


def machine() -> str:
    """Describe what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    cpu = f"{os.cpu_count()} x {model[1] if model else platform.machine()}"
    return f"{cpu}, {memory:.0f} GB of memory, {system}, Linux {platform.release()}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure on this host; see the playbook of the benchmark.")
    parser.add_argument("config", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--prepare", action="store_true", help="only bring everything onto the host")
    options = parser.parse_args()
    run = Run(json.loads(options.config.read_text()), options.result)
    # Also when the run ends in its midst, what was measured is there
    run.save("it was ended before its time")
    try:
        run.prepare()
        if options.prepare:
            run.make()
            say("everything is there")
            return 0
        try:
            run.measure()
        finally:
            prepare.stop(run.targets)
            if run.config["clean"]:
                run.clean()
    except (PrepareError, services.ServiceError, ClientError, FigureError, OSError) as error:
        run.save(str(error))
        say(f"the run failed: {error}")
        return 2
    run.save()
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The hosts that are measured: a fleet of the benchmark's own, or those of an inventory."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
FLEET = "peers"
LOG = "/var/lib/pyindex-bench/run.log"
# Of the run on one host, whatever hangs in it
LONGEST_SECONDS = 2400
# What the benchmark asks of the index hosts of its own fleet, by their group: a password for everything, nothing
# published beforehand, no mirror of another index
SETTINGS: dict[str, dict[str, Any]] = {
    "pypiserver": {
        "pypiserver_protected_actions": ["list", "download", "update"],
        "pypiserver_seed_requirements": [],
    },
    "devpi_primary": {
        "devpi_root_pypi": False,
        "devpi_users": [],
        "devpi_indexes": [{"name": "root/local"}],
        "devpi_default_index": "root/local",
        "devpi_upload_index": "root/local",
    },
}


class BenchError(Exception):
    """Something that makes the run impossible; the message says what."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def ansible_playbook(*arguments: str | Path, seconds: float = 900) -> None:
    """Run a playbook in the root of the repository; show what it says only when it fails."""
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    command = [BIN / "ansible-playbook", *arguments]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"ansible-playbook {arguments[-1]} was not done after {seconds:.0f} s") from error
    if done.returncode:
        raise BenchError(f"ansible-playbook {arguments[-1]} failed:\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}")


@contextlib.contextmanager
def own_fleet(groups: Sequence[str], *, keep: bool) -> Iterator[Path]:
    """Make a fleet with what site.yml deploys today, and give its inventory; `keep` leaves it there."""
    # The lab's own engine, where the machine runs none
    engine = subprocess.run([ROOT / "molecule/shared/engine", "up"], capture_output=True, text=True, check=False)
    if engine.returncode:
        raise BenchError(f"no container engine:\n{engine.stderr}")
    os.environ["DOCKER_HOST"] = engine.stdout.strip()
    described = yaml.safe_load((ROOT / "molecule/default/fleet.yml").read_text(encoding="utf-8"))
    hosts = [host for host in described["fleet_hosts"] if set(groups) & set(host["groups"])]
    known = json.dumps({**described, "fleet_name": FLEET, "fleet_scenario": "default", "fleet_hosts": hosts})
    say("making the hosts")
    ansible_playbook("-i", "localhost,", "-e", known, "molecule/shared/create.yml")
    inventory = ROOT / ".lab" / "fleets" / FLEET
    try:
        for host in hosts:
            # Into the file that the lab may have made: a folder beside it would hide it
            path = inventory / "host_vars" / f"{host['name']}.yml"
            settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
            for group in host["groups"]:
                settings |= SETTINGS.get(group, {})
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(settings), encoding="utf-8")
        say("deploying: playbooks/site.yml")
        ansible_playbook("-i", inventory, "playbooks/site.yml")
        yield inventory
    finally:
        if not keep:
            _destroy(known)


def _destroy(known: str) -> None:
    """Remove the fleet. What was measured is worth more than a host that stays: a failure is only said."""
    for last in (False, True):
        try:
            ansible_playbook("-i", "localhost,", "-e", known, "molecule/shared/destroy.yml")
        except BenchError as error:
            # The engine may take longer than Ansible waits for it, for hosts with many files
            if last:
                say(f"The hosts of the fleet {FLEET} are still there: {error}")
        else:
            return


def defaults() -> dict[str, Any]:
    """Return the defaults of all roles: the inventory overrides them as usual when they are variables of `all`."""
    found: dict[str, Any] = {}
    for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        found |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return found


def pack(target: Path) -> None:
    """Write the archive of what runs on the host."""
    with tarfile.open(target, "w:gz") as archive:
        archive.add(HERE / "host", "host", filter=lambda info: None if "__pycache__" in info.name else info)


def index_hosts(inventory: Path, groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the hosts that are measured, and their variables."""
    done = subprocess.run(
        [BIN / "ansible-inventory", "-i", inventory, "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise BenchError(f"{inventory} cannot be read:\n{done.stderr[-2000:]}")
    listed = json.loads(done.stdout)
    names = [name for group in groups for name in listed.get(group, {}).get("hosts", [])]
    return {name: listed["_meta"]["hostvars"].get(name, {}) for name in names}


@contextlib.contextmanager
def follow(host: str, variables: dict[str, Any]) -> Iterator[None]:
    """Show meanwhile what a host writes into its log. One that SSH alone does not reach is measured in silence."""
    options = shlex.split(str(variables.get("ansible_ssh_common_args", "")))
    if key := variables.get("ansible_ssh_private_key_file"):
        options += ["-i", str(key)]
    if port := variables.get("ansible_port"):
        options += ["-p", str(port)]
    if user := variables.get("ansible_user"):
        options += ["-l", str(user)]
    place = str(variables.get("ansible_host", host))
    command = ["ssh", "-o", "BatchMode=yes", *options, place, f"tail -n 0 -F {LOG} 2>/dev/null"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        reader = threading.Thread(target=_show, args=(host, tail), daemon=True)
        reader.start()
        try:
            yield
        finally:
            tail.terminate()
            reader.join(5)


def _show(host: str, tail: subprocess.Popen[bytes]) -> None:
    assert tail.stdout is not None
    for line in tail.stdout:
        say(f"{host}  {line.decode(errors='replace').rstrip()}")


def measure(
    inventory: Path,
    groups: Sequence[str],
    peers: dict[str, list[str]],
    *,
    works: Sequence[str],
    sizes: Sequence[int],
    quick: bool,
    publish: str,
    clean: bool,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure on the index hosts of an inventory; return what each of them has found, and those that have nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "defaults.yml").write_text(json.dumps({"all": {"vars": defaults()}}), encoding="utf-8")
        (folder / "results").mkdir()
        pack(folder / "host.tar.gz")
        known = {
            "bench_source": str(folder / "host.tar.gz"),
            "bench_results": str(folder / "results"),
            "bench_quick": quick,
            "bench_works": list(works),
            "bench_sizes": list(sizes),
            "bench_peers": peers,
            "bench_publish": publish,
            "bench_clean": clean,
            "bench_seconds": LONGEST_SECONDS,
        }
        arguments: list[str | Path] = ["-i", folder / "defaults.yml", "-i", inventory, "-e", json.dumps(known)]
        arguments += ["--limit", ":".join(groups), HERE / "measure.yml"]
        hosts = index_hosts(inventory, groups)
        with contextlib.ExitStack() as progress:
            for host, variables in hosts.items():
                progress.enter_context(follow(host, variables))
            ansible_playbook(*arguments, seconds=len(hosts) * (LONGEST_SECONDS + 600))
        results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "results").iterdir())]
    if not results:
        raise BenchError(f"no figures from {', '.join(hosts) or f'the hosts of {inventory}: there are none'}")
    return results, sorted(hosts.keys() - {result["host"] for result in results})

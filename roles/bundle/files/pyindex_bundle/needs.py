"""Whether a bundle has what a host needs, and whether the host has room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .locks import choose, pins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .archive import Manifest
    from .description import Host

# On its way, unpacked, and installed
_TIMES: Final = 3
_MB: Final = 10**6


def problems(manifest: Manifest, host: Host) -> Iterator[str]:
    """Say why *host* cannot be deployed from the bundle; nothing when it can."""
    yield from _wheels(manifest, host)
    yield from _seed(manifest, host)
    yield from _packages(manifest, host)
    needed = size(manifest, host) * _TIMES
    if host.free_bytes is not None and host.free_bytes < needed:
        yield (
            f"{host.name} has {host.free_bytes // _MB} MB free for the bundle and needs {-(-needed // _MB)} MB: "
            "make room, or set bundle_dir to a folder on a larger disk"
        )


def size(manifest: Manifest, host: Host) -> int:
    """Return how many bytes of the bundle *host* gets."""
    return sum(entry["size"] for entry in manifest.below(host.folders()).values())


def _wheels(manifest: Manifest, host: Host) -> Iterator[str]:
    made = manifest.sets.get(host.wheels_set)
    if made is None:
        servers = sorted(name.partition("/")[2] for name in manifest.sets if name.startswith("wheels/"))
        yield f"it has nothing for {host.server}, which {host.name} runs; it was made for {', '.join(servers)}"
        return
    files = manifest.digests_in(host.wheels_set)
    missing = [str(pin) for pin in pins(host.locks, host.target) if not choose(pin, files, host.target, host.sources)]
    if missing:
        yield (
            f"for {host.server} on {host.name} ({host.target}) it lacks {', '.join(missing)}; "
            f"it was made for {', '.join(made['made_for'])}"
        )


def _seed(manifest: Manifest, host: Host) -> Iterator[str]:
    if not host.seed_requirements:
        return
    made = manifest.sets.get(host.seed_set, {"requirements": [], "pythons": []})
    pythons = {target.minor for target in host.seed_targets}
    if missing := sorted(set(host.seed_requirements) - set(made["requirements"])):
        yield f"the seed of {host.name} lacks {', '.join(missing)}"
    elif missing := sorted(pythons - set(made["pythons"])):
        yield f"the seed of {host.name} is not for Python {', '.join(missing)}, but for {', '.join(made['pythons'])}"


def _packages(manifest: Manifest, host: Host) -> Iterator[str]:
    made = manifest.sets.get(host.packages_set, {"packages": []})
    if missing := sorted(set(host.missing_packages) - set(made["packages"])):
        others = sorted(
            name for entry in manifest.sets.values() if entry["kind"] == "packages" for name in entry["made_for"]
        )
        yield (
            f"{host.name} ({host.suite or 'not Debian'}) lacks the system's packages {', '.join(missing)}, and the bundle "
            f"has them for {', '.join(others) or 'no system'}"
        )

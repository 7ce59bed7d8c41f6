"""What a playbook says of the hosts of an inventory, as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from .errors import BundleError
from .targets import Target


@dataclass(frozen=True)
class Host:
    """One index host: what it is, and what its roles install."""

    name: str
    server: str
    target: Target
    suite: str = ""
    locks: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    seed_requirements: list[str] = field(default_factory=list)
    seed_targets: list[Target] = field(default_factory=list)
    seed_on_controller: bool = False
    packages: list[str] = field(default_factory=list)
    missing_packages: list[str] = field(default_factory=list)
    free_bytes: int | None = None

    @property
    def wheels_set(self) -> str:
        """The folder of the bundle with the wheels of its server."""
        return f"wheels/{self.server}"

    @property
    def seed_set(self) -> str:
        """The folder of the bundle with what its index is to hold from the start."""
        return f"seed/{self.name}"

    @property
    def packages_set(self) -> str:
        """The folder of the bundle with the packages of its operating system."""
        return f"packages/{self.suite}-{self.target.machine}"

    def folders(self) -> list[str]:
        """Return the folders of the bundle that it gets."""
        seed = [] if self.seed_on_controller else [self.seed_set]
        return [self.wheels_set, *seed, self.packages_set]


def target_of(data: dict[str, Any]) -> Target:
    """Return the target that *data* describes, among other things. Raises BundleError for one that there is not."""
    try:
        return Target(data["python"], data["glibc"], data["machine"])
    except KeyError as error:
        raise BundleError(f"{error.args[0]} is not said") from None


def _check(requirement: str) -> None:
    """Raise BundleError for a requirement that no index can answer (pypiserver's seed says the same)."""
    try:
        url = Requirement(requirement).url
    except InvalidRequirement as error:
        raise BundleError(f"{requirement!r} is no requirement: {str(error).splitlines()[0]}") from None
    if url:
        raise BundleError(f"{requirement!r} names a URL: write the project and a version of it")


def host(data: dict[str, Any]) -> Host:
    """Return the host that *data* describes. Raises BundleError, which names the host."""
    name = data["name"]
    try:
        target = target_of(data)
        seed = data.get("seed", {})
        own = {target.minor: target}
        glibc = seed.get("glibc") or target.glibc
        minors = sorted({target.minor, *seed.get("pythons", [])})
        for requirement in seed.get("requirements", []):
            _check(requirement)
        targets = [
            Target(own[minor].python if minor in own else f"{minor}.0", glibc, target.machine) for minor in minors
        ]
    except BundleError as error:
        raise BundleError(f"{name}: {error}") from None
    return Host(
        name,
        data["server"],
        target,
        data.get("suite", ""),
        data.get("locks", []),
        data.get("sources", []),
        seed.get("requirements", []),
        targets,
        seed.get("on_controller", False),
        sorted(set(data.get("packages", []))),
        data.get("missing_packages", []),
        data.get("free_bytes"),
    )

"""What a bundle is made for: a Python on a machine, which need not be the one that this runs on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from packaging.tags import Tag, compatible_tags, cpython_tags

from .errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The oldest C library that manylinux wheels may ask for (PEP 600), and the older names of three of them
_OLDEST: Final = {"x86_64": 5, "i686": 5}
_OLDEST_ELSEWHERE: Final = 17
_LEGACY: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, order=True)
class Target:
    """CPython *python* (``3.11.2``) on Linux with the C library *glibc* (``2.36``) and the CPU *machine* (``x86_64``)."""

    python: str
    glibc: str
    machine: str

    def __post_init__(self) -> None:
        """Raise BundleError when a version is none: what is declared comes from people."""
        if not re.fullmatch(r"3\.\d+\.\d+", self.python):
            raise BundleError(f"{self.python!r} is no Python version with three parts, such as 3.11.2")
        if not re.fullmatch(r"2\.\d+", self.glibc):
            raise BundleError(f"{self.glibc!r} is no version of the GNU C library, such as 2.36")

    def __str__(self) -> str:
        """Return words for people."""
        return f"Python {self.python} on {self.machine} with glibc {self.glibc}"

    @property
    def minor(self) -> str:
        """The version of Python that wheels are made for, such as ``3.11``."""
        return self.python.rpartition(".")[0]

    @cached_property
    def platforms(self) -> list[str]:
        """The platform tags that it takes, best first."""
        return [f"linux_{self.machine}", *self._manylinux()]

    def _manylinux(self) -> Iterator[str]:
        oldest = _OLDEST.get(self.machine, _OLDEST_ELSEWHERE)
        for glibc in range(int(self.glibc.partition(".")[2]), oldest - 1, -1):
            yield f"manylinux_2_{glibc}_{self.machine}"
            if glibc in _LEGACY:
                yield f"{_LEGACY[glibc]}_{self.machine}"

    @cached_property
    def ranks(self) -> dict[Tag, int]:
        """The tags of wheels (PEP 425) that it takes, each with its rank: the best has 0."""
        major, minor = (int(part) for part in self.minor.split("."))
        tags = [
            *cpython_tags((major, minor), platforms=self.platforms),
            *compatible_tags((major, minor), f"cp{major}{minor}", self.platforms),
        ]
        return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}

    @property
    def markers(self) -> dict[str, str]:
        """What environment markers (PEP 508) are judged by."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": self.minor,
            "sys_platform": "linux",
        }

    @property
    def pip_options(self) -> list[str]:
        """The options by which pip chooses distributions for it."""
        platforms = [option for platform in self.platforms for option in ("--platform", platform)]
        return ["--implementation", "cp", "--python-version", self.python, *platforms]

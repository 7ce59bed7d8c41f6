"""Run `ansible-test sanity` on a copy of this collection; arguments go to ansible-test.

ansible-test wants a path .../ansible_collections/pyindex/fleet that is no symlink, and the collections
that ours refers to beside it. It keeps virtual environments in the home folder and hands pip nothing of
the environment. So it gets a home of its own below .cache, with pip's settings in a file.
"""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

import ansible_test

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
HOME = CACHE / "home"
COLLECTIONS = CACHE / "sanity" / "ansible_collections"
COPY = COLLECTIONS / "pyindex" / "fleet"


def copy_sources() -> None:
    """Copy what is or will be in the repository to COPY, whether committed already or not."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = [name for name in listed.split("\0") if name]
    # ansible-test keeps its own results inside the collection; all else is made anew
    if COPY.exists():
        shutil.rmtree(COPY)
    for name in names:
        source, target = ROOT / name, COPY / name
        if not os.path.lexists(source):
            continue  # removed, but not yet committed
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    # ansible-test asks git for the files; without this it would ask our repository, which ignores .cache
    subprocess.run(["git", "init", "--quiet"], cwd=COPY, check=True)


def link_collections() -> None:
    """Link the third-party collections of the virtual environment beside our own."""
    for packages in site.getsitepackages():
        for found in sorted(Path(packages, "ansible_collections").glob("*/*/MANIFEST.json")):
            link = COLLECTIONS / found.parent.relative_to(Path(packages, "ansible_collections"))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(found.parent)


def write_pip_settings() -> None:
    """Write the pip settings that hold here, from files and PIP_* alike, into the file that pip reads in HOME."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    settings: dict[str, dict[str, str]] = {}
    for section, key, value in re.findall(r"^([^.\s]+)\.([^=]+)='(.*)'$", listed, flags=re.MULTILINE):
        # Listed in the order in which pip takes them, the environment last
        settings.setdefault("global" if section == ":env:" else section, {})[key] = value.replace("\\n", "\n    ")
    # Only what goes wrong: there is an environment for each of a dozen tests
    settings.setdefault("global", {})["quiet"] = "2"
    lines = []
    for section, values in settings.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in values.items()), ""]
    target = HOME / ".config" / "pip" / "pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)  # an index URL may hold a password
    target.write_text("\n".join(lines), encoding="utf-8")


def write_bootstrap() -> None:
    """Put our get_pip.py where ansible-test looks before it would download one, named by the pip it pins."""
    source = Path(ansible_test.__path__[0], "_internal", "python_requirements.py").read_text(encoding="utf-8")
    pin = re.search(r"pip='([\d.]+)'", source)
    if pin is None:
        raise SystemExit(
            "tests/sanity/run.py: this ansible-test does not say which pip it pins; look for its new name."
        )
    target = HOME / ".ansible" / "test" / "cache" / f"get_pip_{pin[1].replace('.', '_')}.py"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(Path(__file__).with_name("get_pip.py"), target)


def collect_results() -> None:
    """Put the results that ansible-test wrote as JUnit XML where those of the other tests are."""
    target = CACHE / "junit" / "sanity"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for result in (COPY / "tests" / "output" / "junit").glob("*.xml"):
        shutil.copy2(result, target)


def main() -> int:
    copy_sources()
    link_collections()
    write_pip_settings()
    write_bootstrap()
    # One Python: those that a machine happens to have besides would make the result differ from place to place
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PIP_", "PYTHON"))}
    programs = Path(sys.executable).parent
    failed = subprocess.call(
        [programs / "ansible-test", "sanity", "--python", python, "--junit", "--color", "no", *sys.argv[1:]],
        cwd=COPY,
        env={**keep, "HOME": str(HOME), "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    collect_results()
    return failed


if __name__ == "__main__":
    sys.exit(main())

"""Build the images of the lab's hosts: bare Debian systems that boot systemd in a container.

    image.py SUITE...

One minimal Debian for each suite comes from the package sources of this machine (mmdebstrap), and
carries two images: `host`, any machine on its first day, and `client`, one on which people install
Python packages. Their tags end in a hash of everything they are made of, so an image is built once
and again only when something of that has changed. Prints one JSON object on standard output:
{"SUITE": {"host": IMAGE, "client": IMAGE}, ...}; progress goes to standard error.

What this machine knows about reaching package sources goes into the images: apt's Debian sources
and download options, pip's index settings, CA certificates, proxies. Nothing is named here.
"""

from __future__ import annotations

import ast
import base64
import concurrent.futures
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STATE = ROOT / ".lab" / "image"
CLIENT_TOOLS = ROOT / "tests" / "acceptance" / "client-tools.txt"
REPOSITORY = "pyindex-lab"
KEYRINGS = "/usr/share/keyrings/debian-archive-"
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

PACKAGES = [
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "libpam-systemd",
    "netbase",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
]
# pip's settings that say where packages come from; others are this machine's own business
PIP_SETTINGS = {
    "cert",
    "default-timeout",
    "disable-pip-version-check",
    "extra-index-url",
    "find-links",
    "index-url",
    "no-index",
    "proxy",
    "retries",
    "timeout",
    "trusted-host",
}
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy")
# Names and addresses of the lab are reached directly
NO_PROXY = "localhost,127.0.0.1,.pyindex.test,198.18.0.0/15"


class LabError(Exception):
    """Something that a person has to put right; the message says what."""


@dataclass
class Source:
    """One line of apt's sources: a suite of an archive."""

    uri: str
    suite: str
    components: list[str]
    signed_by: str = ""

    def line(self) -> str:
        option = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {option}{self.uri} {self.suite} {' '.join(self.components)}"


@dataclass
class Inherited:
    """Files, by their path in the image, and download options that the images take over."""

    files: dict[str, str] = field(default_factory=dict)
    apt_options: list[str] = field(default_factory=list)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def run(*command: str, text: str | None = None) -> str:
    """Run a command and return what it prints; a failure becomes a LabError with its output."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{shlex.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def as_root(*command: str) -> None:
    kept = ",".join([*PROXIES, *(name.upper() for name in PROXIES)])
    run(*([] if os.geteuid() == 0 else ["sudo", f"--preserve-env={kept}"]), *command)


# apt ----------------------------------------------------------------------------------------------


def os_release() -> dict[str, str]:
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    return dict(line.split("=", 1) for line in shlex.split(text, comments=True) if "=" in line)


def reachable(uri: str) -> str:
    """Return what a host can use in place of `uri`: of a file of mirrors (as cloud images have it) the first."""
    if uri.startswith("mirror+file:"):
        lines = Path(re.sub(r"^mirror\+file:(//)?", "", uri)).read_text(encoding="utf-8").splitlines()
        return next((line.split()[0] for line in lines if line.strip() and not line.startswith("#")), uri)
    return uri


def parse_list(text: str) -> list[Source]:
    """Return the binary package sources of a one-line-style list (sources.list(5))."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>[^#]+)", line)
        if not match:
            continue
        uri, suite, *components = match["rest"].split()
        options = dict(option.partition("=")[::2] for option in (match["options"] or "").split())
        if options.get("enabled", "yes") not in {"no", "false"}:
            found.append(Source(uri, suite, components, options.get("signed-by", "")))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Return the binary package sources of a deb822-style file (sources.list(5))."""
    found = []
    for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
            elif ":" in line:
                name, _unused, value = line.partition(":")
                name = name.lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in {"no", "false"}:
            continue
        found += [
            Source(uri, suite, fields.get("components", "").split(), fields.get("signed-by", ""))
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found


def debian_sources(folder: Path = Path("/etc/apt")) -> list[Source]:
    """Return this machine's sources of Debian itself, with `@suite@` in place of its code name.

    Debian's own are told from others by the names of their suites, their component main, and a key
    that is Debian's (or not named, which means the same).
    """
    release = os_release()
    codename = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian":
        raise LabError(
            f"The lab's hosts are Debian systems made from this machine's own package sources, but this "
            f"machine runs {release.get('PRETTY_NAME', 'another system')}. Run the lab on Debian 12 or 13."
        )
    found = []
    lists = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    for path in lists:
        found += parse_list(path.read_text(encoding="utf-8")) if path.exists() else []
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        found += parse_deb822(path.read_text(encoding="utf-8"))

    names = re.compile(rf"(?:{re.escape(codename)}|stable)(?P<pocket>-updates|-security)?$")
    kept: dict[str, Source] = {}
    for source in found:
        match = names.match(source.suite)
        foreign_key = source.signed_by and not source.signed_by.startswith(KEYRINGS)
        uri = reachable(source.uri)
        local = not re.match(r"(tor\+)?https?:|ftp:", uri)
        if match and "main" in source.components and not foreign_key and not local:
            suite = f"@suite@{match['pocket'] or ''}"
            one = Source(uri, suite, ["main"], source.signed_by)
            kept.setdefault(one.line(), one)
    if not any(source.suite == "@suite@" for source in kept.values()):
        raise LabError(
            f"No source of Debian {codename} main, signed by Debian and reached over the network, stands in "
            f"{folder}/sources.list and {folder}/sources.list.d: the lab's hosts are made from this machine's own."
        )
    return list(kept.values())


def apt_options() -> list[str]:
    """Return this machine's download options (proxy, retries, ...) as apt.conf lines."""
    own_lists = re.compile(r"Acquire::(IndexTargets|CompressionTypes|Changelogs|cdrom)\b", re.IGNORECASE)
    options = []
    for line in run("apt-config", "dump").splitlines():
        name, _unused, value = line.partition(" ")
        value = value.strip().rstrip(";").strip('"')
        # "0" is what apt does by itself; a file of this machine is not there in the image
        if not name.startswith("Acquire::") or own_lists.match(name) or value in {"", "0"} or value.startswith("/"):
            continue
        options.append(f'{name} "{value}";')
    return options


# pip, certificates, proxies -----------------------------------------------------------------------


def pip_settings(listing: str) -> dict[str, list[str]]:
    """Return what `pip config list` says about package sources: the environment before the files."""
    effective: dict[str, list[str]] = {}
    lines = [line.partition("=") for line in listing.splitlines()]
    for section in ("global.", "install.", ":env:."):
        for name, _unused, value in lines:
            key = name.removeprefix(section)
            if name.startswith(section) and key in PIP_SETTINGS:
                effective[key] = ast.literal_eval(value).split()
    return effective


def pip_conf(settings: dict[str, list[str]]) -> str:
    """Return a pip.conf for the images: without what only this machine can reach."""
    lines = []
    for key, words in sorted(settings.items()):
        usable = words
        if key in {"index-url", "extra-index-url"}:
            usable = [word for word in words if not word.startswith("file:")]
        elif key == "find-links":
            usable = [word for word in words if re.match(r"https?:", word)]
        elif key == "cert":
            continue
        if usable:
            lines.append(f"{key} = {' '.join(usable)}")
    # The system's bundle, which holds this machine's extra CA certificates too
    return "\n".join(["[global]", f"cert = {SYSTEM_BUNDLE}", *lines, ""])


def certificates(path: Path) -> dict[bytes, str]:
    """Return the certificates of a PEM file by their DER content; of a missing file none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", text, re.DOTALL)
    return {
        base64.b64decode(block): f"-----BEGIN CERTIFICATE-----{block}-----END CERTIFICATE-----\n" for block in blocks
    }


def extra_certificates(settings: dict[str, list[str]]) -> dict[str, str]:
    """Return the CA certificates that this machine trusts beyond those of its ca-certificates package."""
    bundles = [SYSTEM_BUNDLE, *settings.get("cert", [])]
    bundles += [os.environ[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if name in os.environ]
    trusted: dict[bytes, str] = {}
    for bundle in dict.fromkeys(bundles):
        trusted.update(certificates(Path(bundle)))
    for path in Path("/usr/share/ca-certificates").rglob("*.crt"):
        for known in certificates(path):
            trusted.pop(known, None)
    return {
        f"/usr/local/share/ca-certificates/machine-{hashlib.sha256(der).hexdigest()[:12]}.crt": pem
        for der, pem in trusted.items()
    }


def loopback(url: str) -> bool:
    return bool(re.search(r"//([^@/]*@)?(localhost|127\.|\[::1\])", url))


def proxies() -> dict[str, str]:
    found = {}
    for name in PROXIES:
        value = os.environ.get(name) or os.environ.get(name.upper())
        if value and not loopback(value):
            found[name] = value
        elif value:
            say(f"    {name} is left out of the lab's hosts: {value} is an address of this machine alone")
    return found


def inherit() -> Inherited:
    settings = pip_settings(run(sys.executable, "-m", "pip", "config", "list"))
    inherited = Inherited(apt_options=apt_options())
    inherited.files["/etc/pip.conf"] = pip_conf(settings)
    inherited.files.update(extra_certificates(settings))
    environment = proxies()
    if environment:
        direct = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), NO_PROXY]))
        both = environment | {"no_proxy": direct}
        lines = [f"{name}={value}\n{name.upper()}={value}\n" for name, value in both.items()]
        inherited.files["/etc/environment"] = "".join(lines)
        named = {option.split(" ")[0] for option in inherited.apt_options}
        inherited.apt_options += [
            f'Acquire::{scheme}::Proxy "{environment[f"{scheme}_proxy"]}";'
            for scheme in ("http", "https")
            if f"{scheme}_proxy" in environment and f"Acquire::{scheme}::Proxy" not in named
        ]
    options = [option for option in inherited.apt_options if not loopback(option)]
    if options:
        inherited.files["/etc/apt/apt.conf.d/90machine"] = "\n".join([*options, ""])
    return inherited


# images -------------------------------------------------------------------------------------------


def digest(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode() + data)
    return total.hexdigest()[:12]


def present(image: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0


class Suite:
    """The images of one Debian release."""

    def __init__(self, name: str, sources: list[Source], inherited: Inherited) -> None:
        self.name = name
        self.lines = [source.line().replace("@suite@", name) for source in sources]
        self.inherited = inherited
        options = "\n".join(inherited.apt_options)
        self.root = f"{REPOSITORY}/root:{name}-{digest(*PACKAGES, *self.lines, options)}"
        parts: list[str | bytes] = [self.root]
        for path in sorted((HERE / "image").rglob("*")):
            if path.is_file():
                parts += [str(path.relative_to(HERE)), path.read_bytes()]
        for target, text in sorted(inherited.files.items()):
            parts += [target, text]
        key = digest(*parts, CLIENT_TOOLS.read_bytes())
        self.images = {kind: f"{REPOSITORY}/{kind}:{name}-{key}" for kind in ("host", "client")}

    def missing(self) -> bool:
        return not all(present(image) for image in self.images.values())

    def build(self) -> None:
        start = time.monotonic()
        folder = STATE / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if not present(self.root):
            self.build_root(folder)
            say(f"    {self.name}: Debian system ready after {time.monotonic() - start:.0f} s")
        self.build_images(folder)
        shutil.rmtree(folder)
        say(f"    {self.name}: images ready after {time.monotonic() - start:.0f} s")

    def build_root(self, folder: Path) -> None:
        archive = folder / "root.tar"
        command = ["mmdebstrap", "--variant=minbase", "--quiet", f"--include={','.join(PACKAGES)}"]
        # Hosts can install packages without an update first, as a machine that is in use can
        command += ["--skip=cleanup/apt/lists"]
        command += [f"--aptopt={option}" for option in self.inherited.apt_options]
        command += [self.name, str(archive), *self.lines]
        # mmdebstrap ends with a signal to its whole process group when it fails: give it its own
        as_root("setsid", "--wait", *command)
        run("docker", "import", str(archive), self.root)
        as_root("rm", "-f", str(archive))

    def build_images(self, folder: Path) -> None:
        context = folder / "context"
        shutil.copytree(HERE / "image", context)
        shutil.copy(CLIENT_TOOLS, context)
        for target, text in self.inherited.files.items():
            path = context / "inherited" / target.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for path in [context, *context.rglob("*")]:
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        arguments = [f"--build-arg=ROOTFS={self.root}"]
        arguments += [f"--build-arg={name}" for name in PROXIES if name in os.environ]
        for kind, image in self.images.items():
            run("docker", "build", *arguments, f"--target={kind}", f"--tag={image}", str(context))


def build(suites: list[Suite]) -> None:
    if not suites:
        return
    if not shutil.which("mmdebstrap"):
        raise LabError("mmdebstrap is missing: apt-get install mmdebstrap")
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as lock, concurrent.futures.ThreadPoolExecutor() as pool:
        # Another run may be building the same
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [suite for suite in suites if suite.missing()]
        if missing:
            # Asks for a password here if at all, not in the midst of it
            as_root("true")
            say(f"    building {', '.join(suite.name for suite in missing)}, about a minute; once")
        for done in [pool.submit(suite.build) for suite in missing]:
            done.result()


def main(names: list[str]) -> int:
    try:
        sources, inherited = debian_sources(), inherit()
        suites = [Suite(name, sources, inherited) for name in names]
        build([suite for suite in suites if suite.missing()])
    except LabError as error:
        say(f"error: {error}")
        return 1
    print(json.dumps({suite.name: suite.images for suite in suites}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

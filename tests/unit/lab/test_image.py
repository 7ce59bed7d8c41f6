"""What the lab's hosts inherit from the machine that they run on."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.lab.loading import load_program

KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"


@pytest.fixture(scope="module")
def image() -> ModuleType:
    return load_program("image.py")


def sources(image: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(image, "os_release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"})
    return [source.line() for source in image.debian_sources(folder)]


def test_deb822_sources(image: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "debian.sources").write_text(
        f"""Types: deb deb-src
# a comment inside a stanza
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: {KEY}

Types: deb
URIs: http://mirror.test/security
Suites: bookworm-security
Components: main
Enabled: no

Types: deb
URIs: http://vendor.test/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
""",
        encoding="utf-8",
    )

    assert sources(image, tmp_path, monkeypatch) == [
        f"deb [signed-by={KEY}] http://mirror.test/debian @suite@ main",
        f"deb [signed-by={KEY}] http://mirror.test/debian @suite@-updates main",
    ]


def test_one_line_sources(image: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors = tmp_path / "mirrors"
    mirrors.write_text("# nearest first\nhttps://near.test/debian\thint\nhttps://far.test/debian\n", encoding="utf-8")
    (tmp_path / "sources.list").write_text(
        f"""# deb http://off.test/debian bookworm main
deb mirror+file:{mirrors} bookworm main non-free  # with a comment
deb-src http://mirror.test/debian bookworm main
deb [arch=amd64 signed-by={KEY}] http://mirror.test/security stable-security main
deb [signed-by=/etc/apt/keyrings/vendor.gpg] http://vendor.test bookworm main
deb http://vendor.test bookworm stable
deb cdrom:[Debian]/ bookworm main
""",
        encoding="utf-8",
    )

    assert sources(image, tmp_path, monkeypatch) == [
        "deb https://near.test/debian @suite@ main",
        f"deb [signed-by={KEY}] http://mirror.test/security @suite@-security main",
    ]


def test_no_source_of_debian(image: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sources.list").write_text("deb file:/srv/debian bookworm main\n", encoding="utf-8")

    with pytest.raises(image.LabError, match="No source of Debian bookworm main"):
        sources(image, tmp_path, monkeypatch)


def test_other_system(image: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "os_release", lambda: {"ID": "other", "PRETTY_NAME": "Another Linux"})

    with pytest.raises(image.LabError, match=r"this machine runs Another Linux\. Run the lab on Debian 12 or 13"):
        image.debian_sources(tmp_path)


def test_pip_settings(image: ModuleType) -> None:
    settings = image.pip_settings(
        """:env:.cert='/somewhere/company.pem'
:env:.index-url='https://proxy.test/simple'
global.cache-dir='/var/cache/pip'
global.extra-index-url='file:///srv/simple https://extra.test/simple'
global.find-links='\\n/srv/wheels\\nhttps://links.test/'
global.index-url='https://global.test/simple'
global.timeout='60'
install.no-index='false'
"""
    )

    assert image.pip_conf(settings).splitlines() == [
        "[global]",
        "cert = /etc/ssl/certs/ca-certificates.crt",
        "extra-index-url = https://extra.test/simple",
        "find-links = https://links.test/",
        "index-url = https://proxy.test/simple",
        "no-index = false",
        "timeout = 60",
    ]


def test_proxies(image: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ftp_proxy", "FTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:word@proxy.test:3128")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")

    assert image.proxies() == {"https_proxy": "http://user:word@proxy.test:3128"}
    assert "http_proxy is left out" in capsys.readouterr().err

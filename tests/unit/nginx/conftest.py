"""A certificate authority and a certificate for the tests, a short folder for sockets, and real indexes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from tests.unit.nginx.devpi_index import Index


@dataclass(frozen=True)
class Certificates:
    """Paths of the authority's certificate, and of a site's certificate and key."""

    authority: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a path short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="front-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def certificates(folder: Path) -> Certificates:
    paths = Certificates(folder / "ca.crt", folder / "site.crt", folder / "site.key")
    ca_key, site_key = (ec.generate_private_key(ec.SECP256R1()) for _unused in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    names = [x509.DNSName(name) for name in ("index.pyindex.test", "other.pyindex.test", "localhost")]
    start = datetime.now(UTC) - timedelta(hours=1)

    def builder(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=2))
        )

    authority = builder(ca_name, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    site = builder(x509.Name([]), site_key).add_extension(x509.SubjectAlternativeName(names), critical=True)
    paths.authority.write_bytes(
        authority.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
    )
    paths.certificate.write_bytes(site.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    paths.key.write_bytes(
        site_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


@pytest.fixture(scope="session")
def locked(folder: Path, certificates: Certificates) -> Iterator[Index]:
    """A real devpi-server behind its front, where reading needs a login."""
    from tests.unit.nginx.devpi_index import running_index

    with running_index(folder / "locked", certificates, lockdown=True) as index:
        yield index


@pytest.fixture(scope="session")
def opened(folder: Path, certificates: Certificates) -> Iterator[Index]:
    """The same where reading is open to all."""
    from tests.unit.nginx.devpi_index import running_index

    with running_index(folder / "open", certificates, lockdown=False) as index:
        yield index

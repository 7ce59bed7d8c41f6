"""What is said of a certificate that cannot be served."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ansible_collections.pyindex.fleet.plugins.plugin_utils import _certificates

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAME = "pypi.example.org"


def pem(key: ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


class Authority:
    """A CA of the test's own."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = self.sign(self.key, self.name, [])

    def sign(
        self,
        key: ec.EllipticCurvePrivateKey,
        subject: x509.Name,
        names: list[x509.GeneralName],
        start: int = -1,
        end: int = 100,
    ) -> str:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=start))
            .not_valid_after(NOW + timedelta(days=end))
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode()

    def leaf(self, *names: str, start: int = -1, end: int = 100) -> str:
        alternatives: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
        ]
        return self.sign(KEY, x509.Name([]), alternatives, start, end)


KEY = ec.generate_private_key(ec.SECP256R1())
CA = Authority("Our CA")


def problems(
    certificate: str, *names: str, key: str = "", chain: str = "", days: int = 0, exact: bool = False
) -> list[str]:
    addresses = [name for name in names if name[0].isdigit()]
    dns = [name for name in names if not name[0].isdigit()]
    return _certificates.problems(certificate, key or pem(KEY), dns, addresses, chain, days, exact=exact, now=NOW)


@pytest.mark.parametrize("name", [NAME, "*.example.org", NAME.upper()])
def test_a_good_certificate(name: str) -> None:
    assert problems(CA.leaf(name), NAME, chain=CA.certificate, days=99) == []
    assert problems(CA.leaf(name) + CA.certificate, NAME) == []


def test_the_public_key_will_do() -> None:
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert problems(CA.leaf(NAME), NAME, key=public) == []


def test_addresses() -> None:
    assert problems(CA.leaf(NAME, "192.0.2.1"), NAME, "192.0.2.1") == []
    assert problems(CA.leaf(NAME), "192.0.2.1") == [f"is not for 192.0.2.1: it is for {NAME}"]


def test_another_key() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert problems(CA.leaf(NAME), NAME, key=pem(other)) == ["does not belong to the key: it was made for another one"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("garbage", "has a key that is not in PEM format"),
        (pem(KEY, BestAvailableEncryption(b"x")), "has a key with a passphrase, which a server cannot ask for"),
    ],
)
def test_no_usable_key(key: str, message: str) -> None:
    (found,) = problems(CA.leaf(NAME), NAME, key=key)
    assert found.startswith(message)


def test_times() -> None:
    assert problems(CA.leaf(NAME, start=-9, end=-1), NAME) == ["has expired on 2029-12-31 00:00 UTC"]
    assert problems(CA.leaf(NAME, start=1), NAME) == ["is not valid before 2030-01-02 00:00 UTC"]
    expires = "expires on 2030-01-10 00:00 UTC, in less than 30 days"
    assert problems(CA.leaf(NAME, end=9), NAME, days=30) == [expires]


@pytest.mark.parametrize("name", ["other.example.org", "*.org", "*.pypi.example.org", "*.com"])
def test_another_name(name: str) -> None:
    assert problems(CA.leaf(name), NAME) == [f"is not for {NAME}: it is for {name}"]


def test_a_name_too_many() -> None:
    certificate = CA.leaf(NAME, "old.example.org", "192.0.2.1")
    assert problems(certificate, NAME) == []
    assert problems(certificate, NAME, "192.0.2.1", "Old.example.org", exact=True) == []
    assert problems(certificate, NAME, exact=True) == [
        "is also for old.example.org, which is no longer wanted",
        "is also for 192.0.2.1, which is no longer wanted",
    ]


def test_no_names() -> None:
    certificate = CA.sign(KEY, CA.name, [])
    assert problems(certificate, NAME) == ["has no subjectAltName, without which no client accepts it"]


def test_another_ca() -> None:
    (found,) = problems(CA.leaf(NAME), NAME, chain=Authority("Their CA").certificate)
    assert found.startswith("is not from the CA given: CN=Their CA did not sign")
    # The same name is not the same CA
    (found,) = problems(CA.leaf(NAME), NAME, chain=Authority("Our CA").certificate)
    assert found.startswith("is not from the CA given: CN=Our CA did not sign")


@pytest.mark.parametrize("text", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_no_certificate(text: str) -> None:
    assert problems(text, NAME) == ["is no certificate in PEM format"]
    if text:
        assert problems(CA.leaf(NAME), NAME, chain=text) == ["has a chain that is not in PEM format"]

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is this the certificate of that key, for these names, from that CA, and is it valid long enough?"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
        load_pem_public_key,
    )
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes


def problems(
    certificate: str,
    key: str,
    names: Sequence[str],
    addresses: Sequence[str] = (),
    chain: str = "",
    days: int = 0,
    *,
    exact: bool = False,
    now: datetime | None = None,
) -> list[str]:
    """Say what is wrong with the first *certificate* of a PEM text; an empty list means it can be served.

    *key*: the private key, or the public key that belongs to it, as PEM text. *names* and
    *addresses*: each must be covered (RFC 6125: a wildcard stands for one label). *chain*: what
    follows in the certificate's own text or here must have signed it, one by the next. *days*: it
    must be valid for as many days from *now*. *exact*: it must be for nothing else.
    """
    now = now or datetime.now(UTC)
    try:
        leaf, *rest = x509.load_pem_x509_certificates(certificate.encode())
    except (ValueError, IndexError):
        return ["is no certificate in PEM format"]
    try:
        rest += x509.load_pem_x509_certificates(chain.encode()) if chain.strip() else []
    except ValueError:
        return ["has a chain that is not in PEM format"]
    return [
        *_key_problems(leaf, key),
        *_time_problems(leaf, now, timedelta(days=days)),
        *_name_problems(leaf, names, addresses, exact=exact),
        *_chain_problems([leaf, *rest]),
    ]


def _key_problems(leaf: x509.Certificate, key: str) -> Iterable[str]:
    data = key.encode()
    public: PublicKeyTypes
    try:
        if "PUBLIC KEY" in key:
            public = load_pem_public_key(data)
        else:
            public = load_pem_private_key(data, password=None).public_key()
    except TypeError:
        yield "has a key with a passphrase, which a server cannot ask for: remove it (openssl pkey) and use a vault"
    except ValueError:
        yield "has a key that is not in PEM format"
    else:
        if _public_bytes(public) != _public_bytes(leaf.public_key()):
            yield "does not belong to the key: it was made for another one"


def _public_bytes(key: PublicKeyTypes | CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _time_problems(leaf: x509.Certificate, now: datetime, left: timedelta) -> Iterable[str]:
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if end <= now:
        yield f"has expired on {end:%Y-%m-%d %H:%M} UTC"
    elif end <= now + left:
        yield f"expires on {end:%Y-%m-%d %H:%M} UTC, in less than {left.days} days"
    if start > now:
        yield f"is not valid before {start:%Y-%m-%d %H:%M} UTC"


def _name_problems(
    leaf: x509.Certificate, names: Sequence[str], addresses: Sequence[str], *, exact: bool
) -> Iterable[str]:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        yield "has no subjectAltName, without which no client accepts it"
        return
    covered = [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]
    known = alternatives.get_values_for_type(x509.IPAddress)
    has = ", ".join([*covered, *map(str, known)])
    for name in names:
        wildcard = "*." + name.lower().partition(".")[2]
        if name.lower() not in covered and wildcard not in covered:
            yield f"is not for {name}: it is for {has}"
    for address in addresses:
        if ipaddress.ip_address(address) not in known:
            yield f"is not for {address}: it is for {has}"
    if exact:
        wanted = {*map(str.lower, names), *(str(ipaddress.ip_address(address)) for address in addresses)}
        for name in (*covered, *map(str, known)):
            if name not in wanted:
                yield f"is also for {name}, which is no longer wanted"


def _chain_problems(chain: Sequence[x509.Certificate]) -> Iterable[str]:
    for lower, upper in pairwise(chain):
        try:
            lower.verify_directly_issued_by(upper)
        except (ValueError, TypeError, InvalidSignature):
            yield f"is not from the CA given: {upper.subject.rfc4514_string()} did not sign {_subject(lower)}"


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "it"

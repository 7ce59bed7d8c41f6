"""TLS and the way to it, as clients see them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .indexes import Index
from .machines import Machine, Result
from .web import Request, ask


@contextmanager
def trust(index: Index, machine: Machine) -> Iterator[list[str]]:
    """The options by which openssl on `machine` trusts the index: none on its clients, which trust it already."""
    if not index.authority or any(machine is client.machine for client in index.clients):
        yield []
        return
    with machine.folder() as folder:
        machine.check("sh", "-c", 'cat > "$1"', "sh", f"{folder}/ca.pem", stdin=index.authority)
        yield ["-CAfile", f"{folder}/ca.pem"]


def handshake(index: Index, *options: str, name: str = "") -> Result:
    """A TLS handshake by openssl from a client; exit code 0 = it succeeded and the certificate holds for `name`."""
    machine = index.vantages[0]
    if machine.run("sh", "-c", "command -v openssl").code:
        pytest.skip(f"{machine} has no openssl")
    with trust(index, machine) as trusted:
        where = index.server_name if machine in [client.machine for client in index.clients] else index.address
        command = ["openssl", "s_client", "-connect", f"{where}:{index.https_port}"]
        command += ["-servername", name or index.server_name, "-verify_return_error", *trusted, *options]
        return machine.run(*command, "-verify_hostname", name or index.server_name)


def test_certificate_holds(index: Index) -> None:
    """The client trusts the chain by its own trust store, for this name."""
    done = handshake(index)
    assert done.code == 0, str(done)
    assert "Verification: OK" in done.out


def test_certificate_is_not_its_own_issuer(index: Index) -> None:
    """A certificate that signs itself is refused by uv, and cannot be replaced without touching every client."""
    done = handshake(index)
    subject = re.search(r"^ ?0 s:(.*)$", done.out, re.MULTILINE)
    issuer = re.search(r"^ +i:(.*)$", done.out, re.MULTILINE)
    assert subject
    assert issuer
    assert subject[1] != issuer[1]


def test_certificate_lasts_another_day(index: Index) -> None:
    """Neither expired nor about to."""
    certificate = handshake(index).out
    done = index.vantages[0].run("openssl", "x509", "-noout", "-checkend", "86400", stdin=certificate)
    assert done.code == 0, str(done)


def test_other_names_are_refused(index: Index) -> None:
    """Who asks for another name gets no certificate, so no client can take this index for another host."""
    assert handshake(index, name="elsewhere.example").code != 0


@pytest.mark.parametrize("version", ["tls1", "tls1_1", "tls1_2", "tls1_3"])
def test_protocol_versions(index: Index, version: str) -> None:
    """TLS 1.3 always, 1.2 unless the policy is modern, nothing older."""
    # At OpenSSL's usual level the client would not even offer the old ones
    done = handshake(index, f"-{version}", "-cipher", "ALL:@SECLEVEL=0")
    wanted = {"tls1_3"} if index["nginx_tls_policy"] == "modern" else {"tls1_2", "tls1_3"}
    if version in wanted:
        assert done.code == 0, str(done)
    else:
        assert done.code != 0
        # The server said no, not the client
        assert re.search(r"alert (protocol version|handshake failure)", done.err), str(done)


@pytest.mark.parametrize(
    "cipher", ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "AES256-SHA"]
)
def test_weak_ciphers_are_refused(index: Index, cipher: str) -> None:
    """No key exchange without forward secrecy, no CBC."""
    done = handshake(index, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert done.code != 0
    assert re.search(r"alert (protocol version|handshake failure)", done.err), str(done)


def test_compression_and_old_renegotiation_are_off(index: Index) -> None:
    done = handshake(index)
    assert "Compression: NONE" in done.out
    assert "Secure Renegotiation IS supported" in done.out or "TLSv1.3" in done.out


def test_every_answer_has_hsts(index: Index) -> None:
    """Browsers never come back by plain HTTP, whatever the answer was."""
    targets = ["/", index.page, index.simple, "/no-such-path"]
    for target, answer in zip(targets, ask(index.vantages[0], index, [Request(t) for t in targets]), strict=True):
        assert answer.headers.get("strict-transport-security", "").startswith(
            f"max-age={index['nginx_hsts_seconds']}"
        ), target


def test_plain_http_leads_to_https(index: Index) -> None:
    """Every path, with its query; and a POST stays a POST, so that no upload seems to succeed."""
    if not index.http_port:
        pytest.skip(f"{index.kind}_http_port is 0: nothing listens for plain HTTP")
    targets = ["/", "/simple/some-project/?a=b%20c", "/packages/x-1.0.tar.gz"]
    answers = ask(index.vantages[0], index, [Request(target, plain=True) for target in targets])
    for target, answer in zip(targets, answers, strict=True):
        assert answer.status in {301, 308}
        assert answer.headers["location"] == index.url.removesuffix("/") + target
    posted = ask(index.vantages[0], index, [Request("/", "POST", body=b"x", plain=True)])[0]
    assert posted.status in {307, 308, 403, 405}


@pytest.mark.parametrize("plain", [False, True], ids=["https", "http"])
def test_other_host_names_get_no_index(index: Index, plain: bool) -> None:
    """A name that a stranger points at this address (DNS rebinding) is not answered with the index."""
    if plain and not index.http_port:
        pytest.skip(f"{index.kind}_http_port is 0: nothing listens for plain HTTP")
    if index.server_name == "_":
        pytest.skip(f"{index.kind}_server_name is _: it answers to every name")
    answer = ask(index.vantages[0], index, [Request("/", host="elsewhere.example", plain=plain)])[0]
    assert answer.status in {0, 400, 404, 421}, str(answer)

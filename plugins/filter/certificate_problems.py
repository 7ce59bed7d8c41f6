# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judges a certificate on the controller, before it is used on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

from ansible_collections.pyindex.fleet.plugins.plugin_utils import _certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DOCUMENTATION = r"""
name: certificate_problems
author: The pyindex team (@pyindex)
version_added: 0.1.0
short_description: What is wrong with a certificate
description:
  - Returns a sentence for everything that keeps a server from using a certificate. It is not PEM, it does not belong to
    the key, it has expired or is not valid yet, it is not for one of the names, or it is not from the CA given.
options:
  _input:
    description: The certificate as PEM text, with or without its chain.
    type: str
    required: true
  key:
    description: The private key without a passphrase, or its public key, as PEM text.
    type: str
    required: true
  names:
    description: DNS names that the certificate must be for. A wildcard stands for one label (RFC 6125).
    type: list
    elements: str
    required: true
  addresses:
    description: IP addresses that the certificate must be for.
    type: list
    elements: str
    default: []
  chain:
    description: Certificates that signed it, one by the next, as PEM text.
    type: str
    default: ""
  days:
    description: Days for which it must still be valid.
    type: int
    default: 0
  exact:
    description: Whether being for another name or address too is a problem.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Require a certificate that can be served
  ansible.builtin.assert:
    that: __problems is falsy
    fail_msg: "{{ __problems | join('; ') }}"
  vars:
    __problems: >-
      {{ lookup('ansible.builtin.file', 'server.crt')
         | pyindex.fleet.certificate_problems(key=lookup('ansible.builtin.file', 'server.key'),
                                              names=['pypi.example.org']) }}
"""

RETURN = r"""
_value:
  description: The sentences; empty when the certificate can be served.
  type: list
  elements: str
"""


def certificate_problems(
    certificate: str,
    key: str,
    names: Sequence[str],
    addresses: Sequence[str] = (),
    chain: str = "",
    days: int = 0,
    *,
    exact: bool = False,
) -> list[str]:
    """Return what is wrong with *certificate*; see ``_certificates.problems``."""
    if _certificates.IMPORT_ERROR:
        raise AnsibleFilterError(
            "the controller's Python lacks the package cryptography: install it into the environment that runs "
            "ansible-playbook (it is in requirements.txt)"
        ) from _certificates.IMPORT_ERROR
    return _certificates.problems(certificate, key, names, addresses, chain, days, exact=exact)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter for Ansible."""
        return {"certificate_problems": certificate_problems}

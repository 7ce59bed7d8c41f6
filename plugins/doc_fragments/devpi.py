# Copyright: The pyindex team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the documentation of all modules for devpi shares."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments pyindex.fleet.devpi (how the server is reached) and pyindex.fleet.devpi.attributes."""

    DOCUMENTATION = r"""
options:
  server_url:
    description:
      - Address of the server, such as V(https://devpi.example.org). One of this and O(unix_socket) is required.
      - V(http) is accepted for the machine's own loopback address only, as passwords are sent.
    type: str
  unix_socket:
    description: Path of the Unix socket on which devpi-server listens, for a task on the index host itself.
    type: path
  username:
    description: User of devpi that the module logs in as.
    type: str
    default: root
  password:
    description: Password of O(username). Without it the module stays anonymous, and can read only what everybody can.
    type: str
  ca_path:
    description:
      - File (or folder, as C(openssl rehash) makes it) of PEM certificates of the CAs that are trusted.
        Without it those that the system trusts.
    type: path
  validate_certs:
    description: Whether the server's certificate is checked. Without that anybody in between learns the password.
    type: bool
    default: true
  timeout_seconds:
    description:
      - How long the server may stay silent, in seconds. For an upload one more second for every 5 MiB.
    type: float
    default: 30
requirements:
  - Python 3.9 or newer on the host that the task runs on; nothing of devpi is needed there.
  - devpi-server 6.
"""

    ATTRIBUTES = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/pyindex.fleet.devpi) in C(module_defaults) to give O(ignore:server_url) and the login once.
    support: full
    membership:
      - pyindex.fleet.devpi
  platform:
    description: Where it runs.
    support: full
    platforms: posix
"""

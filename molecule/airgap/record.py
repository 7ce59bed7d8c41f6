"""Record what a host sends out of its network: each connection that is begun, each datagram, each DNS question.

    record.py NETWORK FILE

One JSON object a packet is appended to FILE: protocol, address, port (0: none), source_port, and for DNS the question.
Loopback, link-local and multicast addresses are not outside, except for DNS: a question is one to whomever it goes.
Runs on a lab host as root, with its Python alone.
"""

from __future__ import annotations

import ctypes
import ipaddress
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h
PACKET_OUTGOING = 4
SO_ATTACH_FILTER = 26
ETH_P_ALL = 3
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
SYN, ACK = 0x02, 0x10
DNS = 53

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def question(payload: bytes) -> str:
    """Return the name that a DNS message asks for (RFC 1035, 4.1.2); '' of what is none."""
    labels, at = [], 12
    while at < len(payload) and (size := payload[at]):
        labels.append(payload[at + 1 : at + 1 + size].decode("ascii", "replace"))
        at += 1 + size
    return ".".join(labels)


def begun(packet: bytes, kind: int) -> dict[str, Any] | None:
    """Return what *packet* (of the network layer) begins; None where it goes on with what was begun."""
    if kind == ETH_P_IP:
        head, protocol, address = (packet[0] & 0xF) * 4, packet[9], ipaddress.ip_address(packet[16:20])
        if struct.unpack("!H", packet[6:8])[0] & 0x1FFF:
            return None  # a later fragment
    else:
        head, protocol, address = 40, packet[6], ipaddress.ip_address(packet[24:40])
    found: dict[str, Any] = {"protocol": protocol, "address": str(address), "port": 0, "source_port": 0}
    if protocol not in {TCP, UDP}:
        return found
    found["source_port"], found["port"] = struct.unpack("!HH", packet[head : head + 4])
    if protocol == TCP and packet[head + 13] & (SYN | ACK) != SYN:
        return None
    if protocol == UDP and found["port"] == DNS:
        found["question"] = question(packet[head + 8 :])
    return found


def outside(network: ipaddress.IPv4Network, found: dict[str, Any]) -> bool:
    """Say whether that is no business of a host on *network*."""
    address = ipaddress.ip_address(found["address"])
    if found["port"] == DNS:
        return True
    return not (address in network or address.is_loopback or address.is_link_local or address.is_multicast)


def attach_filter(capture: socket.socket, network: ipaddress.IPv4Network) -> None:
    """Have the kernel leave out what stays inside, DNS excepted: all else on a busy host would be too much to look at.

    Classic BPF: code, jump if true, jump if false, operand (linux/filter.h).
    """
    program = [
        (0x28, 0, 0, 0xFFFFF000),  # A = the packet's kind
        (0x15, 0, 11, ETH_P_IP),  # not IPv4: accept
        (0x20, 0, 0, 16),  # A = its destination
        (0x54, 0, 0, int(network.netmask)),
        (0x15, 3, 0, int(network.network_address)),
        (0x20, 0, 0, 16),
        (0x74, 0, 0, 24),  # A >>= 24
        (0x15, 0, 5, 127),  # neither inside nor loopback: accept
        (0x30, 0, 0, 9),  # A = its protocol
        (0x15, 0, 4, UDP),
        (0xB1, 0, 0, 0),  # X = the length of its header
        (0x48, 0, 0, 2),  # A = the port
        (0x15, 0, 1, DNS),
        (0x06, 0, 0, 0xFFFF),  # accept
        (0x06, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    capture.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))


def sent(network: ipaddress.IPv4Network) -> Iterator[tuple[bytes, int]]:
    """Yield every packet that the host sends to somebody outside, on any interface, and its kind; never ends."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as capture:
        attach_filter(capture, network)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            # sd_notify(3)
            manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
        while True:
            packet, (_interface, kind, direction, *_hardware) = capture.recvfrom(65535)
            if direction == PACKET_OUTGOING and kind in {ETH_P_IP, ETH_P_IPV6}:
                yield packet, kind


def main(network: str, file: str) -> None:
    """Record until the end."""
    own = ipaddress.IPv4Network(network)
    Path(file).touch()
    for packet, kind in sent(own):
        found = begun(packet, kind)
        if found and outside(own, found):
            with Path(file).open("a", encoding="utf-8") as record:
                record.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

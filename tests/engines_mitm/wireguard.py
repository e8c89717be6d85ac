"""A WireGuard peer and, in its tunnel, as much of TCP as one request takes.

The handshake is Noise_IKpsk2 as in WireGuard's white paper, §5.4; packets arrive in order on loopback, so
nothing is ever sent again.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import socket
import struct
import time
from configparser import ConfigParser
from hashlib import blake2s
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = ["Tunnel"]

_CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
_IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
_TAI64_EPOCH = (1 << 62) + 10
_FIN, _SYN, _PSH, _ACK = 1, 2, 8, 16
_SECONDS = 10.0


def _hash(*parts: bytes) -> bytes:
    return blake2s(b"".join(parts)).digest()


def _derive(key: bytes, data: bytes, count: int) -> list[bytes]:
    """Return `count` keys (HKDF, §5.4)."""
    secret = hmac.digest(key, data, "blake2s")
    keys = [b""]
    for number in range(1, count + 1):
        keys.append(hmac.digest(secret, keys[-1] + bytes([number]), "blake2s"))
    return keys[1:]


def _nonce(counter: int) -> bytes:
    return struct.pack("<IQ", 0, counter)


class Tunnel:
    """A tunnel with the peer that a client's configuration file names."""

    def __init__(self, configuration: Path) -> None:
        """Shake hands. Raises TimeoutError when the peer does not know us."""
        parser = ConfigParser()
        parser.read(configuration)
        host, _, port = parser["Peer"]["Endpoint"].rpartition(":")
        self.address = parser["Interface"]["Address"].partition("/")[0]
        self._static = X25519PrivateKey.from_private_bytes(
            base64.b64decode(parser["Interface"]["PrivateKey"])
        )
        self._peer = base64.b64decode(parser["Peer"]["PublicKey"])
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(_SECONDS)
        self._socket.connect((host, int(port)))
        self._sent = 0
        self._receiver = 0
        self._shake_hands()

    def close(self) -> None:
        self._socket.close()

    def _shake_hands(self) -> None:
        ephemeral = X25519PrivateKey.generate()
        peer = X25519PublicKey.from_public_bytes(self._peer)
        chain = _hash(_CONSTRUCTION)
        digest = _hash(_hash(chain, _IDENTIFIER), self._peer)
        ours = ephemeral.public_key().public_bytes_raw()
        (chain,) = _derive(chain, ours, 1)
        digest = _hash(digest, ours)
        chain, key = _derive(chain, ephemeral.exchange(peer), 2)
        static = ChaCha20Poly1305(key).encrypt(
            _nonce(0), self._static.public_key().public_bytes_raw(), digest
        )
        digest = _hash(digest, static)
        chain, key = _derive(chain, self._static.exchange(peer), 2)
        now = struct.pack(">QI", _TAI64_EPOCH + int(time.time()), 0)
        stamp = ChaCha20Poly1305(key).encrypt(_nonce(0), now, digest)
        digest = _hash(digest, stamp)
        message = struct.pack("<II", 1, 7) + ours + static + stamp
        mac = blake2s(message, digest_size=16, key=_hash(b"mac1----", self._peer)).digest()
        self._socket.send(message + mac + bytes(16))
        answer = self._socket.recv(2048)
        kind, self._receiver, _ = struct.unpack_from("<III", answer)
        assert kind == 2
        theirs, empty = answer[12:44], answer[44:60]
        (chain,) = _derive(chain, theirs, 1)
        digest = _hash(digest, theirs)
        other = X25519PublicKey.from_public_bytes(theirs)
        (chain,) = _derive(chain, ephemeral.exchange(other), 1)
        (chain,) = _derive(chain, self._static.exchange(other), 1)
        chain, secret, key = _derive(chain, bytes(32), 3)
        ChaCha20Poly1305(key).decrypt(_nonce(0), empty, _hash(digest, secret))
        send, receive = _derive(chain, b"", 2)
        self._send_key, self._receive_key = ChaCha20Poly1305(send), ChaCha20Poly1305(receive)

    def send_packet(self, packet: bytes) -> None:
        """Send an IP packet."""
        sealed = self._send_key.encrypt(_nonce(self._sent), packet + bytes(-len(packet) % 16), None)
        self._socket.send(struct.pack("<IIQ", 4, self._receiver, self._sent) + sealed)
        self._sent += 1

    def receive_packet(self) -> bytes:
        """Return the next IP packet; what only keeps the tunnel alive is passed over."""
        while True:
            message = self._socket.recv(65535)
            kind, _, counter = struct.unpack_from("<IIQ", message)
            assert kind == 4
            packet = self._receive_key.decrypt(_nonce(counter), message[16:], None)
            if packet:
                return packet[: struct.unpack_from(">H", packet, 2)[0]]

    def exchange(self, host: str, port: int, request: bytes) -> bytes:
        """Send a request to an address and return its answer, which says how long it is."""
        ends = (socket.inet_aton(self.address), socket.inet_aton(host))
        source = 1024 + int.from_bytes(os.urandom(2)) % 60000

        def send(flags: int, sequence: int, acknowledged: int, data: bytes = b"") -> None:
            self.send_packet(_packet(ends, (source, port), flags, sequence, acknowledged, data))

        send(_SYN, 0, 0)
        sequence, expected, received = 1, 0, b""
        while True:
            segment = self.receive_packet()[20:]
            number, _, offset, flags = struct.unpack_from(">IIBB", segment, 4)
            data = segment[(offset >> 4) * 4 :]
            if flags & _SYN:
                expected = number + 1
                send(_PSH | _ACK, sequence, expected, request)
                sequence += len(request)
                continue
            if number != expected:
                continue
            received += data
            expected += len(data) + (flags & _FIN)
            if flags & _FIN or _is_complete(received):
                send(_FIN | _ACK, sequence, expected)
                return received
            if data:
                send(_ACK, sequence, expected)


def _is_complete(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
    return length is not None and len(body) >= int(length[1])


def _checksum(data: bytes) -> int:
    """Return the sum of RFC 1071."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += (data[-1] << 8) if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _packet(
    ends: tuple[bytes, bytes],
    ports: tuple[int, int],
    flags: int,
    sequence: int,
    acknowledged: int,
    data: bytes,
) -> bytes:
    head = struct.pack(">HHIIBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, 65535, 0, 0)
    pseudo = ends[0] + ends[1] + struct.pack(">HH", 6, len(head) + len(data))
    head = head[:16] + struct.pack(">H", _checksum(pseudo + head + data)) + head[18:]
    outer = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(head) + len(data), 0, 0, 64, 6, 0) + ends[0] + ends[1]
    outer = outer[:10] + struct.pack(">H", _checksum(outer)) + outer[12:]
    return outer + head + data

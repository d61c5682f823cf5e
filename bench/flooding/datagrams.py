"""Floods of datagrams: what is sent, and sending it as fast as it goes."""
import os
import random
import socket
import struct
import time

from flooding import wire
from flooding.agents import PORT

ROUND, SOURCES, MANY = 2048, 16, 200
# What stands behind a kind if the datagrams come from elsewhere than a few strangers.
FROM_MANY, FROM_MEMBER = ", from many", ", from a member's address"
STRANGER = b"stranger"


def send(number, until, victim, kind, seed, recorded):
    """Sends as much as it can from several addresses until the time is over."""
    rng = random.Random(seed + number)
    sockets = [source.send for source in sources(number, victim, kind)]
    packets = make(rng, kind.replace(FROM_MANY, "").replace(FROM_MEMBER, ""), recorded)
    sent = refused = turn = 0
    while time.monotonic() < until:
        turn += ROUND // 128
        for at in range(0, len(packets), 128):
            call = sockets[(turn + at // 128) % len(sockets)]
            for packet in packets[at:at + 128]:
                try:
                    call(packet)
                except OSError:
                    refused += 1
            sent += len(packets[at:at + 128])
    return {"sent": sent - refused, "refused": refused}


def sources(number, victim, kind):
    """Sockets on the addresses from which it is sent."""
    for source in range(MANY if kind.endswith(FROM_MANY) else SOURCES):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((victim[:-1] + "2", 0) if kind.endswith(FROM_MEMBER) else (f"127.78.{100 + number}.{source + 1}", 0))
        one.connect((victim, PORT))
        yield one


def make(rng, kind, recorded):
    """The packets of one round."""
    if kind == "replayed":
        return (recorded * (ROUND // len(recorded) + 1))[:max(ROUND, len(recorded))]
    return [KINDS[kind](rng, recorded) for _ in range(ROUND)]


def noise(rng, most=1400):
    return os.urandom(rng.randrange(1, most))


def mutated(rng, recorded):
    packet = bytearray(rng.choice(recorded))
    for _ in range(rng.randrange(1, 9)):
        packet[rng.randrange(len(packet))] ^= 1 << rng.randrange(8)
    return bytes(packet)


def typed(rng, _):
    """Random behind a type byte of memberlist, and of Serf where that is what it is."""
    kind = rng.choice((0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 0xb5, 0xf4))
    return bytes([kind]) + (bytes([rng.randrange(10)]) if kind == 8 else b"") + noise(rng)


def accused(rng, _):
    """Suspicions and deaths of members that do not exist."""
    name = STRANGER + b"-%d" % rng.randrange(1000)
    return wire.message(rng.choice((3, 5)), From=name, Incarnation=rng.randrange(1 << 32), Node=name)


def nested(rng, _):
    """Compounds in compounds, and compressed messages in each other."""
    inner = wire.ack(rng.randrange(1 << 32))
    for _ in range(rng.randrange(2, 12)):
        inner = wire.compressed(wire.lzw(inner)) if rng.randrange(3) == 0 else wire.compound([inner] * min(255, max(1, 1200 // len(inner))))
    return inner[:60000]


def full(rng, _):
    """As many tiny messages as a compound has room for."""
    return wire.compound([rng.choice((b"\x02\x80", b"\x0b\x80", b"\x07\x00", b"\x09\x80", b"\x03\x80", b"\x63", b""))] * 255)


BOMBS = {size: wire.lzw(bytes(size)) for size in (200_000, 4_000_000)}


def bomb(rng, _):
    """Little that expands to much: as much as the packet's size allows, and far more."""
    return wire.compressed(BOMBS[rng.choice(list(BOMBS))])


def ping(rng, _):
    return wire.ping(rng.choice((b"", b"p1", b"p2", STRANGER)).decode(), rng.randrange(1 << 32))


def ack(rng, _):
    return wire.ack(rng.randrange(1 << 32)) if rng.randrange(2) else wire.message(11, SeqNo=rng.randrange(1 << 32))


def indirect_ping(rng, _):
    """A third party, which exists in part, is to be pinged."""
    target = socket.inet_aton(rng.choice(("127.78.2.2", "127.78.250.9")))
    return wire.indirect_ping(rng.choice(("p2", "stranger")), target, rng.choice((PORT, 9)), rng.randrange(1 << 32))


def as_recorded(rng, recorded):
    return rng.choice(recorded)


KINDS = {"random": lambda rng, _: noise(rng), "long random": lambda rng, _: noise(rng, 65000), "mutated": mutated,
         "wrong key": as_recorded, "plaintext": as_recorded, "typed random": typed, "accusations": accused,
         "nested compounds": nested, "full compounds": full, "LZW bombs": bomb, "pings": ping, "acks for nobody": ack,
         "indirect pings": indirect_ping}


def answers(victim, source):
    """Whether memberlist's own encodings are understood: a ping in a compressed message that is long enough to fill LZW's table."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((source, 0))
        one.settimeout(10)
        filler = b"".join(struct.pack(">H", number * 7919 % 65536) for number in range(4000))
        one.sendto(wire.compressed(wire.lzw(wire.ping("", 4711) + filler)), (victim, PORT))
        return one.recv(2000)[:1] in (b"\x02", b"\x07")

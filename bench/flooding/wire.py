"""msgpack, LZW and memberlist's plain messages: as much of them as an attacker needs."""
import struct


def pack(value):
    """A value as msgpack: text as str, bytes as bin."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if 0 <= value < 128:
            return bytes([value])
        for mark, form, most in ((0xcc, ">B", 1 << 8), (0xcd, ">H", 1 << 16), (0xce, ">I", 1 << 32), (0xcf, ">Q", 1 << 64)):
            if 0 <= value < most:
                return bytes([mark]) + struct.pack(form, value)
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0xa0 | len(text)]) if len(text) < 32 else b"\xda" + struct.pack(">H", len(text))) + text
    if isinstance(value, bytes):
        return b"\xc5" + struct.pack(">H", len(value)) + value
    if isinstance(value, list):
        return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(pack, value))
    return bytes([0x80 | len(value)]) + b"".join(pack(key) + pack(value[key]) for key in sorted(value))


class Short(Exception):
    """More bytes are needed."""


FIXED = {0xca: ">f", 0xcb: ">d", 0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q", 0xd0: ">b", 0xd1: ">h", 0xd2: ">i", 0xd3: ">q"}
LONG = {0xd9: (">B", str), 0xda: (">H", str), 0xdb: (">I", str), 0xc4: (">B", bytes), 0xc5: (">H", bytes), 0xc6: (">I", bytes),
        0xdc: (">H", list), 0xdd: (">I", list), 0xde: (">H", dict), 0xdf: (">I", dict)}


def unpack(data, at=0):
    """The value at `at` and where it ends; text and bytes alike as bytes, keys as str."""
    def take(count):
        nonlocal at
        if len(data) - at < count:
            raise Short
        at += count
        return data[at - count:at]

    mark = take(1)[0]
    if mark < 0x80 or mark >= 0xe0:
        return (mark if mark < 0x80 else mark - 256), at
    if mark in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[mark], at
    if mark in FIXED:
        return struct.unpack(FIXED[mark], take(struct.calcsize(FIXED[mark])))[0], at
    if mark in LONG:
        form, kind = LONG[mark]
        count = struct.unpack(form, take(struct.calcsize(form)))[0]
    elif 0xa0 <= mark <= 0xbf:
        count, kind = mark & 0x1f, str
    elif 0x90 <= mark <= 0x9f:
        count, kind = mark & 0x0f, list
    elif 0x80 <= mark <= 0x8f:
        count, kind = mark & 0x0f, dict
    else:
        raise ValueError(f"msgpack {mark:#x}")
    if kind in (str, bytes):
        return take(count), at
    values = []
    for _ in range(count * (2 if kind is dict else 1)):
        value, at = unpack(data, at)
        values.append(value)
    if kind is list:
        return values, at
    return {key.decode(): value for key, value in zip(values[::2], values[1::2])}, at


def lzw(data):
    """LZW as Go writes it: least significant bit first, 8-bit literals."""
    out, bits, held = bytearray(), 0, 0
    width, high, table = 9, 257, {}

    def emit(code):
        nonlocal bits, held
        bits |= code << held
        held += width
        while held >= 8:
            out.append(bits & 0xff)
            bits >>= 8
            held -= 8

    def advance():
        nonlocal width, high
        high += 1
        if high == 1 << width:
            width += 1
        if high == 4095:
            width = 12
            emit(256)
            width, high = 9, 257
            table.clear()
            return False
        return True

    emit(256)
    code = data[0]
    for byte in data[1:]:
        longer = table.get((code, byte))
        if longer is not None:
            code = longer
            continue
        emit(code)
        if advance():
            table[code, byte] = high
        code = byte
    emit(code)
    advance()
    emit(257)
    if held:
        out.append(bits & 0xff)
    return bytes(out)


def raw(value):
    """Bytes as Go's old msgpack writes them: as a str."""
    head = bytes([0xa0 | len(value)]) if len(value) < 32 else b"\xda" + struct.pack(">H", len(value))
    return head + value


def message(kind, **fields):
    """A message of memberlist: type byte and map. Bytes go as str."""
    return bytes([kind]) + bytes([0x80 | len(fields)]) + b"".join(
        pack(key) + (raw(fields[key]) if isinstance(fields[key], bytes) else pack(fields[key])) for key in sorted(fields))


def ping(node, seq, **source):
    return message(0, Node=node, SeqNo=seq, **source)


def ack(seq):
    return message(2, Payload=None, SeqNo=seq)


def indirect_ping(node, target, port, seq):
    return message(1, Nack=True, Node=node, Port=port, SeqNo=seq, Target=target)


def compound(parts):
    return b"\x07" + bytes([len(parts)]) + b"".join(struct.pack(">H", len(part)) for part in parts) + b"".join(parts)


def compressed(inner):
    return b"\x09\x82" + pack("Algo") + b"\x00" + pack("Buf") + b"\xdb" + struct.pack(">I", len(inner)) + inner

"""Checkpoint tables, read and written from docs/bucket-format.md section 9 alone."""

import hashlib
import json
import struct

POLYNOMIAL = 0x82F63B78
TABLE = []
for n in range(256):
    for _ in range(8):
        n = (n >> 1) ^ (POLYNOMIAL if n & 1 else 0)
    TABLE.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def records(block):
    """Key and value of each record of a block; its CRC must hold."""
    count, crc = struct.unpack("<II", block[-8:])
    assert crc == crc32c(block[:-4]), "CRC"
    at, found = 0, []
    for _ in range(count):
        key_len, at = number(block, at)
        value_len, at = number(block, at)
        found.append((block[at : at + key_len], block[at + key_len : at + key_len + value_len]))
        at += key_len + value_len
    assert at == len(block) - 8 - 4 * count
    return found


def places(part, index):
    for _, value in records(part[len(part) - index :]):
        offset, at = number(value, 0)
        yield offset, number(value, at)[0]


def seal(block):
    return block[:-4] + struct.pack("<I", crc32c(block[:-4]))


def split(text):
    """A head: its keys, and the bytes of an inline part."""
    head, _, part = text.partition(b"\n")
    return json.loads(head), part


def part_changed(part, index, old, new):
    """The part with bytes of equal length in place of others, and every CRC as it must be."""
    assert part.count(old) >= 1 and len(old) == len(new)
    part = bytearray(part.replace(old, new))
    for offset, size in list(places(bytes(part), index)):
        part[offset : offset + size] = seal(bytes(part[offset : offset + size]))
    return bytes(part)


def head_changed(text, old, new):
    """The head with another inline part, named by its digest, and a sum that holds."""
    keys, part = split(text)
    changed = part_changed(part, keys["parts"][0][3], old, new)
    head = text.partition(b"\n")[0].replace(
        hashlib.sha256(part).hexdigest().encode(), hashlib.sha256(changed).hexdigest().encode()
    )
    return summed(head[: head.rindex(b',"sum"')]) + b"\n" + changed


def summed(head):
    return head + b',"sum":"' + hashlib.sha256(head).hexdigest().encode() + b'"}'

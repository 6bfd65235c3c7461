"""Read the states of a summary without bgsim, as docs/reference/store-format.md says."""

from fractions import Fraction

import numpy as np

SLOTS, LARGE, SIGN = 128, 512, 2**63


def read_tally(raw, dtype, shape):
    """Return, for each element of a replicate's value, the counts of NaNs, least and greatest value, sum and sum of squares."""
    kind, elements = np.dtype(dtype).kind, int(np.prod(shape))
    keys = 4096 if kind == "f" else LARGE + 128
    assert raw[0] == 1
    head = np.frombuffer(raw, "<i8", 2 + 3 * elements, 1).tolist()
    number, at = head[-1], 1 + 8 * len(head)
    owners = np.frombuffer(raw, "<i8", number, at)
    at += 8 * number
    summed = owners % keys & 2047 != 2047 if kind == "f" else owners % keys >= LARGE
    sums = iter(np.frombuffer(raw, "<u8", 5 * int(summed.sum()), at).reshape(-1, 5).tolist())
    at += 40 * int(summed.sum())
    there = np.unpackbits(np.frombuffer(raw, np.uint8, number * SLOTS // 8, at)).reshape(number, SLOTS).astype(bool)
    at += number * SLOTS // 8
    width, bytes_of = raw[at], np.frombuffer(raw, np.uint8, offset=at + 1).reshape(raw[at], -1)
    values = sum(bytes_of[i].astype(object) * 256**i for i in range(width))
    counts = np.zeros((number, SLOTS), object)
    counts[there] = values
    found = [
        {"nan": head[1 + 3 * e], "total": Fraction(0), "squares": Fraction(0), "valid": 0} for e in range(elements)
    ]
    for e, each in enumerate(found):
        each["least"], each["greatest"] = (_value(kind, order) for order in head[2 + 3 * e : 4 + 3 * e])
    for owner, row, has_sums in zip(owners.tolist(), counts, summed.tolist(), strict=True):
        each, key = found[owner // keys], owner % keys
        each["valid"] += sum(row)
        if has_sums:
            words, negative = next(sums), key >= 2048 if kind == "f" else key >= LARGE + 64
            unit = Fraction(2) ** (max(key & 2047, 1) - 1075) if kind == "f" else 1
            each["total"] += _joined(words[:2]) * unit * (-1 if negative else 1)
            each["squares"] += _joined(words[2:]) * unit**2
        elif kind != "f":
            each["total"] += sum(n * ((key - 256) * SLOTS + slot) for slot, n in enumerate(row))
            each["squares"] += sum(n * ((key - 256) * SLOTS + slot) ** 2 for slot, n in enumerate(row))
    assert all(each["valid"] + each["nan"] == head[0] for each in found)
    return found


def read_pairs(raw):
    """Return the valid pairs, and the sums of x, of y and of x*y."""
    assert raw[0] == 1
    _, valid, *infinite, sides, products = np.frombuffer(raw, "<i8", 8, 1).tolist()
    assert not any(infinite)
    rows = np.frombuffer(raw, "<i8", sides + products, 65).tolist()
    words = np.frombuffer(raw, "<u8", 5 * sides + 3 * products, 65 + 8 * len(rows)).tolist()
    total = [Fraction(0)] * 3
    for i, row in enumerate(rows):
        if i < sides:
            size, sign, unit = _joined(words[5 * i : 5 * i + 2]), row % 4096 >= 2048, (row & 2047) - 1075
        else:
            begin = 5 * sides + 3 * (i - sides)
            size, sign, unit = _joined(words[begin : begin + 3]), row >= 4096, (row & 4095) - 2150
        total[row // 4096 if i < sides else 2] += Fraction(2) ** unit * (-size if sign else size)
    return valid, *total


def _joined(words):
    return sum(word << 64 * i for i, word in enumerate(words))


def _value(kind, order):
    if kind == "f":
        return np.array(order ^ (SIGN - 1) if order < 0 else order, "<i8").view("<f8").item()
    return order + SIGN if kind == "u" else order

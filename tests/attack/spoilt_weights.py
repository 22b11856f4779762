"""Ways to spoil a safetensors file, on its bytes: length of the header, JSON header, tensors' entries, and data."""

import json
import math
import random
from collections.abc import Callable

WIDTH = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1,
         "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip
NOT_FINITE = {"F64": b"\0\0\0\0\0\0\xf8\x7f", "F32": b"\0\0\xc0\x7f", "F16": b"\0\x7e", "BF16": b"\xc0\x7f",
              "F8_E4M3": b"\x7f", "F8_E5M2": b"\x7f"}  # fmt: skip
VALUES = (
    0, -1, 1, 3, 10**6, 10**9, 2**31, 2**63, 10**30, -(10**30), 1.5, 1e-30, 1e300, float("nan"), float("inf"),
    -float("inf"), "", "7", "text", "\ud7ff\0", "x" * 100_000, None, True, [], {}, [[]], [1, 2, 3], {"a": None},
)  # fmt: skip
NAMES = (
    "blocks.100000.modulation", "blocks.1000000.ffn.0.weight", "blocks.-1.modulation", "blocks.x.modulation",
    "layers.1000000.0.to_q.weight", "layers.²3.0", f"layers.{'9' * 5000}.0", f"blocks.{'9' * 5000}.cross_attn.q.weight",
    "encoder.block.100000.layer.0.layer_norm.weight", "decoder.upsamples.100000.residual.0.gamma", "", ".", "..",
    "../../x", "weights.", "\0", "\U0001f600", "a" * 100_000, "spiece_model", "num_batches_tracked",
)  # fmt: skip
SIZES = (0, 1, 2, 3, 7, 2**16, 200_000, 2**31, 2**40, 2**62)


class Parts:
    """A safetensors file taken apart: `entries` is its own JSON header, `data` the bytes behind it."""

    def __init__(self, content: bytes):
        length = int.from_bytes(content[:8], "little")
        self.entries: dict = json.loads(content[8 : 8 + length])
        self.data = bytearray(content[8 + length :])

    def tensors(self) -> list[str]:
        return [name for name in self.entries if name != "__metadata__"]

    def whole(self, text: str | None = None) -> bytes:
        """
        Args:
            text: a header to put in place of the entries.
        """
        header = (json.dumps(self.entries) if text is None else text).encode("utf-8", "surrogatepass")
        return len(header).to_bytes(8, "little") + header + bytes(self.data)


def flip(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 8, 100))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def flip_in_header(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    end = min(len(data), 8 + int.from_bytes(content[:8], "little"))
    for _ in range(rng.choice((1, 3, 20))):
        data[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.choice((0, 1, 7, 8, 9, rng.randrange(len(content)), len(content) - 1))]


def append(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.choice((1, 8, 5000)))


def lie_about_length(content: bytes, rng: random.Random) -> bytes:
    real = int.from_bytes(content[:8], "little")
    length = rng.choice((0, 1, real - 1, real + 1, len(content), 2 * real, 10**8, 2**31, 2**32, 2**63, 2**64 - 1))
    return length.to_bytes(8, "little") + content[8:]


def header_that_is_none(content: bytes, rng: random.Random) -> bytes:
    parts = Parts(content)
    depth = rng.choice((100, 1000, 100_000))
    texts = ["", "[]", "null", "{", '"text"', "[" * depth, '{"a":' * depth, "[" * depth + "]" * depth, "{}", "\0",
             '{"__metadata__": 7}', '{"__metadata__": {"slotid": 7}}', '{"a": {"dtype": "F32"}}']  # fmt: skip
    return parts.whole(rng.choice(texts))


def edit_json(content: bytes, rng: random.Random) -> bytes:
    """One value of the pack's own header, anywhere in it, replaced, left out or nested deeply."""
    parts = Parts(content)
    metadata = parts.entries.setdefault("__metadata__", {})
    header = json.loads(metadata.get("slotid") or '{"kind": "x", "version": 1}')
    place, key = header, rng.choice(list(header))
    while isinstance(place[key], dict) and place[key] and rng.random() < 0.8:
        place = place[key]
        key = rng.choice(list(place))
    way = rng.choice(("value", "value", "value", "value", "left out", "deep", "huge"))
    if way == "left out":
        del place[key]
    elif way == "deep":
        for _ in range(rng.choice((20, 40, 300))):
            place[key] = [place[key]]
    elif way == "huge":
        place[key] = "a" * rng.choice((10**5, 5_000_000))
    else:
        place[key] = rng.choice(VALUES)
    metadata["slotid"] = json.dumps(header)
    return parts.whole()


def rename(content: bytes, rng: random.Random) -> bytes:
    parts = Parts(content)
    old = rng.choice(parts.tensors())
    parts.entries[rng.choice(NAMES)] = parts.entries.pop(old)
    return parts.whole()


def add(content: bytes, rng: random.Random) -> bytes:
    """A tensor of an odd name, behind the others."""
    parts = Parts(content)
    start = len(parts.data)
    parts.data += bytes(4)
    parts.entries[rng.choice(NAMES)] = {"dtype": "F32", "shape": [1], "data_offsets": [start, start + 4]}
    return parts.whole()


def renumber(content: bytes, rng: random.Random) -> bytes:
    """A number inside of a tensor's name, such as that of its layer, becomes another."""
    parts = Parts(content)
    numbered = [name for name in parts.tensors() if any(piece.isdigit() for piece in name.split("."))]
    old = rng.choice(numbered or parts.tensors())
    pieces = old.split(".")
    places = [place for place, piece in enumerate(pieces) if piece.isdigit()] or [0]
    pieces[rng.choice(places)] = rng.choice(("100000", "1000000", "-1", "01", "1e3", "٣", "9" * 4301, "x", "", "2"))
    parts.entries[".".join(pieces)] = parts.entries.pop(old)
    return parts.whole()


def reshape(content: bytes, rng: random.Random) -> bytes:
    """Another shape of as many numbers, or one that the data do not bear out."""
    parts = Parts(content)
    entry = parts.entries[rng.choice(parts.tensors())]
    shape = list(entry["shape"])
    ways: list[Callable[[], list]] = [
        lambda: [math.prod(shape)], lambda: [*shape, 1], lambda: [1, *shape], lambda: shape[::-1],
        lambda: [1] * 60 + shape, lambda: [*shape, 0], lambda: [rng.choice(SIZES)],
        lambda: [rng.choice(SIZES), *shape[1:]], lambda: [-1, *shape], lambda: ["3"], lambda: [1.5],
    ]  # fmt: skip
    entry["shape"] = rng.choice(ways)()
    return parts.whole()


def resize(content: bytes, rng: random.Random) -> bytes:
    """A tensor with another number of entries along one axis, and data that bear it out, up to 8 MiB."""
    parts = Parts(content)
    name = rng.choice(parts.tensors())
    entry = parts.entries.pop(name)
    width, shape = WIDTH.get(entry["dtype"], 4), list(entry["shape"]) or [1]
    rest = max(1, math.prod(shape[1:])) * width
    shape[0] = min(rng.choice((0, 1, shape[0] + 1, 2 * shape[0], 200_000)), 2**23 // rest)
    start, length = len(parts.data), math.prod(shape) * width
    parts.data += bytes(length)
    fresh = {"dtype": entry["dtype"], "shape": shape, "data_offsets": [start, start + length]}
    # The old place must stay taken, as safetensors allows no holes.
    parts.entries |= {name: fresh, f"{name}_before": entry}
    return parts.whole()


def retype(content: bytes, rng: random.Random) -> bytes:
    """Another type of numbers: of the same width, or one that does not fit, or none."""
    parts = Parts(content)
    entry = parts.entries[rng.choice(parts.tensors())]
    width = WIDTH.get(entry["dtype"], 4)
    same = [name for name, size in WIDTH.items() if size == width and name != entry["dtype"]]
    entry["dtype"] = rng.choice([*same, *same, "F4", "F64", "BOOL", "C64", "", "f32", None, 7])
    return parts.whole()


def not_finite(content: bytes, rng: random.Random) -> bytes:
    parts = Parts(content)
    floats = [name for name in parts.tensors() if parts.entries[name]["dtype"] in NOT_FINITE]
    for name in rng.sample(floats, min(len(floats), rng.choice((1, 3)))):
        entry = parts.entries[name]
        bits = NOT_FINITE[entry["dtype"]]
        start, end = entry["data_offsets"]
        if end > start:
            place = start + len(bits) * rng.randrange((end - start) // len(bits))
            parts.data[place : place + len(bits)] = bits
    return parts.whole()


def move(content: bytes, rng: random.Random) -> bytes:
    """Offsets that overlap, run backwards, or lie beyond the end."""
    parts = Parts(content)
    entry = parts.entries[rng.choice(parts.tensors())]
    start, end = entry["data_offsets"]
    entry["data_offsets"] = rng.choice(
        (
            [end, start],
            [start + 1, end + 1],
            [0, end - start],
            [2**62, 2**62 + end - start],
            [-8, 0],
            [start, 2**64 - 1],
        )
    )
    return parts.whole()


def leave_out(content: bytes, rng: random.Random) -> bytes:
    parts = Parts(content)
    name = rng.choice(parts.tensors())
    parts.entries.pop(name)
    return parts.whole()


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip, flip_in_header, cut, append, lie_about_length, header_that_is_none, edit_json, edit_json, edit_json, rename,
    add, renumber, reshape, resize, retype, not_finite, move, leave_out,
)  # fmt: skip

"""What clients of a stream may say, right or wrong, as hypothesis strategies."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from hypothesis import strategies as st

from service.streams.header import HEADER_BYTES
from service.streams.messages import Hello, StreamOptions
from tests.fake_engine import discs, person_at
from tests.photos import encode
from tests.stream_talk import Talk, small_jpeg
from tests.websocket_bytes import Opcode, pack

FRAME_BYTES = 60_000
"""The limit of the service that is talked to."""

# --- texts

_NUMBERS = st.one_of(
    st.integers(-3, 2000),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.sampled_from([0, -0.0, 1e308, 2**31, 2**63, 2**64, float("nan"), float("inf")]),
)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_GOOD = {
    "resolution": st.sampled_from(["fast", "balanced", 128, 256, "200"]),
    "min_score": st.floats(0, 1),
    "max_people": st.integers(1, 30),
    "track": st.booleans(),
    "smooth": st.booleans(),
    "draw": st.booleans(),
}
_GOOD_HELLO = _GOOD | {
    "credits": st.integers(1, 16),
    "encoding": st.sampled_from(["json", "msgpack"]),
    "key": st.text(max_size=20),
    "model": st.sampled_from([None, "discs"]),
}
_ODD = ["type", "model", "id", "RESOLUTION", "", "__class__", "fps", "credits", "encoding", "resolution", "draw"]
_BROKEN = [
    "", " ", "{", "}", "null", "[]", '"hello"', "0", "NaN", "{}", '{"type"}', "\x00", "\ufeff{}", "hello",
    "[" * 50_000, '{"a":' * 10_000, "[" * 15_000, '{"a":' * 3000, '{"type":"hello","credits":' + "9" * 6000 + "}",
    '{"type":"hello","min_score":1e999}', '{"type":"hello","min_score":-1e999}', '{"type":"hello","model":"\\ud800"}',
    '{"type":"hello","key":"\\ud800\\u0000"}', '{"type":"hello","type":"options"}', '{"type":"options","type":"hello"}',
    '{"type":"hello","credits":1,"credits":99}', '{"type":"hello","credits":99,"credits":1}', '{"type":"hello"}}',
    '{"type":"hello"} {"type":"hello"}', '{"type":"Hello"}', '{"type":["hello"]}', '{"type":{"hello":1}}',
    '{"type":"hello","resolution":' + "[" * 3000 + "]" * 3000 + "}", '{"type":"hello",}', "{'type':'hello'}",
    '{"type":"hello","model":"' + "x" * 40_000 + '"}', '{"type":"welcome"}', '{"type":"result"}', '{"type":"error"}',
]  # fmt: skip


def _objects(kind: str, good: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[str]:
    """Objects of this type, right but for one member at most."""
    right = st.fixed_dictionaries({"type": st.just(kind)}, optional=good)
    wrong = st.dictionaries(st.sampled_from([*good, *_ODD]), _VALUES, max_size=1)
    return st.builds(lambda values, others: json.dumps(values | others), right, wrong)


def _mutated(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts with a piece cut out, and another put in."""
    piece = st.text('{}[]",:\\ 0123456789.eE-+nulltrafsxyz\u2028\u00e9', max_size=4)

    def mutate(text: str, at: int, size: int, new: str) -> str:
        at %= len(text) + 1
        return text[:at] + new + text[at + size :]

    return st.builds(mutate, texts, st.integers(0, 200), st.integers(0, 9), piece)


_HELLOS = _objects("hello", _GOOD_HELLO)
_OPTIONS = _objects("options", _GOOD)
ANYTHING = st.text(max_size=30) | _VALUES.map(json.dumps) | st.sampled_from(_BROKEN)
HELLOS = st.one_of(_HELLOS, _HELLOS, _mutated(_HELLOS), ANYTHING, _OPTIONS)
OPTIONS = st.one_of(_OPTIONS, _OPTIONS, _mutated(_OPTIONS), ANYTHING, _HELLOS)


def is_right(text: str, kind: str) -> bool | None:
    """Whether this is a good message of the type ``hello`` or ``options``; None if opinions may differ.

    They may where two ways to read JSON differ, and where only the type is missing.
    """
    model = {"hello": Hello, "options": StreamOptions}[kind]
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(values, dict) or values.get("type") != kind:
        return None if isinstance(values, dict) and "type" not in values and kind == "hello" else False
    members = {name: value for name, value in values.items() if kind == "hello" or name != "type"}
    in_python = _fits(lambda: model.model_validate(members))
    in_json = _fits(lambda: model.model_validate_json(json.dumps(members)))
    same_model = kind != "hello" or values.get("model") in (None, "discs")
    return (in_python and same_model) if in_python == in_json else None


def _fits(validate: Callable[[], object]) -> bool:
    try:
        validate()
    except (ValueError, RecursionError):
        return False
    return True


# --- pictures


@cache
def pictures() -> list[bytes]:
    """Files that are easily decoded, and some that are not what a stream takes."""
    image = discs(96, 72, person_at(50, 45, 30), 6)
    kinds = ("jpeg", "webp", "png", "bmp")
    return [encode(image, kind) for kind in kinds] + [encode(discs(33, 21, {}), "webp"), huge_jpeg()]


def huge_jpeg(width: int = 12_000, height: int = 9_000) -> bytes:
    """A few kilobytes that say they are over 100 megapixels."""
    data = bytearray(small_jpeg())
    at = data.index(b"\xff\xc0")  # the start of the frame: its length, precision, height, width
    data[at + 5 : at + 9] = struct.pack("!HH", height, width)
    return bytes(data)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A picture, most often cut short, changed, or something else."""
    data = bytearray(draw(st.sampled_from(pictures())))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data) + draw(st.binary(max_size=8))


BODIES = st.one_of(bodies(), bodies(), st.binary(max_size=60), st.just(b""))

# --- headers


@dataclass(frozen=True)
class RawHeader:
    """A header, right or wrong."""

    kind: int = 1
    zero: int = 0
    length: int = HEADER_BYTES
    sequence: int = 0
    timestamp: float = 0.0
    cut: int = HEADER_BYTES

    def pack(self) -> bytes:
        """The bytes of it."""
        return struct.pack("!BBHId", self.kind, self.zero, self.length, self.sequence, self.timestamp)[: self.cut]

    @property
    def is_right(self) -> bool:
        """Whether a picture may follow."""
        start = (self.kind, self.zero, self.length) == (1, 0, HEADER_BYTES) and self.cut == HEADER_BYTES
        return start and 0 <= self.timestamp <= 1e10


_SEQUENCES = st.integers(0, 40) | st.sampled_from([2**31, 2**32 - 2, 2**32 - 1]) | st.integers(0, 2**32 - 1)
_TIMES = st.floats(0, 1e10) | st.floats() | st.sampled_from([1e10, 1.0000001e10, -0.0, 5e-324, float("nan")])
HEADERS = st.one_of(
    st.builds(RawHeader, sequence=_SEQUENCES, timestamp=st.floats(0, 1e10)),
    st.builds(RawHeader, sequence=_SEQUENCES, timestamp=_TIMES),
    st.builds(RawHeader, kind=st.integers(0, 255)),
    st.builds(RawHeader, zero=st.integers(0, 255), sequence=_SEQUENCES),
    st.builds(RawHeader, length=st.integers(0, 2**16 - 1), sequence=_SEQUENCES),
    st.builds(RawHeader, cut=st.integers(0, HEADER_BYTES)),
)

# --- frames

_OPCODES = st.integers(0, 15)
_PAYLOADS = st.binary(max_size=40) | st.sampled_from([bytes(125), bytes(126), bytes(200)])
_CODES = st.integers(0, 65535) | st.sampled_from([1000, 1001, 1005, 1006, 1015, 3000, 4000, 4999])
CLOSES = st.one_of(
    st.just(b""),
    st.binary(max_size=3),
    st.builds(lambda code, reason: struct.pack("!H", code) + reason, _CODES, st.binary(max_size=20)),
    st.builds(lambda code, reason: struct.pack("!H", code) + reason.encode()[:100], _CODES, st.text(max_size=20)),
)
FRAMES = st.one_of(
    st.builds(pack, _OPCODES, _PAYLOADS, final=st.booleans()),
    st.builds(pack, _OPCODES, _PAYLOADS, reserved=st.integers(0, 7)),
    st.builds(pack, _OPCODES, _PAYLOADS, masked=st.booleans()),
    st.builds(pack, _OPCODES, _PAYLOADS, form=st.sampled_from([0, 126, 127])),
    st.builds(pack, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
    st.builds(pack, st.just(Opcode.CLOSE), CLOSES),
    st.builds(lambda data: pack(Opcode.TEXT, data), st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"a\xf0\x9f"])),
)
_LENGTHS = st.integers(FRAME_BYTES + HEADER_BYTES + 1, 2**64 - 1)
OVERSIZED = st.builds(
    lambda opcode, size, sent: bytes([0x80 | opcode, 0xFF]) + struct.pack("!Q", size) + bytes(4 + sent),
    st.sampled_from([Opcode.TEXT, Opcode.BINARY]),
    _LENGTHS,
    st.integers(0, 5000),
)
"""The head of a message that is over the limit, and the start of its payload."""


def fragments(opcode: int, payload: bytes, cuts: list[int], between: bytes) -> bytes:
    """One message in several frames, with something between them."""
    places = sorted({cut % (len(payload) + 1) for cut in cuts})
    parts = [payload[a:b] for a, b in zip([0, *places], [*places, len(payload)], strict=True)]
    frames = [pack(opcode if i == 0 else Opcode.MORE, part, final=i == len(parts) - 1) for i, part in enumerate(parts)]
    return between.join(frames)


# --- conversations

Action = Callable[[Talk], None]


def _rude(data: bytes) -> Action:
    def say(talk: Talk) -> None:
        talk.rude = True
        talk.connection.send(data)

    return say


def _picture(body: bytes, step: int, timestamp: float) -> Action:
    def say(talk: Talk) -> None:
        talk.picture(body, step=step, timestamp=timestamp)

    return say


ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.builds(_picture, st.just(small_jpeg()), st.integers(1, 5), st.floats(0, 1e10)),
    st.builds(_picture, st.just(small_jpeg()), st.just(1), st.just(0.0)),
    st.builds(_picture, BODIES, st.integers(1, 5), st.floats(0, 1e10)),
    st.builds(lambda: lambda talk: talk.settle()),
    st.builds(lambda: lambda talk: talk.settle(1)),
    st.builds(lambda text: lambda talk: talk.text(text), _OPTIONS),
    st.builds(lambda text: lambda talk: talk.text(text), OPTIONS),
    st.builds(lambda header: lambda talk: talk.binary(header.pack() + small_jpeg()), HEADERS),
    st.builds(_rude, FRAMES),
    st.builds(
        lambda cuts, text: _rude(fragments(Opcode.TEXT, text.encode(), cuts, pack(Opcode.PING))),
        st.lists(st.integers(0, 300), min_size=1, max_size=4),
        _OPTIONS,
    ),
)

"""A network camera: RTSP 1.0 over TCP with interleaved RTP (RFC 2326, 3550), sending H.264 (RFC 6184) from a clip."""

from __future__ import annotations

import base64
import re
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext

_MOST_PAYLOAD = 1400
_FU_A, _PAYLOAD_TYPE, _CLOCK = 28, 96, 90_000
_FIRST_TICKS = 4_000_000  # any number but 0, as of a real camera
_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=camera
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:track1
"""


class RtspCamera(socketserver.ThreadingTCPServer):
    """Plays a clip to everybody who connects, each time from its beginning, and closes the connection then.

    Args:
        clip: H.264 without B-frames.
        login: ``user:password`` that is asked for.
        silent_after: frames after which it keeps the connection and sends nothing more.

    Attributes:
        plays: how often it was asked to play.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, clip: Path, login: str | None = None, silent_after: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.units = list(_units(clip))
        self.login = login
        self.silent_after = silent_after
        self.plays = 0
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.server_address[1]}/live"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go."""


class _Connection(socketserver.StreamRequestHandler):
    server: RtspCamera  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        while request := self._request():
            method, headers = request
            login = self.server.login
            if login and headers.get("authorization") != f"Basic {base64.b64encode(login.encode()).decode()}":
                self._answer(headers, "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n')
                continue
            extra = {
                "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
                "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
                "PLAY": "Session: 1\r\n",
            }.get(method, "")
            if method == "DESCRIBE":
                sdp = _SDP.replace("\n", "\r\n")
                self._answer(headers, "200 OK", f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n", sdp)
                continue
            self._answer(headers, "200 OK", extra)
            if method == "PLAY":
                self.server.plays += 1
                self._play()
                return

    def _request(self) -> tuple[str, dict[str, str]] | None:
        first = self.rfile.readline().decode()
        headers: dict[str, str] = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return (first.split()[0], headers) if first.strip() else None

    def _answer(self, headers: dict[str, str], status: str, extra: str, body: str = "") -> None:
        self.wfile.write(f"RTSP/1.0 {status}\r\nCSeq: {headers.get('cseq', '0')}\r\n{extra}\r\n{body}".encode())

    def _play(self) -> None:
        sequence, start = 0, time.monotonic()
        for number, (seconds, unit) in enumerate(self.server.units):
            if number == self.server.silent_after:
                self.server.closing.wait(60)
                return
            self.server.closing.wait(max(0.0, start + seconds - time.monotonic()))
            payloads = list(_payloads(unit))
            for payload in payloads:
                marker = 0x80 if payload is payloads[-1] else 0
                header = struct.pack(
                    "!BBHII", 0x80, marker | _PAYLOAD_TYPE, sequence & 0xFFFF, _FIRST_TICKS + round(seconds * _CLOCK), 1
                )
                self.wfile.write(struct.pack("!BBH", ord("$"), 0, len(header) + len(payload)) + header + payload)
                sequence += 1


def _units(clip: Path) -> Iterator[tuple[float, bytes]]:
    """Seconds and Annex B bytes of each picture."""
    with av.open(str(clip)) as source:
        stream = source.streams.video[0]
        annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in source.demux(stream):
            for part in annex_b.filter(packet if packet.size else None):
                assert part.pts is not None
                yield float(part.pts * part.time_base), bytes(part)


def _payloads(unit: bytes) -> Iterator[bytes]:
    for nal in re.split(b"\x00\x00\x00?\x01", unit)[1:]:
        if len(nal) <= _MOST_PAYLOAD:
            yield nal
            continue
        pieces = [nal[at : at + _MOST_PAYLOAD] for at in range(1, len(nal), _MOST_PAYLOAD)]
        for piece in pieces:
            start, end = (0x80 if piece is pieces[0] else 0), (0x40 if piece is pieces[-1] else 0)
            yield bytes([nal[0] & 0xE0 | _FU_A, start | end | nal[0] & 0x1F]) + piece


@contextmanager
def rtsp_camera(clip: Path, **more: Any) -> Iterator[RtspCamera]:
    """A camera that runs while the block does; `more`: of `RtspCamera`."""
    with RtspCamera(clip, **more) as camera:
        thread = threading.Thread(target=camera.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield camera
        finally:
            camera.closing.set()
            camera.shutdown()
            thread.join()

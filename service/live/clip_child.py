"""``python -m service.live.clip_child``: play one file; see `service.live.clip`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream

from service.live.pacing import Pace, without_delay
from service.media import child_main
from service.media.decoding import DamageLog, decoded_frames, packets_of
from service.media.planes import PlaneConverter
from service.media.source import Source
from service.media.timing import Clock, Timing

_ALIVE_SECONDS = 1.0  # pictures of a slide show are minutes apart


class Player:
    """One playing of one file. What is damaged in it is left out.

    Args:
        request: of `service.live.clip.Clip`.
        outlet: where the frames go.
    """

    def __init__(self, request: dict[str, Any], outlet: child_main.Outlet) -> None:
        self._request = request
        self._outlet = outlet
        self._tick: float = request["tick"]
        self._first: int = request["first_pts"]
        self._pace = Pace(waits=True, sleep=self._sleep)
        self._left_out = 0

    def play(self) -> None:
        """Send each frame when it is due, and the end."""
        request = self._request
        log = DamageLog()
        converter = PlaneConverter(request["width"], request["height"], request["matrix"])
        with Source(Path(request["path"]), request["max_pixels"], request["threads"]) as source:
            packets = without_delay(packets_of(source, log, _unheard), self._seconds, self._pace, self._leave_out)
            clock = Clock(Timing(request["by_order"], request["step"]))
            for index, (pts, frame) in enumerate(decoded_frames(source, packets, clock, log, _unheard)):
                planes = converter.planes(frame)
                self._pace.keep((pts - self._first) * self._tick)
                self._outlet.send({"index": index + self._left_out, "pts": pts}, planes)
        self._outlet.send({"end": True})

    def _seconds(self, packet: Packet[VideoStream]) -> float | None:
        ticks = packet.dts if self._request["by_order"] or packet.pts is None else packet.pts
        return None if ticks is None else (ticks - self._first) * self._tick

    def _sleep(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _ALIVE_SECONDS))
            self._outlet.alive()

    def _leave_out(self, count: int) -> None:
        self._left_out += count


def _unheard(note: str) -> None:
    """Damage is not told: what can be seen of it is."""


def play(request: dict[str, Any], outlet: child_main.Outlet) -> None:
    """Answer with frames as they are due, and an end."""
    Player(request, outlet).play()


if __name__ == "__main__":
    child_main.run(play)

"""``python -m service.live.network_child``: decode what an address gives; see `service.live.network`."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
import av.logging
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame as Decoded
from av.video.stream import VideoStream

from service.live.pacing import Pace, without_lag
from service.media import child_main
from service.media.orientation import Orientation, orientation_of
from service.media.planes import PlaneConverter, matrix_of
from service.media.source import DECODERS
from service.media.video_errors import VideoError

_PROTOCOLS = "http,https,httpproxy,tcp,tls,rtsp,rtsps,rtp,udp,crypto"  # nothing that reads files
_FORMATS = "rtsp,rtp,sdp,mpjpeg,jpeg_pipe,mjpeg,mpegts,hls,flv,matroska,webm,avi,h264,hevc,mov,mp4,m4a,3gp,3g2,mj2"
_SOUND = ("aac", "mp3", "opus", "pcm_alaw", "pcm_mulaw", "pcm_s16be", "adpcm_g726")
_WITHOUT_TIMES = ("mpjpeg", "mjpeg", "jpeg_pipe", "h264", "hevc")
_LIVE = {"analyzeduration": "1000000", "fpsprobesize": "0", "rtsp_flags": "prefer_tcp"}
_REASONS: dict[type[Exception], str] = {
    av.error.HTTPUnauthorizedError: "it asks for a user and a password, or those given are wrong",
    av.error.HTTPForbiddenError: "it does not allow that",
    av.error.HTTPNotFoundError: "it has nothing at this path",
    av.error.HTTPClientError: "it does not accept the request",
    av.error.InvalidDataError: "it sends no video that can be read",
    av.error.DecoderNotFoundError: "it sends no video that can be read",
    av.error.ProtocolNotFoundError: "it leads to an address of a kind that is not opened",
}


class Relay:
    """One connection to one address.

    Args:
        request: of `service.live.network.NetworkCamera`.
        outlet: where the frames go.
    """

    def __init__(self, request: dict[str, Any], outlet: child_main.Outlet) -> None:
        self._request = request
        self._outlet = outlet
        self._left_out = 0

    def relay(self) -> None:
        """Send what the frames are like, the frames as they come, and why they ended."""
        av.logging.restore_default_callback()  # PyAV's own takes Python's lock in the decoder's threads
        try:
            with self._open() as container:
                if not container.streams.video:
                    raise VideoError("no-video-stream", "it has no pictures")
                finite = bool(container.duration) and container.format.name != "rtsp"
                pace = Pace(waits=finite or container.format.name == "hls")
                self._send(container, container.streams.video[0], pace)
        except av.error.MemoryError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            reason = _described(error, secure=self._request["url"].lower().startswith(("https:", "rtsps:")))
            self._outlet.send({"closed": reason, "passing": not isinstance(error, tuple(_REASONS))})
        else:
            self._outlet.send({"closed": "it ended", "passing": True, "complete": finite})

    def _open(self) -> InputContainer:
        options = {"protocol_whitelist": _PROTOCOLS, "format_whitelist": _FORMATS, **_LIVE}
        options |= {"codec_whitelist": ",".join((*DECODERS, *_SOUND))}
        if self._request["ca_file"]:
            options |= {"tls_verify": "1", "ca_file": self._request["ca_file"]}
        return av.open(str(self._request["url"]), container_options=options)

    def _send(self, container: InputContainer, stream: VideoStream, pace: Pace) -> None:
        base = stream.time_base or Fraction(1, 90_000)
        timed = container.format.name not in _WITHOUT_TIMES

        def seconds(packet: Packet[VideoStream]) -> float | None:
            ticks = packet.dts if packet.pts is None else packet.pts
            return float(ticks * base) if timed and ticks is not None else None

        packets = without_lag((one for one in container.demux(stream) if one.size), seconds, pace, self._leave_out)
        converter: PlaneConverter | None = None
        for index, frame in enumerate(_decoded(stream, packets)):
            converter = converter or self._begin(frame)
            planes = converter.planes(frame)
            time = float(frame.pts * base) if timed and frame.pts is not None else None
            if time is not None:
                pace.keep(time)
            self._outlet.send({"index": index + self._left_out, "time": time}, planes)

    def _begin(self, frame: Decoded) -> PlaneConverter:
        if frame.width * frame.height > self._request["max_pixels"]:
            raise VideoError("too-large-pixels", f"its pictures are too large: {frame.width} x {frame.height}")
        orientation, matrix = _orientation(frame), matrix_of(frame)
        form = {"width": frame.width, "height": frame.height, "matrix": matrix}
        self._outlet.send({**form, "rotation": orientation.rotation, "mirrored": orientation.mirrored})
        return PlaneConverter(frame.width, frame.height, matrix)

    def _leave_out(self, count: int) -> None:
        self._left_out += count


def _decoded(stream: VideoStream, packets: Iterator[Packet[VideoStream]]) -> Iterator[Decoded]:
    """The frames; what is damaged on the way is left out."""
    stream.codec_context.thread_type = ThreadType.SLICE  # threads by frame hold back as many frames
    for packet in packets:
        try:
            yield from stream.codec_context.decode(packet)
        except av.error.MemoryError:
            raise
        except (av.error.FFmpegError, ValueError):
            continue


def _orientation(frame: Decoded) -> Orientation:
    side_data: Any = frame.side_data
    matrix = side_data.get(Type.DISPLAYMATRIX)
    return Orientation() if matrix is None else orientation_of(bytes(matrix))


def _described(error: Exception, *, secure: bool) -> str:
    """Why, without the address: that may hold a password; `secure`: whether certificates were checked."""
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, av.error.FFmpegError):
        broke = "the connection broke, or its certificate is not trusted" if secure else "the connection broke"
        return broke if error.errno == errno.EIO else (error.strerror or "no connection").lower()
    return "it cannot be read"


def relay(request: dict[str, Any], outlet: child_main.Outlet) -> None:
    """Answer with frames as they come, and why they ended."""
    Relay(request, outlet).relay()


if __name__ == "__main__":
    child_main.run(relay)

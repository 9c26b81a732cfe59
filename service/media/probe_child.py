"""``python -m service.media.probe_child``: look at one file and tell what video it is; see `service.media.probe`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from av.packet import Packet
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame as Decoded
from av.video.stream import VideoStream

from service.media import child_main
from service.media.decoding import DamageLog, decoded_frames, packets_of
from service.media.orientation import Orientation, orientation_of
from service.media.packet_survey import PacketSurvey
from service.media.planes import high_dynamic_range, matrix_of
from service.media.source import Source, check_pixels
from service.media.timing import Clock, Timing
from service.media.video_errors import VideoError

_VP8_SHOWN = 0x10  # RFC 6386, section 9.1
_MANY = 10  # warnings of one kind


def probe(request: dict[str, Any], outlet: child_main.Outlet) -> None:
    """Answer with the fields of `service.media.probe.VideoInfo`."""
    log = DamageLog()
    path, limits = Path(request["path"]), request["video"]
    warnings: list[str] = []
    with Source(path, limits["max_pixels"], threads=1) as source:
        survey, notes = _surveyed(source, limits, log)
        timing = survey.timing(by_order=source.kind.name == "avi")
        facts = _stream_facts(source) | survey.facts(timing)
        missing = _missing(source, survey.packets)
        warnings += missing + notes[:_MANY]
    with Source(path, limits["max_pixels"], threads=1) as source:
        pts, frame = _first_frame(source, timing, log, cut_off=bool(missing))
        facts |= _picture_facts(frame, limits["max_pixels"], warnings)
        reorders = source.stream.codec_context.has_b_frames
        by_index = source.kind.name == "avi" and not reorders and survey.stored_times_rise
    facts |= {"by_order": timing.by_order, "step": timing.step, "seekable": by_index or not timing.by_order}
    facts |= {"frames": survey.frames, "first_pts": pts}
    outlet.send({**facts, "ends_early": bool(missing), "warnings": warnings})


def _surveyed(source: Source, limits: dict[str, Any], log: DamageLog) -> tuple[PacketSurvey, list[str]]:
    stream = source.stream
    base = stream.time_base or Fraction(1)
    survey = PacketSurvey(base, limits["max_seconds"], limits["max_frames"], stream.average_rate)
    notes: list[str] = []
    for packet in packets_of(source, log, notes.append):
        survey.add(packet.pts, packet.dts, packet.duration, shown=_is_shown(packet, source))
    if survey.frames:
        return survey, notes
    missing = _missing(source, survey.packets)
    if missing:
        raise VideoError("truncated", f"not one frame of it is there: {missing[0]}")
    raise VideoError("no-frames", "there is not one frame in it")


def _is_shown(packet: Packet[VideoStream], source: Source) -> bool:
    if source.stream.codec_context.codec.canonical_name == "vp8" and not memoryview(packet)[0] & _VP8_SHOWN:
        return False  # a picture that others refer to
    return not packet.is_discard


def _stream_facts(source: Source) -> dict[str, Any]:
    stream = source.stream
    context: Any = stream.codec_context
    sounds = [sound.codec_context for sound in source.container.streams.audio]
    base = stream.time_base or Fraction(1)
    return {
        "container": source.kind.name,
        "codec": context.codec.canonical_name,
        "audio": next((sound.codec.canonical_name if sound else "unknown" for sound in sounds), None),
        "time_base": [base.numerator, base.denominator],
        "sample_aspect": _aspect(stream.sample_aspect_ratio or context.sample_aspect_ratio),
    }


def _aspect(ratio: Fraction | None) -> list[int]:
    if not ratio or ratio <= 0:
        return [1, 1]
    ratio = ratio.limit_denominator(1000)
    return [ratio.numerator, ratio.denominator] if 1 / 8 <= ratio <= 8 else [1, 1]


def _missing(source: Source, packets: int) -> list[str]:
    """What the headers promise and the file does not hold."""
    missing: list[str] = []
    lost = source.missing_bytes()
    if lost:
        missing.append(f"the file is cut off: {lost} bytes are missing at its end")
    promised = source.stream.frames
    # AVI counts frames, too, that take no packet because nothing moves.
    if promised > packets + (0 if source.kind.name == "mp4" else 2 + packets // 10):
        missing.append(f"its header promises {promised} frames, {packets} are there")
    return missing


def _first_frame(source: Source, timing: Timing, log: DamageLog, *, cut_off: bool) -> tuple[int, Decoded]:
    notes: list[str] = []
    packets = packets_of(source, log, notes.append)
    for pts, frame in decoded_frames(source, packets, Clock(timing), log, notes.append):
        return pts, frame
    reason = "not one frame of it can be decoded" + "".join(f"; {note}" for note in notes[:1])
    raise VideoError("truncated" if cut_off else "corrupt", reason)


def _picture_facts(frame: Decoded, max_pixels: int, warnings: list[str]) -> dict[str, Any]:
    check_pixels(frame.width, frame.height, max_pixels)
    orientation = _orientation(frame)
    if not orientation.exact:
        warnings.append(f"its display matrix is unusual; pictures are turned by {orientation.rotation} degrees")
    transfer = high_dynamic_range(frame)
    if transfer is not None:
        warnings.append(f"it is made for HDR screens ({transfer}); the result has standard range and looks paler")
    return {
        "pixel_format": frame.format.name,
        "stored_width": frame.width,
        "stored_height": frame.height,
        "rotation": orientation.rotation,
        "mirrored": orientation.mirrored,
        "matrix": matrix_of(frame),
    }


def _orientation(frame: Decoded) -> Orientation:
    side_data: Any = frame.side_data
    matrix = side_data.get(Type.DISPLAYMATRIX)
    return Orientation() if matrix is None else orientation_of(bytes(matrix))


if __name__ == "__main__":
    child_main.run(probe)

"""Annotated videos play in a browser: at the right size and length, picture by picture, with their sound."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from playwright.sync_api import Page

from service.media.codecs import find_codec
from service.media.frame import VideoFrame
from service.media.mux import mux_video
from service.media.writer import VideoWriter
from tests import clips

SIZE = (320, 240)
FPS = 25
FRAMES = 60

PLAY = """async () => {
  const video = document.querySelector("video");
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = () => reject(new Error(video.error.message));
    video.src = "/video";
  });
  const size = [video.videoWidth, video.videoHeight, video.duration];
  await video.play();
  const moved = [];
  video.ontimeupdate = () => moved.push(video.currentTime);
  await new Promise((resolve) => { video.onended = resolve; });
  return { size, moved, pictures: video.getVideoPlaybackQuality().totalVideoFrames,
           sound: video.webkitAudioDecodedByteCount };
}"""

# Luma of the picture that is shown at this time, at half the size.
LOOK = """async ([time, width, height]) => {
  const video = document.querySelector("video");
  await new Promise((resolve) => {
    video.requestVideoFrameCallback(resolve);
    video.currentTime = time;
  });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, width, height);
  const data = context.getImageData(0, 0, width, height).data;
  return Array.from({ length: width * height }, (_, i) => data[4 * i + 1]);
}"""


@pytest.fixture(params=["h264", "vp9"])
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Pictures that show their index, in three segments, with beeps."""
    codec = find_codec(request.param)
    source = clips.make_clip(tmp_path / "source.mp4", frames=FRAMES, size=SIZE, fps=FPS, audio="aac")
    picture = clips.pattern(SIZE)
    segments: list[Path] = []
    for start in range(0, FRAMES, 25):
        segments.append(tmp_path / f"{start}.nut")
        with VideoWriter(segments[-1], codec, *SIZE, fps=FPS, matrix="bt601") as writer:
            for i in range(start, min(start + 25, FRAMES)):
                planes = cv2.cvtColor(picture(i), cv2.COLOR_RGB2YUV_I420).astype(np.uint8)
                writer.write(VideoFrame(i, i / FPS, i, *SIZE, planes, "bt601"))
    out = tmp_path / f"out{codec.suffix}"
    info = mux_video(segments, out, codec, fps=FPS, audio_from=source)
    assert (info.frames, info.warnings) == (FRAMES, ())
    return out


@pytest.fixture
def shown(page: Page, video: Path) -> Iterator[Page]:
    """A page with the video, from a server that answers Range requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path != "/video":
                self._answer(200, "text/html", b"<!doctype html><link rel=icon href='data:,'><video muted></video>")
                return
            data = video.read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked is None:
                self._answer(200, find_codec(kind).media_type, data)
                return
            first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
            self._answer(206, find_codec(kind).media_type, data[first : last + 1], f"bytes {first}-{last}/{len(data)}")

        def _answer(self, status: int, media_type: str, body: bytes, part: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Accept-Ranges", "bytes")
            if part is not None:
                self.send_header("Content-Range", part)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    kind = "h264" if video.suffix == ".mp4" else "vp9"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    yield page
    page.goto("about:blank")  # lets go of the connections
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_browser_plays_it_to_its_end_and_finds_every_picture(shown: Page, video: Path) -> None:
    played = shown.evaluate(PLAY)
    with av.open(str(video)) as container:
        seconds = float(container.duration or 0) / av.time_base
    width, height, duration = played["size"]
    assert (width, height) == SIZE
    assert duration == pytest.approx(seconds, abs=0.05)
    assert duration == pytest.approx(FRAMES / FPS, abs=0.1)
    assert len(played["moved"]) >= 3
    assert played["moved"] == sorted(played["moved"])
    assert played["moved"][-1] > FRAMES / FPS - 0.5
    assert played["pictures"] > FRAMES / 2
    assert played["sound"] > 1000
    for index in (0, 1, 24, 25, 26, 49, 50, FRAMES - 1):
        luma = shown.evaluate(LOOK, [(index + 0.5) / FPS, SIZE[0] // 2, SIZE[1] // 2])
        picture = np.array(luma, np.uint8).reshape(SIZE[1] // 2, SIZE[0] // 2)
        assert clips.index_in(picture) == index

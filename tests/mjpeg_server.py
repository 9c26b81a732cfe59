"""A network camera over HTTP: JPEG after JPEG in one answer (multipart/x-mixed-replace), and files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class MjpegCamera(ThreadingHTTPServer):
    """Sends pictures at ``/stream``, to everybody from the first, and ends the answer after the last.

    Args:
        pictures: as JPEG.
        fps: pictures a second.
        stays: whether the connection stays open after the last, without a word.
        files: what other paths answer with.

    Attributes:
        plays: how often pictures were asked for.
    """

    daemon_threads = True

    def __init__(
        self, pictures: Sequence[bytes], fps: float = 20, *, stays: bool = False, files: dict[str, bytes] | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.pictures = pictures
        self.fps = fps
        self.stays = stays
        self.files = files or {}
        self.plays = 0
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go."""


class _Answer(BaseHTTPRequestHandler):
    server: MjpegCamera  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        if self.path != "/stream":
            self._file()
            return
        self.server.plays += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        for picture in self.server.pictures:
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")
            if self.server.closing.wait(1 / self.server.fps):
                return
        if self.server.stays:
            self.server.closing.wait(60)

    def _file(self) -> None:
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    log_message: Callable[..., None] = lambda self, *words: None


@contextmanager
def mjpeg_camera(pictures: Sequence[bytes], fps: float = 20, **more: Any) -> Iterator[MjpegCamera]:
    """A camera that runs while the block does; `more`: of `MjpegCamera`."""
    with MjpegCamera(pictures, fps, **more) as camera:
        thread = threading.Thread(target=camera.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield camera
        finally:
            camera.closing.set()
            camera.shutdown()
            thread.join()

"""A tiny COCO 2017 and a server for it that misbehaves as it is told.

``python -m tests.coco_server ARCHIVES.json ...`` is ``yaop ...`` with the archives of that file in COCO's place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from trainer.data import download
from trainer.data.download import Archive

TRAIN, VAL, ANNOTATIONS = "train2017.zip", "val2017.zip", "annotations_trainval2017.zip"
KEYPOINTS = ["nose", "left_eye"]

_PIECE = 4096


@dataclass(frozen=True)
class Answer:
    """How the server answers one request; by default as it should.

    Attributes:
        status: for other than a file.
        drop_after: close the connection after so many bytes of the body.
        corrupt: change a byte of the body.
        ranges: obey the header Range.
        length: Content-Length in place of the right one; -1 for none.
        pause: seconds before each piece of 4 KiB.
    """

    status: int = 200
    drop_after: int | None = None
    corrupt: bool = False
    ranges: bool = True
    length: int | None = None
    pause: float = 0


class Request(NamedTuple):
    """What was asked for, and how many bytes of the body were sent."""

    name: str
    start: int
    sent: int


def annotations_of(names: Sequence[str]) -> bytes:
    """A COCO keypoint file that names these pictures."""
    images = [{"id": number, "file_name": name, "width": 8, "height": 8} for number, name in enumerate(names)]
    return json.dumps(
        {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person", "keypoints": KEYPOINTS}]}
    ).encode()


def make_zip(entries: dict[str, bytes]) -> bytes:
    """A zip file of these names and contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def make_archive(path: str, content: bytes, folder: str, pattern: str, files: int) -> Archive:
    """The description of a zip file."""
    digest = hashlib.md5(content).hexdigest()
    return Archive(path, len(content), digest, folder, pattern, files, unpacked=len(content))


@dataclass
class CocoServer:
    """A running server.

    Attributes:
        archives: what it serves; `contents`: name of the zip file -> its bytes.
        script: name of the zip file -> answers to the next requests for it.
        always: the same for all requests after those.
        log: finished requests.
    """

    archives: tuple[Archive, ...]
    contents: dict[str, bytes]
    url: str = ""
    script: dict[str, list[Answer]] = field(default_factory=dict)
    always: dict[str, Answer] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)

    def answer(self, name: str) -> Answer:
        """How to answer the next request for a file."""
        script = self.script.get(name)
        return script.pop(0) if script else self.always.get(name, Answer())

    def requests(self, name: str) -> list[Request]:
        """The finished requests for a file."""
        return [request for request in self.log if request.name == name]


def tiny_coco(pictures: int = 40, picture_bytes: int = 5000) -> CocoServer:
    """A data set of the same layout as COCO 2017, not yet served."""
    source = random.Random(17)
    names = {split: [f"{number:012d}.jpg" for number in range(pictures)] for split in ("train2017", "val2017")}
    zips = {
        f"{split}.zip": make_zip({f"{split}/{name}": source.randbytes(picture_bytes) for name in names[split]})
        for split in names
    }
    labels = {f"annotations/person_keypoints_{split}.json": annotations_of(names[split]) for split in names}
    zips[ANNOTATIONS] = make_zip(labels | {"annotations/captions_val2017.json": b"{}"})
    archives = (
        make_archive(f"annotations/{ANNOTATIONS}", zips[ANNOTATIONS], "annotations", "person_keypoints_*2017.json", 2),
        make_archive(f"zips/{VAL}", zips[VAL], "val2017", "*.jpg", pictures),
        make_archive(f"zips/{TRAIN}", zips[TRAIN], "train2017", "*.jpg", pictures),
    )
    return CocoServer(archives, zips)


@contextmanager
def serving(coco: CocoServer) -> Iterator[CocoServer]:
    """Serve a data set on loopback."""

    class Handler(_Handler):
        data = coco

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    coco.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield coco
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    data: CocoServer

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        answer = self.data.answer(name)
        known = any(self.path == f"/{archive.path}" for archive in self.data.archives)
        if answer.status != 200 or not known:
            self.data.log.append(Request(name, 0, 0))
            self.send_error(answer.status if answer.status != 200 else 404)
            return
        content = self.data.contents[name]
        start = self._start(answer, len(content))
        body = content[start:]
        if answer.corrupt:
            body = bytes([body[0] ^ 1]) + body[1:]
        sent = self._send_body(body[: answer.drop_after], answer.pause)
        self.data.log.append(Request(name, start, sent))
        self.close_connection = True

    def _start(self, answer: Answer, total: int) -> int:
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and answer.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if answer.length != -1:
            self.send_header("Content-Length", str(total - start if answer.length is None else answer.length))
        self.send_header("Connection", "close")
        self.end_headers()
        return start

    def _send_body(self, body: bytes, pause: float) -> int:
        sent = 0
        try:
            for at in range(0, len(body), _PIECE):
                time.sleep(pause)
                self.wfile.write(body[at : at + _PIECE])
                self.wfile.flush()
                sent += len(body[at : at + _PIECE])
        except OSError:
            return sent
        return sent

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


def save_archives(archives: Sequence[Archive], path: Path) -> None:
    """Write what this module reads as a program."""
    path.write_text(json.dumps([dataclasses.asdict(archive) for archive in archives]))


def _main() -> int:
    from shared.cli import main

    download.COCO_2017 = tuple(Archive(**values) for values in json.loads(Path(sys.argv[1]).read_text()))
    return main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(_main())

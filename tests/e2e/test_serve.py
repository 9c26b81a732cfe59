"""Real servers on loopback: what only sockets, signals and processes show."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.bundle import Bundle
from tests import photos
from tests.api_client import JPEG, PROBLEM
from tests.fake_engine import discs, person_at
from tests.server_process import FAKE, REAL, run_yaop, running

PICTURE = photos.encode(discs(640, 480, person_at(300, 200)), "jpeg")


def pose(url: str, data: bytes = PICTURE, query: str = "") -> httpx.Response:
    return httpx.post(f"{url}/pose{query}", content=data, headers=JPEG, timeout=120)


def wait_for_pictures(url: str, count: int) -> None:
    """Until so many pictures are in progress."""
    deadline = time.monotonic() + 60
    while f"yaop_pictures_in_progress {count}.0" not in httpx.get(f"{url}/metrics", timeout=60).text:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_requests_in_progress_are_answered_before_the_server_stops() -> None:
    with running(*FAKE, "3", deadline="100") as server, ThreadPoolExecutor() as pool:
        answers = [pool.submit(pose, server.url) for _ in range(2)]
        wait_for_pictures(server.url, 2)
        server.process.send_signal(signal.SIGTERM)
        assert [answer.result().status_code for answer in answers] == [200, 200]
        assert server.stop() == 0
    assert "Traceback" not in "".join(server.errors)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_once_and_quietly(number: int) -> None:
    with running(*FAKE, log_format="json") as server:
        assert pose(server.url).status_code == 200
        begin = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - begin < 25  # it waits for requests for 30 s
    assert "Traceback" not in "".join(server.errors)


def test_logs_are_json_lines_with_the_requests_id() -> None:
    with running(*FAKE, log_format="json") as server:
        identity = pose(server.url).headers["x-request-id"]
        server.stop()
    lines = [json.loads(line) for line in server.errors]
    requests = [line for line in lines if line["message"] == "request"]
    assert [(line["request_id"], line["status"]) for line in requests] == [(identity, 200)]


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_yaop("serve", "--port", str(port))
    assert done.returncode == 2
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert f"YAOP_PORT={port}" in lines[0]
    assert "in use" in lines[0]


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"port": "http"}, "YAOP_PORT=http"), ({"engine": "x"}, "YAOP_ENGINE=x"), ({"host": "no.such.host"}, "YAOP_HOST")],
)
def test_a_wrong_setting_is_told_in_one_line(settings: dict[str, str], name: str) -> None:
    done = run_yaop("serve", **settings)
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1
    assert name in done.stderr.decode()


def test_an_unknown_model_is_told_in_one_line(tmp_path: Path) -> None:
    done = run_yaop("serve", "--port", "0", "--model", "vgg", "--models-dir", tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1
    assert "YAOP_MODEL=vgg" in done.stderr.decode()


@pytest.fixture(scope="module")
def limited() -> Any:
    with running(*FAKE, max_body_bytes="200000") as server:
        yield server


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 413), (5_000_000, 413)])
def test_the_body_limit_holds_on_the_wire(limited: Any, chunked: bool, extra: int, status: int) -> None:
    data = PICTURE + b"\0" * (200_000 + extra - len(PICTURE))

    def pieces() -> Any:
        for start in range(0, len(data), 50_000):
            yield data[start : start + 50_000]

    content = pieces() if chunked else data
    response = httpx.post(f"{limited.url}/pose", content=content, headers=JPEG, timeout=120)
    assert response.status_code == status
    if status == 413:
        assert response.headers["content-type"] == PROBLEM


def test_a_body_announced_as_too_large_is_refused_before_it_is_sent(limited: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", limited.port, timeout=60)
    connection.putrequest("POST", "/pose")
    connection.putheader("Content-Type", "image/jpeg")
    connection.putheader("Content-Length", "200001")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_client_that_hangs_up_half_way_through_its_body_harms_nobody(limited: Any) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", limited.port)) as client:
            client.sendall(
                b"POST /pose HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\nabc"
            )
    assert pose(limited.url).status_code == 200
    assert "500" not in httpx.get(f"{limited.url}/metrics").text.split("yaop_requests_total")[-1].splitlines()[0]


def test_garbage_instead_of_http_harms_nobody(limited: Any) -> None:
    with socket.create_connection(("127.0.0.1", limited.port)) as client:
        client.sendall(b"\x16\x03\x01\x00\xff nonsense\r\n\r\n")
        client.recv(1000)
    assert pose(limited.url).status_code == 200


def test_a_client_that_hangs_up_frees_its_place() -> None:
    with running(*FAKE, "3", queue_size="1") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = (
                f"POST /pose HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(PICTURE)}\r\n\r\n"
            )
            client.sendall(head.encode() + PICTURE)
            wait_for_pictures(server.url, 1)
            assert pose(server.url).status_code == 503
        deadline = time.monotonic() + 60
        while pose(server.url).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_many_clients_at_once_each_get_their_own_people() -> None:
    places = [(120 + 10 * i, 100 + 8 * i) for i in range(32)]
    pictures = [photos.encode(discs(640, 480, person_at(*xy)), "png") for xy in places]
    with running(*FAKE) as server, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda data: pose(server.url, data), pictures))
    for answer, (x, y) in zip(answers, places, strict=True):
        neck = answer.json()["people"][0]["keypoints"]["neck"]
        assert (neck["x"], neck["y"]) == pytest.approx((x, y), abs=1)


# From here on with the bundle that ships.


@pytest.fixture(scope="module")
def real(shipped_bundle: Bundle) -> Any:
    with running(*REAL, engine="litert") as server:
        yield server


def test_a_cold_server_finds_the_person_in_a_photograph(real: Any, astronaut_jpeg: bytes) -> None:
    frame = pose(real.url, astronaut_jpeg, "?min_score=0.15").json()  # a rocket's tip looks a little like a face
    assert len(frame["people"]) == 1
    nose = frame["people"][0]["keypoints"]["nose"]
    assert (nose["x"], nose["y"]) == pytest.approx((223, 110), abs=20)


def test_nobody_is_found_where_nobody_is(real: Any, nobody: photos.Image) -> None:
    response = pose(real.url, photos.encode(nobody))
    assert response.status_code == 200
    assert response.json()["people"] == []


def test_a_photograph_of_several_people(real: Any, group: photos.Image) -> None:
    assert len(pose(real.url, photos.encode(group)).json()["people"]) == 3


@pytest.mark.parametrize("resolution", ["fast", "accurate", "640"])
def test_the_person_is_at_the_same_place_at_every_resolution(real: Any, astronaut_jpeg: bytes, resolution: str) -> None:
    best = pose(real.url, astronaut_jpeg, f"?resolution={resolution}").json()["people"][0]
    assert (best["keypoints"]["nose"]["x"], best["keypoints"]["nose"]["y"]) == pytest.approx((223, 110), abs=20)


def test_flip_agrees_with_the_plain_estimate(real: Any, astronaut_jpeg: bytes) -> None:
    plain = pose(real.url, astronaut_jpeg).json()["people"][0]["keypoints"]["nose"]
    flipped = pose(real.url, astronaut_jpeg, "?flip=true").json()["people"][0]["keypoints"]["nose"]
    assert (flipped["x"], flipped["y"]) == pytest.approx((plain["x"], plain["y"]), abs=8)


def test_the_real_server_starts_in_seconds_without_tensorflow(real: Any) -> None:
    assert "tensorflow/" not in Path(f"/proc/{real.process.pid}/maps").read_text()
    assert real.cpu_seconds_to_start < 6  # about 1.5; the time on the clock is that of whatever else runs here


def test_the_real_server_needs_less_than_500_mb(real: Any, astronaut_jpeg: bytes) -> None:
    for query in ("", "?resolution=fast", "?resolution=accurate", "?flip=true", "?draw=true"):
        assert pose(real.url, astronaut_jpeg, query).status_code == 200
    status = Path(f"/proc/{real.process.pid}/status").read_text()
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 500_000


def test_a_tampered_bundle_stops_the_start_with_the_files_name(tmp_path: Path, shipped_bundle: Bundle) -> None:
    import shutil

    folder = tmp_path / shipped_bundle.path.name
    shutil.copytree(shipped_bundle.path, folder)
    tampered = folder / "model.tflite"
    data = bytearray(tampered.read_bytes())
    data[len(data) // 2] ^= 1
    tampered.write_bytes(data)
    done = run_yaop("serve", "--port", "0", "--models-dir", tmp_path)
    assert done.returncode == 2
    assert str(tampered) in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_requests_from_many_threads_give_what_one_gives(real: Any, astronaut_jpeg: bytes, group: photos.Image) -> None:
    pictures = [astronaut_jpeg, photos.encode(group), photos.encode(photos.grace_hopper())]
    alone = [pose(real.url, data).json()["people"] for data in pictures]
    barrier = threading.Barrier(6)

    def ask(index: int) -> Any:
        barrier.wait()
        return pose(real.url, pictures[index % 3]).json()["people"]

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(ask, range(6)))
    assert together == alone * 2

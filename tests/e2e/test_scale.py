"""Two replicas behind nginx, PostgreSQL and two workers, as `docker compose --profile scale up` starts them."""

from __future__ import annotations

import json
import signal
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from service.client import Client
from service.client.events import read_events
from shared.schema import Frame
from tests import clips, photos, video_jobs
from tests.api_client import JPEG, PROBLEM
from tests.nginx import find_nginx
from tests.postgres import find_postgres
from tests.scale_profile import SECONDS, Load, Scale, kill_at_work, scale_profile
from tests.server_process import started
from tests.stream_client import StreamClient

pytestmark = pytest.mark.slow

FRAMES = 130


@pytest.fixture(scope="module")
def scale() -> Iterator[Scale]:
    for found, what in ((find_nginx(), "nginx"), (find_postgres(), "PostgreSQL")):
        if found is None:
            pytest.skip(f"{what} is not installed")
    with scale_profile() as running:
        yield running


@pytest.fixture(scope="module")
def picture() -> bytes:
    return photos.encode(photos.group(2), "jpeg")


def people(answer: httpx.Response) -> Any:
    """What an answer says, without how long it took."""
    assert answer.status_code == 200, answer.text
    return {name: value for name, value in answer.json().items() if name != "timing_ms"}


def estimate(url: str, picture: bytes, **options: str) -> httpx.Response:
    return httpx.post(f"{url}/pose", content=picture, params=options, headers=JPEG, timeout=SECONDS)


def require_problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    problem = answer.json()
    assert (problem["status"], problem["type"]) == (status, f"urn:yaop:problem:{kind}")
    assert problem["title"] and problem["detail"] and problem["request_id"]
    return problem


def test_requests_are_spread_and_answered_as_by_one_replica_alone(scale: Scale, picture: bytes) -> None:
    alone = people(estimate(scale.replicas[0].url, picture))
    assert len(alone["people"]) == 2
    before = [scale.metric(index, "yaop_pictures_total") for index in (0, 1)]
    answers = [people(estimate(scale.url, picture)) for _ in range(20)]
    assert all(answer == alone for answer in answers)
    shares = [scale.metric(index, "yaop_pictures_total") - before[index] for index in (0, 1)]
    assert sum(shares) == 20
    assert min(shares) >= 5


def test_a_replica_that_is_killed_under_load_loses_no_request_and_one_that_comes_back_gets_some(
    scale: Scale, picture: bytes
) -> None:
    load = Load(scale.url, picture)
    load.run(lambda: kill_at_work(scale.replicas[0]))
    expected = people(estimate(scale.replicas[1].url, picture, resolution="fast"))
    assert not load.failures
    assert Counter(answer.status_code for answer in load.answers.values()) == {200: len(load.answers)}
    assert all(people(answer) == expected for answer in load.answers.values())
    lines = [scale.balancer.logged(request_id) for request_id in load.answers]
    retried = [line for line in lines if line["replica"] == f"{scale.address(0)}, {scale.address(1)}"]
    assert [line for line in retried if float(line["replica_seconds"].split(",")[0]) > 0.1], "none was under way"
    assert lines[-1]["replica"].endswith(scale.address(1))
    scale.start_again(0)
    assert people(estimate(scale.url, picture, resolution="fast")) == expected


def test_a_replica_that_is_stopped_under_load_loses_no_request(scale: Scale, picture: bytes) -> None:
    codes: list[int] = []
    load = Load(scale.url, picture)
    load.run(lambda: codes.append(scale.replicas[1].stop(signal.SIGTERM)))
    assert codes == [0]
    assert not load.failures
    assert Counter(answer.status_code for answer in load.answers.values()) == {200: len(load.answers)}
    scale.start_again(1)


def test_a_video_outlives_the_replica_that_took_it_and_a_worker(scale: Scale, tmp_path: Path) -> None:
    source = clips.make_clip(tmp_path / "pattern.mp4", frames=FRAMES, size=(320, 240), audio="aac")
    ids, took = zip(*(upload(scale, source, key) for key in ("first", "second")), strict=True)
    assert upload(scale, source, "first", status=200)[0] == ids[0]  # whichever replica was asked
    wait_until_both_run(scale, ids)
    with httpx.stream("GET", f"{scale.url}/videos/{ids[1]}/events", timeout=SECONDS) as answer:
        scale.workers[0].stop(signal.SIGKILL)
        events = [json.loads(event.data) for event in read_events(answer.iter_bytes())]
    assert len({event["frames_done"] for event in events}) >= 3, "they did not come as it went on"
    assert events[-1]["state"] == "succeeded"
    assert [job["state"] for job in video_jobs.wait_for(scale.url, ids)] == ["succeeded"] * 2

    gone = [scale.address(index) for index in (0, 1)].index(took[0])
    scale.replicas[gone].stop(signal.SIGKILL)
    for job_id in ids:
        video_jobs.check_result(scale.url, job_id, source, tmp_path)
    require_ranges(scale, ids[0], by=1 - gone)
    scale.start_again(gone)


def upload(scale: Scale, source: Path, key: str, status: int = 202) -> tuple[str, str]:
    """Send a video through the balancer. Gives the id of its job, and the address of the replica that took it."""
    headers = {"X-Request-ID": uuid.uuid4().hex, "Idempotency-Key": key}
    params = {"resolution": "fast"}
    with source.open("rb") as file:
        answer = httpx.post(
            f"{scale.url}/videos", files={"video": file}, params=params, headers=headers, timeout=SECONDS
        )
    assert answer.status_code == status, answer.text
    assert answer.headers["location"] == f"/videos/{answer.json()['id']}"
    return answer.json()["id"], scale.balancer.logged(headers["X-Request-ID"])["replica"]


def wait_until_both_run(scale: Scale, ids: tuple[str, ...]) -> None:
    end = time.monotonic() + SECONDS
    while [video_jobs.job(scale.url, job_id)["state"] for job_id in ids] != ["running"] * 2:
        assert time.monotonic() < end, "the workers do not begin"
        time.sleep(0.02)


def require_ranges(scale: Scale, job_id: str, by: int) -> None:
    """The video in two pieces, from this replica, is what is kept."""
    for name in ("video", "poses"):
        path = f"{scale.url}/videos/{job_id}/{name}"
        whole = httpx.get(path, timeout=SECONDS)
        pieces: list[bytes] = []
        for wanted in ("bytes=0-999", "bytes=1000-"):
            headers = {"Range": wanted, "If-Range": whole.headers["etag"], "X-Request-ID": uuid.uuid4().hex}
            answer = httpx.get(path, headers=headers, timeout=SECONDS)
            assert answer.status_code == 206
            assert scale.balancer.logged(headers["X-Request-ID"])["replica"].endswith(scale.address(by))
            pieces.append(answer.content)
        assert b"".join(pieces) == whole.content


def test_a_stream_goes_through(scale: Scale, picture: bytes) -> None:
    alone = Frame.model_validate(people(estimate(scale.replicas[0].url, picture, resolution="fast")))
    with Client(scale.url) as client, client.stream(resolution="fast", smooth=False, track=False) as stream:
        for _ in range(5):
            seen = stream.estimate(picture, timeout=SECONDS)
            assert [person.keypoints for person in seen.people] == [person.keypoints for person in alone.people]


def test_a_stream_whose_replica_is_killed_goes_on_with_the_other(scale: Scale, tmp_path: Path) -> None:
    clip = clips.people_clip(tmp_path / "people.mp4", seconds=20.0, fps=10)
    log = tmp_path / "log.jsonl"
    with started("stream", "--file", clip, "--url", scale.url, "--json", log, "--resolution", "fast") as command:
        wait_for_lines(log, 5)
        (served,) = [index for index in (0, 1) if scale.metric(index, "yaop_streams ")]
        scale.replicas[served].stop(signal.SIGKILL)
        wait_for_lines(log, len(log.read_text().splitlines()) + 5)
        assert scale.metric(1 - served, "yaop_streams ") == 1
        command.terminate()
        _, errors = command.communicate(timeout=SECONDS)
    assert "trying again in" in errors
    assert "Traceback" not in errors
    frames = [Frame.model_validate_json(line) for line in log.read_text().splitlines()]
    assert {len(frame.people) for frame in frames} == {2}
    scale.start_again(served)


def wait_for_lines(log: Path, count: int) -> None:
    end = time.monotonic() + SECONDS
    while not log.exists() or len(log.read_text().splitlines()) < count:
        assert time.monotonic() < end, "no results"
        time.sleep(0.02)


def test_streams_count_for_the_address_that_the_client_has(scale: Scale) -> None:
    """One stream for each address and replica is allowed here; the client's address is the last that a proxy added."""
    one, other = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.2"}
    claimed = {"X-Forwarded-For": "203.0.113.2, 203.0.113.1"}
    with ExitStack() as streams:
        for _ in range(2):
            streams.enter_context(StreamClient(scale.url, headers=one))
        refused = streams.enter_context(StreamClient(scale.url, headers=claimed, hello=False))
        assert refused.end()[0] == 1013
        streams.enter_context(StreamClient(scale.url, headers=other))


def test_pages_of_this_address_may_open_streams_and_others_may_not(scale: Scale) -> None:
    with StreamClient(scale.url, origin=scale.url, headers={"X-Forwarded-For": "203.0.113.3"}) as client:
        assert client.welcome.limits.fps > 0
    with pytest.raises(InvalidStatus) as refused:
        StreamClient(scale.url, origin="http://127.0.0.1:1")
    assert refused.value.response.status_code == 403
    assert b"urn:yaop:problem:foreign-origin" in (refused.value.response.body or b"")


def test_a_body_over_the_limit_gets_the_answer_of_the_service(scale: Scale) -> None:
    answer = estimate(scale.url, bytes(25_000_001))
    assert require_problem(answer, 413, "body-too-large")["limit_bytes"] == 25_000_000
    answer = estimate(scale.url, bytes(34_000_000))
    assert "limit_bytes" not in require_problem(answer, 413, "body-too-large")  # this one is the balancer's
    answer = httpx.post(f"{scale.url}/videos", content=bytes(34_000_000), headers=JPEG, timeout=SECONDS)
    require_problem(answer, 415, "unsupported-media-type")


def test_what_is_for_each_replica_is_not_passed_on(scale: Scale) -> None:
    require_problem(httpx.get(f"{scale.url}/metrics"), 404, "not-found")
    for path in ("/models/reload", "//models/reload", "/models/%72eload", "/x/../models/reload"):
        require_problem(raw(scale, f"POST {path} HTTP/1.1\r\nContent-Length: 0"), 403, "ask-each-replica")
    assert httpx.get(f"{scale.url}/health/ready").json()["status"] == "ready"


def test_what_is_no_request_gets_a_problem(scale: Scale) -> None:
    require_problem(raw(scale, "nonsense"), 400, "bad-request")
    require_problem(raw(scale, f"GET /{'x' * 20_000} HTTP/1.1"), 400, "bad-request")
    require_problem(raw(scale, f"GET / HTTP/1.1\r\nCookie: {'x' * 20_000}"), 400, "bad-request")


def raw(scale: Scale, head: str) -> httpx.Response:
    """The answer to these lines."""
    with socket.create_connection(("127.0.0.1", scale.balancer.port), SECONDS) as connection:
        connection.sendall(f"{head}\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as file:
            top, _, body = file.read().partition(b"\r\n\r\n")
    status, *lines = top.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


def test_without_any_replica_the_balancer_says_when_to_come_back(scale: Scale, picture: bytes) -> None:
    assert not scale.tracebacks()
    for replica in scale.replicas:
        assert replica.stop() == 0
    for answer in (estimate(scale.url, picture), httpx.get(f"{scale.url}/models")):
        require_problem(answer, 502, "no-replica")
        assert int(answer.headers["retry-after"]) > 0

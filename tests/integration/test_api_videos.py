"""`/videos`: uploads of every kind, jobs as clients see them, results and their ranges; nothing works on the jobs."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import av.codec.codec
import httpx
import pytest
from starlette.testclient import TestClient

import service.api.video_events as video_events
import service.media.upload as upload_module
from service.api.video_examples import JOB_EXAMPLE
from service.api.video_jobs import with_links
from service.jobs import storage_local
from service.jobs.job import Job, JobSpec
from service.jobs.options import VideoOptions
from service.jobs.storage import Storage
from service.sizes import readable_bytes
from shared.assembly import People
from shared.schema import ModelRef, frame_from_people
from shared.skeleton import BODY_18
from tests.api_client import PROBLEM
from tests.clips import audio_only, make_clip
from tests.fake_jobs import SOURCE, START, FakeJobs, build_videos, output, put, serving_videos

JOB = "0" * 31 + "1"
UNKNOWN = "f" * 32


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=12).read_bytes()


@pytest.fixture
def jobs() -> FakeJobs:
    return FakeJobs()


@pytest.fixture
def client(tmp_path: Path, jobs: FakeJobs) -> Iterator[TestClient]:
    with serving_videos(tmp_path, jobs) as client:
        yield client


def _files(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


def _assert_problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), response.text
    problem = response.json()
    assert problem["type"] == f"urn:yaop:problem:{kind}", problem
    assert problem["detail"].endswith((".", ")")) or kind == "invalid-parameters"
    return problem


# Uploads


@pytest.mark.parametrize("content_type", ["video/mp4", "application/octet-stream", "video/strange", ""])
def test_a_raw_body_becomes_a_job(
    client: TestClient, jobs: FakeJobs, tmp_path: Path, clip: bytes, content_type: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = client.post("/videos?every=2&track=false", content=clip, headers=headers)
    assert response.status_code == 202, response.text
    job = response.json()
    assert response.headers["location"] == f"/videos/{job['id']}" == job["links"]["self"]
    assert (job["state"], job["frames_done"], job["frames_total"], job["bytes"]) == ("queued", 0, 12, len(clip))
    assert (job["options"]["every"], job["options"]["track"]) == (2, False)
    assert (job["source"]["width"], job["source"]["height"], job["source"]["codec"]) == (160, 120, "h264")
    storage = Storage(None, tmp_path)
    assert storage.fetch(job["id"], "source").read_bytes() == clip
    assert storage.jobs() == [job["id"]]
    assert client.get(response.headers["location"]).json() == job
    assert len(jobs.specs) == 1


def test_a_form_becomes_a_job_with_options_before_and_after_the_file(client: TestClient, clip: bytes) -> None:
    boundary = "x1y2"
    parts = [
        b'Content-Disposition: form-data; name="resolution"\r\n\r\nfast',
        b'Content-Disposition: form-data; name="video"; filename="C:\\\\clips\\\\my dance.mp4"\r\n'
        b"Content-Type: text/plain\r\n\r\n" + clip,
        b'Content-Disposition: form-data; name="codec"\r\n\r\nvp9',
    ]
    body = b"".join(b"--x1y2\r\n" + part + b"\r\n" for part in parts) + b"--x1y2--\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    response = client.post("/videos?smooth=false", content=body, headers=headers)
    assert response.status_code == 202, response.text
    options = response.json()["options"]
    assert (options["resolution"], options["codec"], options["smooth"]) == (256, "vp9", False)
    assert response.json()["filename"] == "my dance.mp4"


@pytest.mark.parametrize(
    ("fields", "name", "message"),
    [
        ({"every": "0"}, "every", "greater than or equal to 1"),
        ({"resolution": "huge"}, "resolution", "must be fast, balanced, accurate"),
        ({"codec": "divx3"}, "codec", "h264"),
        ({"model": "vgg"}, "model", "must be one of discs"),
        ({"sharpen": "1"}, "sharpen", "is no parameter of this call; valid: resolution"),
        ({"fps": "nan"}, "fps", "less than or equal to 240"),
        ({"smooth": "maybe"}, "smooth", "must be true or false"),
        ({"background": "white"}, "background", "must be one of 'video' or 'black'"),
    ],
)
def test_wrong_options_are_told_alike_in_the_query_and_in_the_form(
    client: TestClient, tmp_path: Path, clip: bytes, fields: dict[str, str], name: str, message: str
) -> None:
    in_query = client.post("/videos", params=fields, content=clip, headers={"Content-Type": "video/mp4"})
    in_form = client.post("/videos", data=fields, files={"video": ("a.mp4", clip)})
    for response in (in_query, in_form):
        problem = _assert_problem(response, 422, "invalid-parameters")
        assert problem["errors"][0]["name"] == name
        assert message in problem["detail"]
    assert in_query.json()["errors"][0]["message"] == in_form.json()["errors"][0]["message"]
    assert _files(tmp_path) == []


def test_an_option_given_twice_is_refused(client: TestClient, clip: bytes) -> None:
    response = client.post("/videos?every=2", data={"every": "3"}, files={"video": ("a.mp4", clip)})
    assert "give it once" in _assert_problem(response, 422, "invalid-parameters")["detail"]
    body = b'--b\r\nContent-Disposition: form-data; name="every"\r\n\r\n2\r\n' * 2 + b"--b--\r\n"
    response = client.post("/videos", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    _assert_problem(response, 400, "repeated-field")


def test_a_form_without_exactly_one_video_is_refused(client: TestClient, tmp_path: Path, clip: bytes) -> None:
    missing = _assert_problem(client.post("/videos", files={"file": ("a.mp4", clip)}), 400, "missing-part")
    assert "parts found: file" in missing["detail"] or "field file" in missing["detail"]
    assert "video/mp4" in missing["accepted"]
    twice = client.post("/videos", files=[("video", ("a.mp4", clip)), ("video", ("b.mp4", clip))])
    _assert_problem(twice, 400, "too-many-videos")
    big = client.post("/videos", data={"every": "1" * 5000}, files={"video": ("a.mp4", clip)})
    _assert_problem(big, 413, "field-too-long")
    cut = client.post("/videos", content=b"--b\r\nConte", headers={"Content-Type": "multipart/form-data; boundary=b"})
    _assert_problem(cut, 400, "malformed-multipart")
    assert _files(tmp_path) == []


def test_bad_files_are_refused_and_leave_nothing(client: TestClient, tmp_path: Path, clip: bytes) -> None:
    def sent(data: bytes, content_type: str = "video/mp4") -> httpx.Response:
        return client.post("/videos", content=data, headers={"Content-Type": content_type})

    _assert_problem(sent(b""), 400, "empty-body")
    _assert_problem(client.post("/videos", files={"video": ("a.mp4", b"")}), 400, "empty-body")
    assert "video/mp4" in _assert_problem(sent(b"This is no video. " * 400), 415, "video-not-video")["accepted"]
    assert "video/webm" in _assert_problem(sent(clip, "text/plain"), 415, "unsupported-media-type")["accepted"]
    _assert_problem(sent(clip[: len(clip) // 2]), 422, "video-truncated")
    assert _files(tmp_path) == []
    assert list((tmp_path / "videos").iterdir()) == []


def test_sound_alone_is_refused(client: TestClient, tmp_path: Path) -> None:
    sound = audio_only(tmp_path / "sound.mp4").read_bytes()
    _assert_problem(client.post("/videos", content=sound), 422, "video-no-video-stream")


@pytest.mark.parametrize(
    ("settings", "kind", "limit"),
    [
        ({"max_video_pixels": 160 * 120 - 1}, "video-too-large-pixels", "19199"),
        ({"max_video_seconds": 0.3}, "video-too-long", "0.3"),
        ({"max_video_frames": 11}, "video-too-many-frames", "11"),
    ],
)
def test_videos_over_a_limit_are_refused_with_the_limit(
    tmp_path: Path, clip: bytes, settings: dict[str, Any], kind: str, limit: str
) -> None:
    with serving_videos(tmp_path, **settings) as client:
        problem = _assert_problem(client.post("/videos", content=clip), 413, kind)
        assert limit in problem["detail"].replace(",", "").replace("_", "")
    assert _files(tmp_path) == []


def test_the_limit_of_bytes_is_exact_for_raw_bodies_and_forms(tmp_path: Path, clip: bytes) -> None:
    def chunks() -> Iterator[bytes]:  # no Content-Length
        yield clip[:1000]
        yield clip[1000:]

    for limit, status in ((len(clip), 202), (len(clip) - 1, 413)):
        with serving_videos(tmp_path / str(limit), max_video_bytes=limit, max_body_bytes=1000) as client:
            answers = [client.post("/videos", content=clip), client.post("/videos", content=chunks())]
            answers.append(client.post("/videos", files={"video": ("a.mp4", clip)}))
            assert [answer.status_code for answer in answers] == [status] * 3
            if status == 413:
                assert all(_assert_problem(a, 413, "body-too-large")["limit_bytes"] == limit for a in answers)
                assert _files(tmp_path / str(limit)) == []


def test_a_rate_that_makes_too_many_frames_is_refused(tmp_path: Path, clip: bytes) -> None:
    with serving_videos(tmp_path, max_video_frames=50) as client:
        assert client.post("/videos?fps=60", content=clip).json()["frames_total"] == 24
        assert "fps: makes 96 frames" in client.post("/videos?fps=240", content=clip).json()["detail"]


def test_a_full_queue_answers_503_before_the_upload(tmp_path: Path, jobs: FakeJobs, clip: bytes) -> None:
    with serving_videos(tmp_path, jobs, max_jobs=2) as client:
        for _ in range(2):
            assert client.post("/videos", content=clip, headers={"Idempotency-Key": "k"}).status_code in (202, 200)
            assert client.post("/videos", content=clip).status_code in (202, 503)
        refused = client.post("/videos", content=clip)
        _assert_problem(refused, 503, "queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        again = client.post("/videos", content=clip, headers={"Idempotency-Key": "k"})
        assert again.status_code == 200  # what was taken in can be asked for again
        jobs.change(again.json()["id"], state="succeeded", output=output(1))
        assert client.post("/videos", content=clip).status_code == 202


def test_a_queue_that_fills_up_during_the_upload_answers_503(tmp_path: Path, jobs: FakeJobs, clip: bytes) -> None:
    def chunks() -> Iterator[bytes]:
        yield clip[:1000]
        jobs.add(JOB)  # by another client
        yield clip[1000:]

    app = build_videos(tmp_path, jobs, max_jobs=1)

    async def run() -> list[dict[str, Any]]:
        pieces = chunks()

        async def receive() -> dict[str, Any]:
            piece = next(pieces, b"")
            return {"type": "http.request", "body": piece, "more_body": bool(piece)}

        async with app.router.lifespan_context(app):
            return await _call(app, receive, [(b"content-type", b"video/mp4")])

    start, body = asyncio.run(run())
    problem = json.loads(body["body"])
    assert (start["status"], problem["type"]) == (503, "urn:yaop:problem:queue-full")
    assert problem["detail"] == "1 video is queued or being worked on; no more than 1 may be."
    assert list(jobs.jobs) == [JOB]
    assert _files(tmp_path) == []


def _chunked(data: bytes) -> Iterator[bytes]:
    """A body without Content-Length."""
    yield data


def test_uploads_for_which_unfinished_videos_leave_no_room_answer_507(
    tmp_path: Path, jobs: FakeJobs, clip: bytes
) -> None:
    with serving_videos(tmp_path, jobs, max_artifact_bytes=2 * len(clip)) as client:
        first = client.post("/videos", content=clip, headers={"Idempotency-Key": "k"})
        assert first.status_code == client.post("/videos", content=clip).status_code == 202
        for body in (clip, _chunked(clip)):
            refused = client.post("/videos", content=body)
            problem = _assert_problem(refused, 507, "storage-full")
            assert "send it again when some of them are finished" in problem["detail"]
            assert int(refused.headers["retry-after"]) >= 1
        assert len(jobs.jobs) == len(Storage(None, tmp_path).jobs()) == 2
        assert client.post("/videos", content=clip, headers={"Idempotency-Key": "k"}).status_code == 200
        jobs.change(first.json()["id"], state="succeeded", finished_at=START, output=output(1))
        assert client.post("/videos", content=_chunked(clip)).status_code == 202


def test_what_has_been_made_of_a_running_video_takes_room(tmp_path: Path, jobs: FakeJobs, clip: bytes) -> None:
    jobs.add(JOB, state="running")
    put(Storage(None, tmp_path), JOB, "segments/1.nut", b"1" * 1000)
    for spare, status in ((1000, 202), (999, 507)):
        with serving_videos(tmp_path, jobs, max_artifact_bytes=len(clip) + spare) as client:
            response = client.post("/videos", content=clip)
            assert response.status_code == status, response.text
            client.delete(f"/videos/{response.json().get('id')}")


def test_unfinished_videos_are_found_behind_many_finished_ones(tmp_path: Path, jobs: FakeJobs, clip: bytes) -> None:
    jobs.add(f"{1:032x}", bytes=len(clip))
    for number in range(2, 252):
        jobs.add(f"{number:032x}", state="succeeded", finished_at=START)
    with serving_videos(tmp_path, jobs, max_artifact_bytes=2 * len(clip) - 1) as client:
        _assert_problem(client.post("/videos", content=clip), 507, "storage-full")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_video_for_which_there_will_never_be_room_is_too_large(tmp_path: Path, clip: bytes, *, chunked: bool) -> None:
    with serving_videos(tmp_path, max_artifact_bytes=len(clip) - 1) as client:
        response = client.post("/videos", content=_chunked(clip) if chunked else clip)
        problem = _assert_problem(response, 413, "body-too-large")
        assert problem["limit_bytes"] == len(clip) - 1
        assert f"the limit of {readable_bytes(len(clip) - 1)}." in problem["detail"]


def test_a_codec_that_the_installed_pyav_cannot_write_is_refused(
    client: TestClient, tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = av.codec.codec.Codec

    def without_x264(name: str, mode: str) -> av.codec.codec.Codec:
        if name == "libx264":
            raise av.codec.codec.UnknownCodecError(name)
        return real(name, mode)

    monkeypatch.setattr(av.codec.codec, "Codec", without_x264)
    for response in (
        client.post("/videos", content=clip),
        client.post("/videos", data={"codec": "AVC1"}, files={"video": ("a.mp4", clip)}),
    ):
        assert "choose vp9" in _assert_problem(response, 422, "invalid-parameters")["detail"]
    assert _files(tmp_path) == []
    assert client.post("/videos?codec=vp9", content=clip).status_code == 202


def test_an_upload_that_cannot_be_cleared_away_is_accepted_all_the_same(
    client: TestClient, clip: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*given: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Storage, "remove", fail)
    assert client.post("/videos", content=clip).status_code == 202
    assert "could not be removed" not in caplog.text  # only what is on this machine has to be
    with monkeypatch.context() as patched:
        real = Storage.drop_scratch

        def drop(self: Storage, job_id: str, idle_seconds: float = 0.0) -> None:
            if (self.scratch(job_id) / "upload").exists() or not self.names(job_id):
                fail()
            real(self, job_id, idle_seconds)

        patched.setattr(Storage, "drop_scratch", drop)
        assert client.post("/videos", content=clip).status_code == 202
    assert "an upload could not be removed" in caplog.text


def test_a_full_disk_answers_507_and_leaves_nothing(
    client: TestClient, tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(upload_module._VideoFile, "_write_and_hash", full)
        _assert_problem(client.post("/videos", content=clip), 507, "disk-full")
        _assert_problem(client.post("/videos", files={"video": ("a.mp4", clip)}), 507, "disk-full")
    with monkeypatch.context() as patched:
        patched.setattr(storage_local, "sync_file", full)
        _assert_problem(client.post("/videos", content=clip), 507, "disk-full")
    with monkeypatch.context() as patched:
        patched.setattr(Storage, "free_bytes", lambda self: len(clip) - 1)
        _assert_problem(client.post("/videos", content=clip), 507, "disk-full")
    assert _files(tmp_path) == []
    assert client.post("/videos", content=clip).status_code == 202


def test_a_queue_that_fails_leaves_nothing(client: TestClient, jobs: FakeJobs, tmp_path: Path, clip: bytes) -> None:
    jobs.failure = RuntimeError("the database is away")
    _assert_problem(client.post("/videos", content=clip), 500, "internal-error")
    assert _files(tmp_path) == []


async def _call(app: Any, receive: Any, headers: list[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http", "method": "POST", "path": "/videos", "raw_path": b"/videos", "root_path": "",
        "query_string": b"", "scheme": "http", "server": ("yaop", 80), "client": ("127.0.0.1", 1),
        "http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.4"}, "headers": headers,
    }  # fmt: skip

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize("kind", ["video/mp4", "multipart/form-data; boundary=b"])
def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path, jobs: FakeJobs, clip: bytes, kind: str) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="video"\r\n\r\n' if "multipart" in kind else b""
    big = 3 << 20  # enough for some of it to be on the disk

    async def run() -> None:
        app = build_videos(tmp_path, jobs)
        seen: list[list[str]] = []
        messages = [{"type": "http.request", "body": head + clip + b"x" * big, "more_body": True}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            seen.append(_files(tmp_path))
            return {"type": "http.disconnect"}

        async with app.router.lifespan_context(app):
            await _call(app, receive, [(b"content-type", kind.encode())])
        assert seen and len(seen[0]) == 1 and seen[0][0].endswith("upload")

    asyncio.run(run())
    assert _files(tmp_path) == []
    assert jobs.jobs == {}


def test_an_upload_that_stalls_is_given_up(
    tmp_path: Path, jobs: FakeJobs, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_module, "_STALL_SECONDS", 0.05)

    async def run() -> list[dict[str, Any]]:
        app = build_videos(tmp_path, jobs)
        messages = [{"type": "http.request", "body": clip[:500], "more_body": True}]

        async def receive() -> dict[str, Any]:
            return messages.pop() if messages else await asyncio.Event().wait()  # type: ignore[return-value]

        async with app.router.lifespan_context(app):
            return await _call(app, receive, [(b"content-type", b"video/mp4")])

    start, body = asyncio.run(run())
    assert start["status"] == 408
    assert json.loads(body["body"])["type"] == "urn:yaop:problem:upload-stalled"
    assert _files(tmp_path) == []


def test_an_upload_is_on_the_disk_while_it_arrives_and_not_in_memory(tmp_path: Path, jobs: FakeJobs) -> None:
    import tracemalloc

    piece = b"x" * 65536

    async def run() -> int:
        app = build_videos(tmp_path, jobs)
        left = 64 << 20

        async def receive() -> dict[str, Any]:
            nonlocal left
            left -= len(piece)
            return {"type": "http.request", "body": piece, "more_body": left > 0}

        async with app.router.lifespan_context(app):
            tracemalloc.start()
            await _call(app, receive, [(b"content-type", b"video/mp4")])
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    assert asyncio.run(run()) < 8 << 20


# Idempotency


def test_the_same_key_gives_the_same_job(client: TestClient, jobs: FakeJobs, tmp_path: Path, clip: bytes) -> None:
    first = client.post("/videos?every=2", content=clip, headers={"Idempotency-Key": "one"})
    again = client.post("/videos?every=2", content=clip, headers={"Idempotency-Key": "one"})
    form = client.post(
        "/videos", data={"every": "2"}, files={"video": ("a.mp4", clip)}, headers={"Idempotency-Key": "one"}
    )
    assert [response.status_code for response in (first, again, form)] == [202, 200, 200]
    assert first.headers["location"] == again.headers["location"] == form.headers["location"]
    assert first.json()["id"] == again.json()["id"]
    assert Storage(None, tmp_path).jobs() == list(jobs.jobs)
    other = client.post("/videos?every=2", content=clip, headers={"Idempotency-Key": "two"})
    assert other.status_code == 202


def test_a_key_used_for_something_else_is_refused(client: TestClient, tmp_path: Path, clip: bytes) -> None:
    key = {"Idempotency-Key": "one"}
    job = client.post("/videos", content=clip, headers=key).json()
    same_length = clip[:-1] + bytes([clip[-1] ^ 1])
    for query, data in (("?every=2", clip), ("", clip + b"\0"), ("", same_length)):
        problem = _assert_problem(
            client.post(f"/videos{query}", content=data, headers=key), 422, "idempotency-key-reused"
        )
        assert problem["job"] == job["id"]
    assert Storage(None, tmp_path).jobs() == [job["id"]]
    assert Storage(None, tmp_path).fetch(job["id"], "source").read_bytes() == clip
    _assert_problem(
        client.post("/videos", content=clip, headers={"Idempotency-Key": "k" * 256}), 422, "invalid-parameters"
    )


def test_the_same_key_at_the_same_time_makes_one_job(tmp_path: Path, jobs: FakeJobs, clip: bytes) -> None:
    async def run() -> list[httpx.Response]:
        app = build_videos(tmp_path, jobs)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://yaop", timeout=60) as client:
                key = {"Idempotency-Key": "one"}
                return list(
                    await asyncio.gather(*(client.post("/videos", content=clip, headers=key) for _ in range(5)))
                )

    answers = asyncio.run(run())
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 202]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert Storage(None, tmp_path).jobs() == list(jobs.jobs)


def test_another_process_that_was_quicker_with_the_key_wins(
    client: TestClient, jobs: FakeJobs, tmp_path: Path, clip: bytes
) -> None:
    jobs.rival = JobSpec(
        id=JOB, bytes=len(clip), options=VideoOptions(), source=SOURCE, frames_total=12, idempotency_key="one"
    )
    response = client.post("/videos", content=clip, headers={"Idempotency-Key": "one"})
    assert (response.status_code, response.json()["id"]) == (200, JOB)
    assert Storage(None, tmp_path).jobs() == []


# Jobs


def test_the_list_is_paged_newest_first(client: TestClient, jobs: FakeJobs) -> None:
    ids = [f"{number:032x}" for number in range(5, 0, -1)]
    for job_id in reversed(ids):
        jobs.add(job_id)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = client.get("/videos", params=query).json()
        assert len(page["videos"]) <= 2
        seen += [job["id"] for job in page["videos"]]
        if page["next"] is None:
            break
        query["before"] = page["next"]
    assert seen == ids
    assert client.get("/videos?limit=5").json()["next"] is None
    assert FakeJobs().list(limit=1) == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "before=../etc", "after=1"])
def test_a_wrong_page_is_refused(client: TestClient, query: str) -> None:
    _assert_problem(client.get(f"/videos?{query}"), 422, "invalid-parameters")


@pytest.mark.parametrize("bad", [UNKNOWN, "nothing", "..%2f..%2fetc%2fpasswd", "%2e%2e", "0" * 31 + "g"])
@pytest.mark.parametrize("part", ["", "/events", "/video", "/poses", "/poster"])
def test_unknown_and_impossible_ids_are_not_found(client: TestClient, bad: str, part: str) -> None:
    response = client.get(f"/videos/{bad}{part}")
    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)


def test_deleting_cancels_first_and_removes_then(client: TestClient, jobs: FakeJobs, tmp_path: Path) -> None:
    storage = Storage(None, tmp_path)
    jobs.add(JOB, state="running", frames_done=3)
    put(storage, JOB, "source", b"12345")
    cancelled = client.delete(f"/videos/{JOB}")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert "cancelled" in _assert_problem(client.get(f"/videos/{JOB}/video"), 409, "not-ready")["detail"]
    deleted = client.delete(f"/videos/{JOB}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    _assert_problem(client.delete(f"/videos/{JOB}"), 404, "video-not-found")
    assert _files(tmp_path) == []


def test_without_videos_the_service_says_so(tmp_path: Path) -> None:
    app = build_videos(tmp_path, FakeJobs())
    app.dependency_overrides.clear()
    with TestClient(app) as client:
        for path in ("/videos", f"/videos/{JOB}"):
            _assert_problem(client.get(path), 503, "no-video-jobs")


# Events


def _events(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if "data:" in block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_events, "_POLL_SECONDS", 0.01)


class _Script(FakeJobs):
    """A job that gets on each time it is looked at."""

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        super().__init__()
        self.add(JOB)
        self.steps = steps

    def get(self, job_id: str) -> Job | None:
        if self.steps:
            self.change(job_id, **self.steps.pop(0))
        return self.jobs.get(job_id)


STEPS = [
    {},
    {"state": "running", "frames_done": 0},
    {"frames_done": 10},
    {},
    {"state": "queued"},  # its worker died
    {"state": "running", "frames_done": 8},
    {"frames_done": 30},
    {"state": "succeeded", "finished_at": START, "output": output(5)},
]


@pytest.mark.usefixtures("_quick")
def test_events_tell_of_progress_until_the_end(tmp_path: Path) -> None:
    with serving_videos(tmp_path, _Script([dict(step) for step in STEPS])) as client:
        response = client.get(f"/videos/{JOB}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("retry: ")
    events = _events(response.text)
    jobs = [Job.model_validate_json(event["data"]) for event in events]
    assert [(job.state, job.frames_done) for job in jobs] == [
        ("queued", 0), ("running", 0), ("running", 10), ("running", 30), ("succeeded", 30),
    ]  # fmt: skip
    assert [event["event"] for event in events] == ["progress"] * 4 + ["done"]
    assert "video" in jobs[-1].links and "video" not in jobs[0].links
    numbers = [int(event["id"]) for event in events]
    assert numbers == sorted(set(numbers))


@pytest.mark.usefixtures("_quick")
def test_events_go_on_after_the_last_one_that_came(tmp_path: Path) -> None:
    with serving_videos(tmp_path / "a", _Script([dict(step) for step in STEPS])) as client:
        events = _events(client.get(f"/videos/{JOB}/events").text)
    for count in range(len(events)):
        jobs = _Script([dict(step) for step in STEPS[count:]])
        with serving_videos(tmp_path / "b", jobs) as client:  # another process: it knows nothing but the job
            last = {"Last-Event-ID": events[count]["id"]}
            rest = client.get(f"/videos/{JOB}/events", headers=last)
            assert [e["id"] for e in _events(rest.text)] == [e["id"] for e in events[count + 1 :]]
            assert client.get(f"/videos/{JOB}/events", headers={"Last-Event-ID": events[-1]["id"]}).status_code == 204


@pytest.mark.parametrize("last", ["", "-5", "abc", "9" * 50, "1.5"])
def test_a_strange_last_id_gives_all_events(client: TestClient, jobs: FakeJobs, last: str) -> None:
    jobs.add(JOB, state="failed", finished_at=START)
    response = client.get(f"/videos/{JOB}/events", headers={"Last-Event-ID": last})
    assert [event["event"] for event in _events(response.text)] == ["done"]


@pytest.mark.usefixtures("_quick")
def test_events_end_when_the_job_is_deleted_or_the_service_stops(tmp_path: Path) -> None:
    class Gone(FakeJobs):
        def get(self, job_id: str) -> Job | None:
            return self.jobs.pop(job_id, None)

    jobs = Gone()
    jobs.add(JOB, state="running")
    with serving_videos(tmp_path, jobs) as client:
        assert len(_events(client.get(f"/videos/{JOB}/events").text)) == 1
    jobs = FakeJobs()
    jobs.add(JOB, state="running")
    with serving_videos(tmp_path, jobs) as client:
        client.app.state.stopping.set()  # type: ignore[attr-defined]
        assert len(_events(client.get(f"/videos/{JOB}/events").text)) == 1


def test_a_quiet_stream_sends_comments_and_ends_when_the_client_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_events, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(video_events, "_KEEP_ALIVE_SECONDS", 0.02)
    jobs = FakeJobs()
    job = with_links(jobs.add(JOB, state="running"))

    async def run() -> list[bytes]:
        response = video_events.events_response(job, lambda: jobs.get(JOB), -1, lambda: False)
        stream: AsyncIterator[Any] = aiter(response.body_iterator)
        pieces = [await anext(stream) for _ in range(4)]
        await stream.aclose()  # type: ignore[attr-defined]
        return pieces

    pieces = asyncio.run(run())
    assert b"event: progress" in pieces[1]
    assert pieces[2:] == [b": keep-alive\n\n"] * 2


def test_events_are_looked_for_on_threads_of_their_own_and_less_often_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = FakeJobs()
    job = with_links(jobs.add(JOB, state="running"))
    threads: list[str] = []
    pauses: list[float] = []
    moments = iter(range(0, 1000, 4))
    monkeypatch.setattr(video_events, "monotonic", lambda: float(next(moments)))

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    def look() -> Job | None:
        threads.append(threading.current_thread().name)
        return jobs.get(JOB) if len(threads) < 8 else None

    async def run() -> None:
        monkeypatch.setattr(video_events, "sleep", sleep)
        async for _ in video_events.events_response(job, look, -1, lambda: False).body_iterator:
            pass

    asyncio.run(run())
    assert all(name.startswith("yaop-events") for name in threads)
    assert pauses[0] < pauses[-1] <= 1
    assert pauses == sorted(pauses)


# Results


def _finish(jobs: FakeJobs, storage: Storage, filename: str | None = "dance.mp4") -> bytes:
    data = bytes(range(256)) * 200
    keypoints = People.none(BODY_18).keypoints.repeat(0, axis=0)
    people = People(keypoints, People.none(BODY_18).scores)
    model = ModelRef(name="discs", version="1.2.3")
    lines = [frame_from_people(people, BODY_18, 160, 120, model, {}, i, i / 30).model_dump_json() for i in range(3)]
    put(storage, JOB, "video.mp4", data)
    put(storage, JOB, "poses.jsonl", ("\n".join(lines) + "\n").encode())
    put(storage, JOB, "poster.jpg", b"\xff\xd8jpeg")
    jobs.add(JOB, state="succeeded", frames_done=30, finished_at=START, output=output(len(data)), filename=filename)
    return data


@pytest.fixture
def video(jobs: FakeJobs, tmp_path: Path) -> bytes:
    return _finish(jobs, Storage(None, tmp_path))


def test_the_video_is_served_whole_with_its_name_and_kind(client: TestClient, video: bytes) -> None:
    response = client.get(f"/videos/{JOB}/video")
    assert (response.status_code, response.content) == (200, video)
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-disposition"] == 'inline; filename="dance_poses.mp4"'
    assert response.headers["x-content-type-options"] == "nosniff"
    head = client.head(f"/videos/{JOB}/video")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(video))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, 51200),
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=51199-", 51199, 51200),
        ("bytes=-100", 51100, 51200),
        ("bytes=-99999999", 0, 51200),
        ("bytes=51000-99999999999", 51000, 51200),
        ("bytes=100-199, 60000-", 100, 200),
    ],
)
def test_ranges_are_served(client: TestClient, video: bytes, asked: str, start: int, end: int) -> None:
    response = client.get(f"/videos/{JOB}/video", headers={"Range": asked})
    assert (response.status_code, response.content) == (206, video[start:end])
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(video)}"
    assert response.headers["content-length"] == str(end - start)


def test_several_ranges_are_served_in_one_answer(client: TestClient, video: bytes) -> None:
    response = client.get(f"/videos/{JOB}/video", headers={"Range": "bytes=0-9,100-109"})
    assert response.status_code == 206
    assert response.headers["content-type"].startswith("multipart/byteranges")
    assert video[:10] in response.content and video[100:110] in response.content


@pytest.mark.parametrize("asked", ["bytes=51200-", "bytes=-0", "bytes=60000-70000"])
def test_a_range_outside_is_a_problem(client: TestClient, video: bytes, asked: str) -> None:
    response = client.get(f"/videos/{JOB}/video", headers={"Range": asked})
    _assert_problem(response, 416, "range-not-satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(video)}"


@pytest.mark.parametrize("asked", ["bytes=", "bytes=5-2", "bytes=a-b", "lines=1-2", "0-9", "bytes=1-2-3"])
def test_a_range_that_makes_no_sense_is_ignored(client: TestClient, video: bytes, asked: str) -> None:
    response = client.get(f"/videos/{JOB}/video", headers={"Range": asked})
    assert (response.status_code, response.content) == (200, video)


def test_what_the_client_has_is_not_sent_again(client: TestClient, video: bytes) -> None:
    etag = client.get(f"/videos/{JOB}/video").headers["etag"]
    for given in (etag, f'"other", W/{etag}', "*"):
        response = client.get(f"/videos/{JOB}/video", headers={"If-None-Match": given})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
    assert client.get(f"/videos/{JOB}/video", headers={"If-None-Match": '"other"'}).status_code == 200
    same = client.get(f"/videos/{JOB}/video", headers={"Range": "bytes=0-9", "If-Range": etag})
    changed = client.get(f"/videos/{JOB}/video", headers={"Range": "bytes=99999-", "If-Range": '"other"'})
    assert (same.status_code, changed.status_code) == (206, 200)
    assert client.get(f"/videos/{JOB}/poses").headers["etag"] != etag


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (None, 'inline; filename="video_poses.mp4"'),
        ('Tänze "1".mov', "inline; filename=\"T_nze _1__poses.mp4\"; filename*=UTF-8''T%C3%A4nze%20%221%22_poses.mp4"),
        ("..", 'inline; filename=".._poses.mp4"'),
    ],
)
def test_any_name_is_told_safely(
    client: TestClient, jobs: FakeJobs, video: bytes, filename: str | None, expected: str
) -> None:
    jobs.change(JOB, filename=filename)
    assert client.get(f"/videos/{JOB}/video").headers["content-disposition"] == expected


@pytest.mark.usefixtures("video")
def test_the_poses_come_in_each_format(client: TestClient) -> None:
    native = client.get(f"/videos/{JOB}/poses")
    assert native.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["index"] for line in native.text.splitlines()] == [0, 1, 2]
    assert client.get(f"/videos/{JOB}/poses", headers={"Range": "bytes=0-0"}).text == "{"
    table = client.get(f"/videos/{JOB}/poses?format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["content-disposition"] == 'attachment; filename="dance_poses.csv"'
    assert table.text.startswith("frame,timestamp,person,id,")
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/videos/{JOB}/poses?format=OpenPose").content))
    assert archive.namelist() == [f"dance_{index:012d}_keypoints.json" for index in range(3)]
    assert client.get(f"/videos/{JOB}/poses?format=coco").json() == []
    problem = _assert_problem(client.get(f"/videos/{JOB}/poses?format=xml"), 422, "invalid-parameters")
    assert "'native', 'csv', 'openpose' or 'coco'" in problem["detail"]
    assert client.head(f"/videos/{JOB}/poses?format=csv").status_code == 200


@pytest.mark.usefixtures("video")
def test_the_poster_is_a_jpeg(client: TestClient) -> None:
    response = client.get(f"/videos/{JOB}/poster")
    assert (response.headers["content-type"], response.content) == ("image/jpeg", b"\xff\xd8jpeg")


def test_results_are_refused_until_the_job_succeeded(client: TestClient, jobs: FakeJobs) -> None:
    jobs.add(JOB, state="running", frames_done=3)
    for part in ("video", "poses", "poster"):
        problem = _assert_problem(client.get(f"/videos/{JOB}/{part}"), 409, "not-ready")
        assert "3 of 30 frames" in problem["detail"] and problem["state"] == "running"
    error = {"type": "urn:yaop:problem:video-corrupt", "title": "", "status": 422, "detail": "It is broken."}
    jobs.jobs[JOB] = Job.model_validate(jobs.jobs[JOB].model_dump() | {"state": "failed", "error": error})
    assert "It is broken." in _assert_problem(client.get(f"/videos/{JOB}/video"), 409, "not-ready")["detail"]


def test_results_that_are_gone_are_not_found(client: TestClient, jobs: FakeJobs) -> None:
    jobs.add(JOB, state="succeeded", finished_at=START, output=output(1))
    _assert_problem(client.get(f"/videos/{JOB}/video"), 404, "file-not-found")


def test_results_at_a_remote_place_are_served_too(tmp_path: Path, jobs: FakeJobs) -> None:
    url = f"memory://{time.time_ns()}"
    data = _finish(jobs, Storage(url, tmp_path))
    with serving_videos(tmp_path, jobs, artifacts_url=url) as client:
        response = client.get(f"/videos/{JOB}/video", headers={"Range": "bytes=10-19"})
        assert (response.status_code, response.content) == (206, data[10:20])


# The document


def test_openapi_has_a_real_example_for_every_problem_of_videos(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in json.dumps(document)
    calls = {path: calls for path, calls in document["paths"].items() if path.startswith("/videos")}
    assert set(calls) == {"/videos"} | {
        f"/videos/{{video_id}}{part}" for part in ("", "/events", "/video", "/poses", "/poster")
    }
    for call in [call for calls in calls.values() for call in calls.values()]:
        assert call["summary"] and call["description"]
        for status, response in call["responses"].items():
            if int(status) < 400:
                continue
            examples = response["content"][PROBLEM]["examples"].values()
            assert examples and all(example["value"]["status"] == int(status) for example in examples)
    body = calls["/videos"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "video/mp4", "application/octet-stream"} <= set(body)
    names = {parameter["name"] for parameter in calls["/videos"]["post"]["parameters"]}
    assert names == {*VideoOptions.model_fields, "Idempotency-Key"}


def test_the_example_is_what_the_schema_says() -> None:
    job = Job.model_validate(JOB_EXAMPLE)
    assert with_links(job) == job
    assert json.loads(job.model_dump_json()) == JOB_EXAMPLE

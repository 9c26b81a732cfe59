"""The Python client against scripted answers: what it sends, how it follows a job, what it does when nobody answers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import Client, ClientError
from service.client.events import Event, read_events
from service.jobs.options import VideoOptions
from service.topology import Topology
from shared.errors import YaopError
from shared.skeleton import BODY_18
from tests.fake_engine import DiscEngine, fake_model
from tests.fake_videos_api import ID, PROBLEM, SOURCE, Broken, Script, answer, event, events, job

GONE = httpx.ReadError("the connection was reset")
REFUSED = httpx.ConnectError("[Errno 111] Connection refused")
FRAME = {"width": 4, "height": 2, "people": [], "model": {"name": "discs", "version": "1.2.3"}}


class Sleeps(list[float]):
    """Takes the place of waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"clip!" * 40_000)
    return path


def client(script: Script, sleeps: Sleeps | None = None, **more: Any) -> Client:
    return Client("http://yaop.test:8000/", transport=script, sleep=Sleeps() if sleeps is None else sleeps, **more)


def file_answer(data: bytes, **headers: str) -> httpx.Response:
    return httpx.Response(200, content=data, headers=headers)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://127.0.0.1", "ws:///stream", "http://", "http://[::1"])
def test_what_is_no_address_is_said_so(url: str) -> None:
    with pytest.raises(YaopError, match="no address of a service"):
        Client(url)


def test_a_service_may_be_mounted_at_a_folder_and_ask_for_a_key() -> None:
    script = Script(GET__yaop_models=[httpx.Response(200, json={"models": []})])
    assert Client("https://example.test/yaop/?x=1", key="secret", transport=script).models() == []
    assert str(script.requests[0].url) == "https://example.test/yaop/models"
    assert script.requests[0].headers["Authorization"] == "Bearer secret"


def test_models_are_listed() -> None:
    summary = {"name": "discs", "version": "1.2.3", "default": True, "engine": "fake"}
    (model,) = client(Script(GET__models=[httpx.Response(200, json={"models": [summary]})])).models()
    assert (model.name, model.default) == ("discs", True)


def test_a_picture_is_estimated_with_the_options_that_were_given(tmp_path: Path) -> None:
    script = Script(POST__pose=[httpx.Response(200, json=FRAME)])
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"picture")
    frame = client(script).estimate(path, resolution="fast", flip=True, roi=(1, 2, 30, 40))
    assert (frame.width, frame.people) == (4, [])
    assert dict(script.requests[0].url.params) == {"resolution": "fast", "flip": "true", "roi": "1,2,30,40"}
    assert script.requests[0].content == b"picture"
    client(script).estimate(b"other")
    assert (script.requests[1].content, dict(script.requests[1].url.params)) == (b"other", {})


def test_a_problem_is_an_error_with_its_title_and_detail() -> None:
    script = Script(POST__pose=[httpx.Response(415, json=PROBLEM)])
    with pytest.raises(ClientError, match=r"^Unsupported container: It is Ogg") as caught:
        client(script).estimate(b"Ogg")
    assert (caught.value.title, caught.value.status) == ("Unsupported container", 415)
    assert caught.value.problem is not None
    assert caught.value.problem.type == "urn:yaop:problem:unsupported-container"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (httpx.Response(404, text="<html>", headers={"Content-Type": "text/html"}), "is this a YAOP service"),
        (httpx.Response(301, headers={"Location": "https://yaop.test/models"}), "redirects to, https://yaop.test"),
        (httpx.Response(200, text="hello"), "not what this version of YAOP expects"),
        (httpx.Response(502, text="upstream is\n down"), "Bad Gateway: .* answered 502: upstream is down"),
        (REFUSED, "No answer: http://yaop.test:8000: Connection refused"),
        (httpx.ReadTimeout("timed out"), "it took too long"),
    ],
)
def test_an_answer_that_is_not_the_services_is_an_error(given: Any, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        client(Script(GET__models=[given])).models()


def test_a_video_is_sent_with_its_name_and_the_options_that_differ_from_the_defaults(clip: Path) -> None:
    script = Script(POST__videos=[answer(job("queued"), 202)])
    progress: list[tuple[int, int]] = []
    options = VideoOptions.model_validate({"every": 3, "track": False, "codec": "XVID", "resolution": "balanced"})
    done = client(script).upload_video(clip, options, "key-1", lambda done, total: progress.append((done, total)))
    assert (done.id, done.state) == (ID, "queued")
    (request,) = script.requests
    assert dict(request.url.params) == {"every": "3", "track": "false", "codec": "XVID"}
    assert request.headers["Idempotency-Key"] == "key-1"
    assert 'name="video"; filename="clip.mp4"' in request.content[:300].decode("ascii", "ignore")
    assert clip.read_bytes() in request.content
    assert int(request.headers["Content-Length"]) == len(request.content)
    assert progress[-1] == (200_000, 200_000)
    assert len(progress) > 3


def test_an_upload_that_breaks_is_sent_again_under_the_same_key(clip: Path, sleeps: Sleeps) -> None:
    busy = httpx.Response(503, json=PROBLEM | {"status": 503}, headers={"Retry-After": "7"})
    script = Script(POST__videos=[GONE, busy, REFUSED, answer(job("queued"), 202)])
    assert client(script, sleeps).upload_video(clip).id == ID
    keys = {request.headers["Idempotency-Key"] for request in script.requests}
    assert len(script.requests) == 4
    assert len(keys) == 1
    assert all(clip.read_bytes() in request.content for request in script.requests)
    assert sleeps[1] == 7
    assert client(script).upload_video(clip).id == ID
    assert script.requests[-1].headers["Idempotency-Key"] not in keys


def test_an_upload_is_not_sent_again_for_ever(clip: Path, sleeps: Sleeps) -> None:
    script = Script(POST__videos=[GONE])
    with pytest.raises(ClientError, match="the connection was reset"):
        client(script, sleeps).upload_video(clip)
    assert len(script.requests) == len(sleeps) + 1 < 10


def test_a_refused_upload_is_not_sent_again(clip: Path, sleeps: Sleeps) -> None:
    script = Script(POST__videos=[httpx.Response(415, json=PROBLEM)])
    with pytest.raises(ClientError, match="Ogg"):
        client(script, sleeps).upload_video(clip)
    assert (len(script.requests), sleeps) == (1, [])


def test_a_wrong_address_is_told_at_once(clip: Path, sleeps: Sleeps) -> None:
    with pytest.raises(ClientError, match="Connection refused"):
        client(Script(POST__videos=[REFUSED]), sleeps).upload_video(clip)
    assert sleeps == []


def test_a_video_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(YaopError, match=r"missing\.mp4: No such file"):
        client(Script()).upload_video(tmp_path / "missing.mp4")


def test_a_job_is_followed_to_its_end() -> None:
    end = event(job("succeeded", 30), 3, "done")
    stream = events(b": hello\n\n", event(job(frames_done=10), 1), event(job(frames_done=20), 2), end[:40], end[40:])
    seen: list[int] = []
    done = client(Script(GET__videos_ID_events=[stream])).wait(ID, lambda now: seen.append(now.frames_done))
    assert (done.state, seen) == ("succeeded", [10, 20, 30])


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_jobs_that_end_otherwise_end_the_wait(state: str) -> None:
    script = Script(GET__videos_ID_events=[events(event(job(state, 3), 1, "done"))])
    assert client(script).wait(ID).state == state


def test_following_goes_on_after_the_last_event_when_the_service_restarts(sleeps: Sleeps) -> None:
    unavailable = httpx.Response(503, text="restarting")
    notes: list[str] = []
    script = Script(
        GET__videos_ID_events=[
            events(event(job(frames_done=10), 7), GONE),
            events(event(job(frames_done=20), 8)),  # ended by a shutdown
            events(event(job("succeeded", 30), 9, "done")),
        ],
        GET__videos_ID=[REFUSED, unavailable, answer(job(frames_done=10)), answer(job(frames_done=20))],
    )
    done = client(script, sleeps, notify=notes.append).wait(ID)
    assert done.state == "succeeded"
    asked = script.asked("GET", "/videos/ID/events")
    assert [request.headers.get("Last-Event-ID") for request in asked] == [None, "7", "8"]
    assert len(sleeps) == len(notes) == 4
    assert sleeps[0] < sleeps[1] < sleeps[2]  # it backs off while nobody answers
    assert "Connection refused; trying again in" in notes[1]


def test_a_job_that_finished_meanwhile_is_seen_without_events() -> None:
    script = Script(
        GET__videos_ID_events=[events(event(job(frames_done=10), 1), GONE)],
        GET__videos_ID=[answer(job("succeeded", 30))],
    )
    assert client(script).wait(ID).frames_done == 30
    assert len(script.requests) == 2


def test_a_service_that_stays_away_ends_the_wait(sleeps: Sleeps) -> None:
    script = Script(GET__videos_ID_events=[events(event(job(frames_done=1), 1), GONE)], GET__videos_ID=[REFUSED])
    moments = iter(range(0, 10_000, 20))
    waiting = client(script, sleeps, patience=100)
    object.__setattr__(waiting._patience, "clock", lambda: float(next(moments)))
    with pytest.raises(ClientError, match="Connection refused"):
        waiting.wait(ID)
    assert 3 <= len(sleeps) <= 5


def test_a_job_that_is_not_there_ends_the_wait() -> None:
    missing = httpx.Response(404, json=PROBLEM | {"status": 404, "title": "Video not found"})
    with pytest.raises(ClientError, match="Video not found"):
        client(Script(GET__videos_ID_events=[missing])).wait(ID)


def test_events_may_come_in_any_pieces() -> None:
    body = ': comment\r\n\r\nid: 1\r\nevent: progress\r\ndata: {"a":\r\ndata: "\u2028é"}\r\n\r\ndata:x\n\n'
    body += "event: empty\n\nid: 4\ndata: cut off"
    expected = [Event("progress", '{"a":\n"\u2028é"}', "1"), Event("message", "x", None)]
    data = body.encode()
    for size in (1, 2, 3, 7, len(data)):
        chunks = [data[start : start + size] for start in range(0, len(data), size)]
        assert list(read_events(chunks)) == expected


def test_a_video_is_downloaded(tmp_path: Path) -> None:
    script = Script(GET__videos_ID_video=[file_answer(b"x" * 100_000)])
    progress: list[tuple[int, int]] = []
    client(script).download_video(ID, tmp_path / "out.mp4", lambda done, total: progress.append((done, total)))
    assert (tmp_path / "out.mp4").read_bytes() == b"x" * 100_000
    assert progress[-1] == (100_000, 100_000)


def test_a_download_that_breaks_goes_on_where_it_was(tmp_path: Path) -> None:
    headers = {"ETag": '"v1"', "Content-Length": "10"}
    rest = httpx.Response(206, content=b"56789", headers={"ETag": '"v1"', "Content-Range": "bytes 5-9/10"})
    script = Script(
        GET__videos_ID_video=[httpx.Response(200, stream=Broken(b"01234", GONE), headers=headers), REFUSED, rest]
    )
    client(script).download_video(ID, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"0123456789"
    resumed = script.requests[-1].headers
    assert (resumed["Range"], resumed["If-Range"]) == ("bytes=5-", '"v1"')


def test_a_download_of_a_file_that_changed_begins_again(tmp_path: Path) -> None:
    broken = httpx.Response(200, stream=Broken(b"old", GONE), headers={"ETag": '"v1"', "Content-Length": "10"})
    script = Script(GET__videos_ID_video=[broken, file_answer(b"new one", ETag='"v2"')])
    client(script).download_video(ID, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"new one"


def test_a_download_that_fails_leaves_what_was_there(tmp_path: Path, sleeps: Sleeps) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"before")
    broken = httpx.Response(200, stream=Broken(b"part", GONE))
    script = Script(GET__videos_ID_video=[broken, httpx.Response(404, json=PROBLEM)])
    with pytest.raises(ClientError):
        client(script, sleeps).download_video(ID, path)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_poses_are_downloaded_in_a_format_to_a_file_or_a_stream(tmp_path: Path) -> None:
    script = Script(GET__videos_ID_poses=[file_answer(b"a,b\n")])
    client(script).download_poses(ID, tmp_path / "poses.csv", "csv")
    assert (tmp_path / "poses.csv").read_bytes() == b"a,b\n"
    stream = io.BytesIO()
    client(script).download_poses(ID, stream, "coco")
    assert stream.getvalue() == b"a,b\n"
    assert [request.url.params["format"] for request in script.requests] == ["csv", "coco"]


@pytest.mark.parametrize("kind", [str, Path])
def test_files_may_be_named_by_a_text_or_a_path(clip: Path, tmp_path: Path, kind: Callable[[Path], str | Path]) -> None:
    script = Script(
        POST__pose=[httpx.Response(200, json=FRAME)],
        POST__videos=[answer(job("queued"), 202)],
        GET__videos_ID_video=[file_answer(b"video")],
        GET__videos_ID_poses=[file_answer(b"poses")],
    )
    caller = client(script)
    caller.estimate(kind(clip))
    caller.upload_video(kind(clip))
    caller.download_video(ID, kind(tmp_path / "out.mp4"))
    caller.download_poses(ID, kind(tmp_path / "poses.csv"), "csv")
    assert script.asked("POST", "/pose")[0].content == clip.read_bytes()
    assert clip.read_bytes() in script.asked("POST", "/videos")[0].content
    assert (tmp_path / "out.mp4").read_bytes() == b"video"
    assert (tmp_path / "poses.csv").read_bytes() == b"poses"


def test_jobs_are_listed_page_by_page() -> None:
    ids = [f"{number:032x}" for number in range(5)]

    def page(request: httpx.Request) -> httpx.Response:
        before = request.url.params.get("before")
        start = ids.index(before) + 1 if before else 0
        shown = [json.loads(job(id=one).model_dump_json()) for one in ids[start : start + 2]]
        return httpx.Response(200, json={"videos": shown, "next": shown[-1]["id"] if start + 2 < len(ids) else None})

    script = Script(GET__videos=[page])
    assert [one.id for one in client(script).jobs()] == ids
    assert len(script.requests) == 3
    assert [one.id for one in client(script).jobs(limit=3)] == ids[:3]
    assert len(script.requests) == 5


def test_one_job_is_shown() -> None:
    source = client(Script(GET__videos_ID=[answer(job(frames_done=4))])).job(ID).source
    assert (source.width, source.fps) == (160, SOURCE["fps"])


def test_an_id_cannot_leave_its_folder() -> None:
    requests: list[httpx.Request] = []

    def record(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(404, json=PROBLEM)

    with pytest.raises(ClientError):
        Client("http://yaop.test", transport=httpx.MockTransport(record)).job("../models?x=1")
    assert requests[0].url.raw_path == b"/videos/..%2Fmodels%3Fx%3D1"


def test_a_job_under_way_is_cancelled() -> None:
    script = Script(GET__videos_ID=[answer(job("running"))], DELETE__videos_ID=[answer(job("cancelled"))])
    assert client(script).cancel(ID).state == "cancelled"
    assert len(script.asked("DELETE", "/videos/ID")) == 1


def test_cancelling_keeps_the_files_of_a_job_that_is_finished() -> None:
    script = Script(GET__videos_ID=[answer(job("succeeded", 30))])
    assert client(script).cancel(ID).state == "succeeded"
    assert script.asked("DELETE", "/videos/ID") == []


def test_deleting_a_job_under_way_cancels_it_and_then_removes_it() -> None:
    script = Script(
        GET__videos_ID_events=[events(event(job("cancelled", 3), 1, "done"))],
        DELETE__videos_ID=[answer(job("running")), httpx.Response(204)],
    )
    client(script).delete(ID)
    assert [request.method for request in script.requests] == ["DELETE", "GET", "DELETE"]


def test_deleting_a_finished_job_removes_it_at_once() -> None:
    script = Script(DELETE__videos_ID=[httpx.Response(204)])
    client(script).delete(ID)
    assert len(script.requests) == 1


def test_several_pictures_get_a_result_or_a_problem_each(tmp_path: Path) -> None:
    items = [{"filename": "picture0", "result": FRAME, "problem": None}, {"filename": "b.jpg", "problem": PROBLEM}]
    script = Script(POST__pose_batch=[httpx.Response(200, json={"results": items})])
    (tmp_path / "b.jpg").write_bytes(b"second")
    first, second = client(script).estimate_batch([b"first", tmp_path / "b.jpg"], max_people=3, model=None)
    assert first.result is not None and first.result.width == 4
    assert second.result is None and second.problem is not None and second.problem.title == "Unsupported container"
    assert client(script).estimate_batch([]) == []
    (request,) = script.requests
    assert dict(request.url.params) == {"max_people": "3"}
    for name, data in (("picture0", b"first"), ("b.jpg", b"second")):
        head = f'name="images"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        assert head.encode() + data in request.content


def test_a_picture_comes_back_drawn_in_the_format_asked_for() -> None:
    script = Script(POST__pose=[file_answer(b"\x89PNG")])
    assert client(script).draw(b"picture", "png", flip=True) == b"\x89PNG"
    client(script).draw(b"picture")
    asked = [(request.headers["Accept"], dict(request.url.params)) for request in script.requests]
    assert asked == [("image/png", {"flip": "true", "draw": "true"}), ("image/jpeg", {"draw": "true"})]


def test_people_come_in_the_layouts_of_openpose_and_coco() -> None:
    person = {"person_id": [-1], "pose_keypoints_2d": [0.5] * 54}
    entry = {"image_id": 7, "category_id": 1, "keypoints": [1.5] * 51, "score": 0.5}
    layouts = [httpx.Response(200, json={"version": 1.3, "people": [person]}), httpx.Response(200, json=[entry])]
    script = Script(POST__pose=[*layouts, httpx.Response(200, json={"no": "list"})])
    assert client(script).openpose(b"picture").people[0].pose_keypoints_2d == [0.5] * 54
    assert client(script).coco(b"picture", 7)[0].image_id == 7
    assert dict(script.requests[1].url.params) == {"format": "coco", "image_id": "7"}
    with pytest.raises(ClientError, match="not what this version of YAOP expects"):
        client(script).coco(b"picture")


def test_fields_are_arrays_by_name() -> None:
    archive = io.BytesIO()
    np.savez(archive, heatmaps=np.ones((2, 3, 18), np.float32), keypoints=np.array(["nose"]))
    script = Script(POST__pose=[file_answer(archive.getvalue()), file_answer(b"no archive")])
    fields = client(script).fields(b"picture", resolution=256)
    assert fields["heatmaps"].shape == (2, 3, 18)
    assert fields["keypoints"].tolist() == ["nose"]
    assert dict(script.requests[0].url.params) == {"resolution": "256", "fields": "true"}
    with pytest.raises(ClientError, match="Not understood"):
        client(script).fields(b"picture")


def test_a_model_is_shown_with_its_manifest_and_skeleton() -> None:
    manifest = fake_model(DiscEngine()).bundle.manifest.model_dump(mode="json")
    topology = Topology.of(BODY_18).model_dump(mode="json")
    details = manifest | {"default": True, "engine": "fake", "topology": topology}
    script = Script(GET__models_discs=[httpx.Response(200, json=details)])
    model = client(script).model("discs")
    assert (model.stride, model.engine, model.topology.keypoints) == (4, "fake", BODY_18.keypoints)


def test_models_are_reloaded_with_the_admin_key() -> None:
    summary = {"name": "discs", "version": "2", "default": True, "engine": "fake"}
    script = Script(POST__models_reload=[httpx.Response(200, json={"models": [summary]})])
    assert client(script, key="mine").reload_models("admin")[0].version == "2"
    client(script, key="mine").reload_models()
    assert [request.headers["Authorization"] for request in script.requests] == ["Bearer admin", "Bearer mine"]


def test_health_is_a_yes_or_a_no_of_a_service() -> None:
    busy = httpx.Response(503, json=PROBLEM | {"status": 503})
    other = httpx.Response(404, text="nothing here")
    script = Script(
        GET__health_live=[httpx.Response(200, json={"status": "alive"})],
        GET__health_ready=[httpx.Response(200, json={"status": "ready", "models": ["discs"]}), busy, REFUSED, other],
    )
    assert client(script).is_live()
    assert [client(script).is_ready() for _ in range(3)] == [True, False, False]
    with pytest.raises(ClientError, match="nothing here"):
        client(script).is_ready()


def test_metrics_are_text() -> None:
    assert client(Script(GET__metrics=[httpx.Response(200, text="yaop_x 1\n")])).metrics() == "yaop_x 1\n"


def test_a_poster_is_fetched() -> None:
    assert client(Script(GET__videos_ID_poster=[file_answer(b"jpeg")])).poster(ID) == b"jpeg"


@pytest.mark.parametrize(
    ("given", "passing"),
    [(REFUSED, True), (GONE, True), (httpx.Response(503), True), (httpx.Response(429), True)]
    + [(httpx.Response(404), False), (httpx.Response(415, json=PROBLEM), False), (httpx.Response(200), False)],
)
def test_an_error_says_whether_it_may_pass(given: Any, passing: bool) -> None:
    with pytest.raises(ClientError) as caught:
        client(Script(GET__models=[given])).models()
    assert caught.value.passing == passing


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("ws://yaop.test:8000/stream", "http://yaop.test:8000"),
        ("wss://yaop.test/base/stream?x=1", "https://yaop.test/base"),
        ("ws://yaop.test", "http://yaop.test"),
        ("http://yaop.test/stream", "http://yaop.test/stream"),
    ],
)
def test_the_address_of_its_streams_names_a_service_too(given: str, url: str) -> None:
    assert Client(given).url == url


@pytest.mark.parametrize(
    "url", ["ftp://user:secret@127.0.0.1", "http://user:sec/secret@[::1", "user:secret@127.0.0.1", "ws://a:secret@"]
)
def test_an_address_that_is_none_is_told_without_its_password(url: str) -> None:
    with pytest.raises(YaopError, match="no address of a service") as caught:
        Client(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        httpx.Response(404, text="no"),
        httpx.Response(200, text="no"),
        httpx.Response(307, headers={"location": "http://user:secret@elsewhere/"}),
        REFUSED,
        httpx.ConnectError("http://user:secret@yaop.test: no"),
    ],
)
def test_no_failure_tells_the_password_of_the_address(given: Any) -> None:
    script = Script(GET__models=[given])
    with pytest.raises(ClientError) as caught:
        Client("http://user:secret@yaop.test:8000", transport=script).models()
    assert "secret" not in str(caught.value)
    assert "yaop.test" in str(caught.value)


@pytest.mark.parametrize("key", ["clé-geheim", "geheim\n", " geheim", "geh\0eim", "geheim\r\nX-Other: 1"])
def test_a_key_that_cannot_be_sent_is_told_without_it(key: str) -> None:
    with pytest.raises(YaopError, match="the key cannot be sent") as caught:
        Client("http://yaop.test", key)
    assert "geh" not in str(caught.value)
    with pytest.raises(YaopError, match="the key cannot be sent") as caught:
        client(Script()).reload_models(admin_key=key)
    assert "geh" not in str(caught.value)

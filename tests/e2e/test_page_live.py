"""The page's live tab, in a real browser with a camera that plays a clip.

Some tests go all the way with a server; the others make the service's side in the browser (see `StreamRoutes`), so
that every state can be had at once.
"""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, WebSocket, expect

from service.streams.header import HEADER_BYTES, Header
from service.streams.messages import StreamOptions
from shared.schema import Frame
from shared.skeleton import BODY_18
from tests.browser import another_browser, open_browser
from tests.fake_camera import camera_flags, discs_camera, people_camera
from tests.server_process import FAKE, REAL, Server, running
from tests.stream_routes import Picture, StreamRoutes, error, person, result

FAR = "yaop.test"  # a name that is not this machine's own, but leads to it
SHOULDERS = {"neck": (192.0, 150.0), "nose": (192.0, 100.0), "right_shoulder": (100.0, 150.0)}

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(*FAKE, data_dir=str(tmp_path_factory.mktemp("data"))) as started:
        yield started


@pytest.fixture(scope="module")
def browser(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    clip = discs_camera(tmp_path_factory.mktemp("camera") / "discs.y4m")
    with open_browser(chromium, *camera_flags(clip), f"--host-resolver-rules=MAP {FAR} 127.0.0.1") as running_browser:
        yield running_browser


@pytest.fixture
def service(page: Page) -> StreamRoutes:
    """What the page believes to be the service."""
    return StreamRoutes().install(page)


def open_live(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/#live")
    expect(page.locator("#live-panel")).to_be_visible()


def start(page: Page, server: Server) -> None:
    """Open the tab and start the camera."""
    open_live(page, server)
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#live-view")).to_be_visible()


def until(page: Page, condition: Callable[[], Any], seconds: float = 20) -> None:
    """Let the page go on until something is so."""
    for _ in range(round(seconds / 0.02)):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError("it did not happen in time")


def number(page: Page, name: str) -> float:
    """A figure; -1 while there is none."""
    text = page.locator(f"#live-{name}").inner_text().replace(",", "")
    return float(text) if text[0].isdecimal() else -1


def overlay(page: Page) -> tuple[int | None, NDArray[np.uint8]]:
    """Number of the picture whose people are shown, and the canvas, RGBA ``[H, W, 4]``, at the same moment."""
    script = """() => {
      const canvas = document.getElementById("live-canvas");
      const { width, height } = canvas;
      const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      let text = "";
      for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
      return [canvas.dataset.index, width, height, btoa(text)];
    }"""
    index, width, height, data = page.evaluate(script)
    pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
    return (int(index) if index else None), pixels


def color_at(pixels: NDArray[np.uint8], x: float, y: float, size: tuple[int, int]) -> list[int]:
    """RGBA of an overlay at a place of the picture, in whose pixels it is."""
    height, width = pixels.shape[:2]
    return pixels[int((y + 0.5) * height / size[1]), int((x + 0.5) * width / size[0])].tolist()


def size_of(jpeg: bytes) -> tuple[int, int]:
    height, width = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    return width, height


class Traffic:
    """What went over the page's own WebSocket."""

    def __init__(self, page: Page) -> None:
        self.pictures: dict[int, bytes] = {}
        self.sent: list[dict[str, Any]] = []
        self.results: dict[int, dict[str, Any]] = {}
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framesent", self._send)
        socket.on("framereceived", self._receive)

    def _send(self, payload: str | bytes) -> None:
        if isinstance(payload, bytes):
            self.pictures[Header.unpack(payload).sequence] = payload[HEADER_BYTES:]
        else:
            self.sent.append(json.loads(payload))

    def _receive(self, payload: str | bytes) -> None:
        message = json.loads(payload)
        if message["type"] == "result":
            self.results[message["index"]] = message


# All the way


@pytest.mark.slow
def test_skeletons_are_on_the_right_limbs_of_real_people(chromium: Path, browser: Browser, tmp_path: Path) -> None:
    clip = people_camera(tmp_path / "people.y4m")
    with running(*REAL) as server, another_browser(browser, chromium, *camera_flags(clip)) as other:
        page = other.new_page(device_scale_factor=2)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        traffic = Traffic(page)
        open_live(page, server)
        for name in ("Follow people", "Mirror"):
            page.get_by_role("checkbox", name=name).uncheck()
        page.get_by_role("button", name="Start the camera").click()
        expect(page.locator("#live-count")).to_have_text("2 people")
        until(page, lambda: number(page, "fps") > 0 and len(traffic.results) > 20)
        assert 2 < number(page, "fps") <= 31
        assert 1 < number(page, "latency") < 2000
        if page.locator("#live-mirror").is_checked():
            page.get_by_role("checkbox", name="Mirror").uncheck()
        checked = 0
        for _ in range(4):
            page.wait_for_timeout(300)
            index, pixels = overlay(page)
            assert index is not None
            until(page, lambda index=index: index in traffic.results and index in traffic.pictures)
            _check_people(server, traffic.pictures[index], traffic.results[index], pixels)
            checked += len(traffic.results[index]["people"])
        assert checked >= 8
        assert traffic.sent[0]["resolution"] == "fast"
        assert errors == []


def _check_people(server: Server, jpeg: bytes, shown: dict[str, Any], pixels: NDArray[np.uint8]) -> None:
    """The same picture by another way gives the same people, and the canvas shows them there."""
    answer = httpx.post(f"{server.url}/pose?resolution=fast", content=jpeg, headers={"Content-Type": "image/jpeg"})
    expected = Frame.model_validate(answer.json())
    got = Frame.model_validate(shown)
    assert (got.width, got.height) == (expected.width, expected.height) == size_of(jpeg) == (384, 288)
    assert len(got.people) == len(expected.people)
    for one, same in zip(got.people, expected.people, strict=True):
        assert one.id is None
        assert one.score == pytest.approx(same.score, abs=0.01)
        for name, point in same.keypoints.items():
            there = one.keypoints[name]
            assert (point is None) == (there is None), name
            if point is None or there is None:
                continue
            assert (there.x, there.y) == pytest.approx((point.x, point.y), abs=0.5), name
    best = got.people[0]  # nobody is drawn over the first one, and no limb over its last keypoint of a kind
    seen = [(name, point) for name, point in best.keypoints.items() if point and _inside(point.x, point.y, got)]
    assert len(seen) >= 6
    colored = [_is_like(color_at(pixels, p.x, p.y, (got.width, got.height)), _COLORS[name]) for name, p in seen]
    assert sum(colored) >= 0.8 * len(seen), list(zip(seen, colored, strict=True))


_COLORS = dict(zip(BODY_18.keypoints, BODY_18.colors, strict=True))


def _inside(x: float, y: float, frame: Frame) -> bool:
    return 1 < x < frame.width - 2 and 1 < y < frame.height - 2


def _is_like(color: list[int], wanted: tuple[int, int, int]) -> bool:
    return color[3] > 200 and max(abs(a - b) for a, b in zip(color, wanted, strict=False)) < 60


def test_what_the_camera_shows_is_found_recorded_and_asked_for_nowhere_else(
    page: Page, server: Server, outside: list[str]
) -> None:
    start(page, server)
    expect(page.locator("#live-count")).to_have_text("1 person")
    expect(page.locator("#live-said")).to_have_text("1 person")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#live-recorded")).to_contain_text(" frames")
    until(page, lambda: int(page.locator("#live-recorded").inner_text().split(" ")[0]) > 5)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save recording").click()
    assert download.value.suggested_filename.startswith("live-")
    lines = Path(download.value.path()).read_text().splitlines()
    frames = [Frame.model_validate_json(line) for line in lines]
    assert len(frames) > 5
    assert all(json.loads(line).keys() == Frame.model_fields.keys() for line in lines)
    assert all(frame.people[0].id == frames[0].people[0].id for frame in frames)
    moments = [frame.timestamp for frame in frames]
    assert moments == sorted(set(moments))
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    expect(page.locator("#live-recorded")).to_have_text(f"Saved {len(frames)} frames.")
    assert outside == []


def test_the_camera_goes_off_with_stop_and_comes_on_again(page: Page, server: Server) -> None:
    traffic = Traffic(page)
    start(page, server)
    expect(page.locator("#live-count")).to_have_text("1 person")
    track = page.evaluate_handle("document.getElementById('live-video').srcObject.getVideoTracks()[0]")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Find people live")).to_be_visible()
    assert track.evaluate("(track) => track.readyState") == "ended"
    assert page.evaluate("document.getElementById('live-video').srcObject") is None
    page.wait_for_timeout(200)
    before = len(traffic.pictures)
    page.wait_for_timeout(300)
    assert len(traffic.pictures) == before > 0
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#live-count")).to_have_text("1 person")
    assert len([said for said in traffic.sent if said["type"] == "hello"]) == 2


def test_a_service_that_is_killed_is_waited_for_and_goes_on(page: Page, tmp_path: Path) -> None:
    with running(*FAKE, data_dir=str(tmp_path)) as first:
        port = first.port
        start(page, first)
        expect(page.locator("#live-count")).to_have_text("1 person")
        first.stop(signal.SIGKILL)
        expect(page.locator("#live-notice")).to_contain_text("The connection was lost")
        expect(page.locator("#live-notice")).to_contain_text("The service does not answer")
        expect(page.locator("#live-notice")).to_contain_text("Next try in")
        assert page.evaluate("document.getElementById('live-video').paused") is False  # the picture never waits
        assert not overlay(page)[1].any()
    with running(*FAKE, data_dir=str(tmp_path), port=str(port)):
        expect(page.locator("#live-count")).to_have_text("1 person")
        expect(page.locator("#live-notice")).to_be_hidden()


# What is sent


def test_pictures_are_as_large_as_the_resolution_needs_and_never_larger_than_the_cameras(
    page: Page, server: Server, service: StreamRoutes
) -> None:
    start(page, server)
    until(page, lambda: service.pictures)
    assert service.pictures[0].jpeg.startswith(b"\xff\xd8")
    for name, size in (("Fast", (384, 288)), ("Balanced", (576, 432)), ("Accurate", (640, 480))):
        page.locator(f"label[for=live-{name.lower()}]").click()
        until(page, lambda size=size: size_of(service.pictures[-1].jpeg) == size)
    assert [changed["resolution"] for changed in service.changes if "resolution" in changed][-1] == "accurate"


def test_options_change_while_the_stream_goes_on(page: Page, server: Server, service: StreamRoutes) -> None:
    start(page, server)
    until(page, lambda: service.pictures)
    assert service.hellos[0].options() == StreamOptions(resolution="fast")
    assert service.hellos[0].credits == 2
    page.locator("#live-min-score").fill("0.3")
    until(page, lambda: service.changes)
    page.get_by_role("checkbox", name="Smooth their movements").uncheck()
    until(page, lambda: len(service.changes) > 1)
    page.get_by_role("checkbox", name="Follow people").uncheck()
    until(page, lambda: len(service.changes) > 2)
    assert [changed["min_score"] for changed in service.changes] == [0.3] * 3
    assert [(changed["track"], changed["smooth"]) for changed in service.changes] == [
        (True, True), (True, False), (False, False),
    ]  # fmt: skip
    assert len(service.sockets) == 1
    command = page.locator("#live-command").inner_text()
    address = server.url.replace("http", "ws")
    assert command == (
        f"yaop stream --url {address}/stream --resolution fast --min-score 0.3 --no-track --no-smooth"
    )  # fmt: skip
    page.reload()  # and are there the next time
    expect(page.locator("#live-min-score-value")).to_have_text("0.30")
    expect(page.get_by_role("checkbox", name="Follow people")).not_to_be_checked()


def test_a_slider_that_is_dragged_sends_what_it_comes_to(page: Page, server: Server, service: StreamRoutes) -> None:
    start(page, server)
    until(page, lambda: service.pictures)
    page.evaluate("""() => {
      const slider = document.getElementById("live-min-score");
      for (let value = 0; value <= 60; value += 1) {
        slider.value = value / 100;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }""")
    until(page, lambda: service.changes)
    page.wait_for_timeout(300)
    assert [changed["min_score"] for changed in service.changes] == [0.6]


def test_no_more_is_under_way_than_there_are_credits_and_the_rest_is_counted(
    page: Page, server: Server, service: StreamRoutes
) -> None:
    service.answer = lambda _: None
    start(page, server)
    until(page, lambda: len(service.pictures) == 2)
    page.wait_for_timeout(500)
    assert len(service.pictures) == 2
    assert [picture.header.sequence for picture in service.pictures] == [0, 1]
    assert number(page, "dropped") >= 5
    service.answer = lambda picture: result(picture.header)
    last = service.pictures[-1].header
    service.sockets[-1].send(result(last, skipped=[0], dropped=1).model_dump_json())
    until(page, lambda: len(service.pictures) > 6)
    moments = [picture.header.timestamp for picture in service.pictures]
    assert moments == sorted(set(moments))
    assert 0 <= moments[0] < 10


def test_one_picture_at_a_time_is_under_way_where_results_hardly_travel(
    page: Page, server: Server, service: StreamRoutes
) -> None:
    slow = {"timing_ms": {"total": 1e6, "queue": 0.0}}  # nothing of the time is left for the network
    service.answer = lambda picture: result(picture.header).model_copy(update=slow)
    start(page, server)
    until(page, lambda: len(service.pictures) > 3)
    service.answer = lambda _: None
    before = len(service.pictures)
    until(page, lambda: len(service.pictures) > before)
    page.wait_for_timeout(500)
    assert len(service.pictures) == before + 1


def test_another_model_takes_another_stream(page: Page, server: Server, service: StreamRoutes) -> None:
    service.models = ["discs", "big"]
    start(page, server)
    until(page, lambda: service.pictures)
    page.locator("#live-model").select_option("big")
    until(page, lambda: len(service.hellos) == 2)
    assert [hello.model for hello in service.hellos] == [None, "big"]  # the default may become another
    expect(page.locator("#live-command")).to_contain_text("--model big")
    until(page, lambda: service.pictures[-1].header.sequence > 5)
    sequences = [picture.header.sequence for picture in service.pictures]
    assert sequences == sorted(set(sequences))  # go on, so that a recording has each once


def test_a_model_that_is_gone_gives_way_to_the_default(page: Page, server: Server, service: StreamRoutes) -> None:
    service.models = ["discs", "big"]
    start(page, server)
    page.locator("#live-model").select_option("big")
    until(page, lambda: len(service.hellos) == 2)
    service.models = ["other"]
    service.refuse = (4400, "model-not-found: There is no model big.")
    service.close(1012, "model-replaced: It was replaced.")
    expect(page.locator("#live-notice")).to_contain_text("There is no model big.")
    service.refuse = None
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("#live-count")).to_have_text("Nobody found")
    assert [hello.model for hello in service.hellos] == [None, "big", "big", None]
    expect(page.locator("#live-model-field")).to_be_hidden()
    service.models = ["discs", "other"]
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#live-model-field")).to_be_visible()


def test_a_list_of_models_that_does_not_come_is_not_needed(page: Page, server: Server, service: StreamRoutes) -> None:
    page.route("**/models", lambda route: route.abort())
    start(page, server)
    expect(page.locator("#live-count")).to_have_text("Nobody found")


def test_a_picture_that_cannot_be_encoded_is_passed_over(page: Page, server: Server, service: StreamRoutes) -> None:
    page.add_init_script("""
      const real = HTMLCanvasElement.prototype.toBlob;
      HTMLCanvasElement.prototype.toBlob = function () {
        HTMLCanvasElement.prototype.toBlob = real;
        throw new DOMException("No", "EncodingError");
      };
    """)
    start(page, server)
    until(page, lambda: len(service.pictures) > 3)
    assert service.pictures[0].header.sequence == 0


def test_how_much_is_under_way_is_found_out_anew_with_each_connection(
    page: Page, server: Server, service: StreamRoutes
) -> None:
    slow = {"timing_ms": {"total": 1e6, "queue": 0.0}}  # nothing of the time is left for the network
    service.answer = lambda picture: result(picture.header).model_copy(update=slow)
    start(page, server)
    until(page, lambda: len(service.pictures) > 3)
    service.answer = lambda _: None
    service.close(1012)
    until(page, lambda: len(service.hellos) == 2)
    before = len(service.pictures)
    until(page, lambda: len(service.pictures) == before + 2)


# What is recorded


def record(page: Page, service: StreamRoutes, during: Callable[[], None]) -> list[Frame]:
    """Record from the picture under way until after `during`, and some pictures more."""
    page.get_by_role("button", name="Record").click()
    until_some_more(page, service)
    during()
    until_some_more(page, service)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save recording").click()
    return [Frame.model_validate_json(line) for line in Path(download.value.path()).read_text().splitlines()]


def until_some_more(page: Page, service: StreamRoutes) -> None:
    before = len(service.pictures)
    until(page, lambda: len(service.pictures) > before + 3)


def test_a_recording_is_in_pixels_of_the_camera_whatever_is_sent(
    page: Page, server: Server, service: StreamRoutes
) -> None:
    def someone(picture: Picture) -> Any:  # at (639, 479) and (-0.5, -0.5) of 640 x 480, as pixels have their centres
        width, height = size_of(picture.jpeg)
        points = {"neck": (639.5 * width / 640 - 0.5, 479.5 * height / 480 - 0.5), "nose": (-0.5, -0.5)}
        return result(picture.header, person(points, 1), size=(width, height))

    def accurate() -> None:
        page.locator("label[for=live-balanced]").click()
        until(page, lambda: size_of(service.pictures[-1].jpeg) == (576, 432))
        page.locator("label[for=live-accurate]").click()
        until(page, lambda: size_of(service.pictures[-1].jpeg) == (640, 480))

    service.answer = someone
    start(page, server)
    frames = record(page, service, accurate)
    assert {(frame.width, frame.height) for frame in frames} == {(640, 480)}
    for seen in [frame.people[0] for frame in frames]:
        neck, nose = seen.keypoints["neck"], seen.keypoints["nose"]
        assert neck and nose
        assert seen.keypoints["right_shoulder"] is None
        assert (neck.x, neck.y, nose.x, nose.y) == pytest.approx((639, 479, -0.5, -0.5), abs=0.02)
        assert seen.bbox == pytest.approx((-0.5, -0.5, 639.5, 479.5), abs=0.02)


def test_a_number_in_a_recording_is_never_of_two_people(page: Page, server: Server, service: StreamRoutes) -> None:
    def reconnect() -> None:
        service.close(1012)
        until(page, lambda: len(service.hellos) == 2)

    service.answer = lambda picture: result(
        picture.header, person(SHOULDERS, 1), person(SHOULDERS, 3), person(SHOULDERS)
    )
    start(page, server)
    frames = record(page, service, reconnect)
    assert sorted({tuple(seen.id for seen in frame.people) for frame in frames}) == [(1, 3, None), (4, 6, None)]
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start the camera").click()  # it is another recording from now on
    until(page, lambda: len(service.hellos) == 3)
    frames = record(page, service, lambda: None)
    assert {tuple(seen.id for seen in frame.people) for frame in frames} == {(1, 3, None)}


# What is shown


def test_the_overlay_mirrors_with_the_picture(page: Page, server: Server, service: StreamRoutes) -> None:
    service.answer = lambda picture: result(picture.header, person(SHOULDERS, 7))
    start(page, server)
    expect(page.locator("#live-count")).to_have_text("1 person")
    assert page.get_by_role(
        "checkbox", name="Mirror"
    ).is_checked()  # the camera looks at the person, as far as anybody knows
    transform = "getComputedStyle(document.getElementById('live-video')).transform"
    shoulder = _COLORS["right_shoulder"]
    assert page.evaluate(transform) == "matrix(-1, 0, 0, 1, 0, 0)"
    assert _is_like(color_at(overlay(page)[1], 383 - 100, 150, (384, 288)), shoulder)
    assert color_at(overlay(page)[1], 100, 150, (384, 288))[3] == 0
    page.get_by_role("checkbox", name="Mirror").uncheck()
    assert page.evaluate(transform) == "none"
    assert _is_like(color_at(overlay(page)[1], 100, 150, (384, 288)), shoulder)
    assert color_at(overlay(page)[1], 383 - 100, 150, (384, 288))[3] == 0


def test_a_camera_that_looks_away_is_not_mirrored(page: Page, server: Server, service: StreamRoutes) -> None:
    page.add_init_script("""
      const settings = MediaStreamTrack.prototype.getSettings;
      MediaStreamTrack.prototype.getSettings = function () {
        return { ...settings.call(this), facingMode: "environment" };
      };
    """)
    start(page, server)
    expect(page.get_by_role("checkbox", name="Mirror")).not_to_be_checked()


def test_skeletons_go_when_no_more_results_come(page: Page, server: Server, service: StreamRoutes) -> None:
    service.answer = lambda picture: result(picture.header, person(SHOULDERS)) if picture.header.sequence < 3 else None
    start(page, server)
    until(page, lambda: page.evaluate("document.getElementById('live-canvas').dataset.index"))
    assert overlay(page)[1].any()
    until(page, lambda: page.evaluate("document.getElementById('live-canvas').dataset.index === ''"))
    assert not overlay(page)[1].any()


def test_screen_readers_hear_of_people_now_and_then_only(page: Page, server: Server, service: StreamRoutes) -> None:
    service.answer = lambda picture: result(picture.header, *[person(SHOULDERS)] * (picture.header.sequence % 2))
    open_live(page, server)
    said = page.evaluate_handle("""() => {
      const said = [];
      new MutationObserver(() => said.push(document.getElementById("live-said").textContent))
        .observe(document.getElementById("live-said"), { childList: true });
      return said;
    }""")
    page.get_by_role("button", name="Start the camera").click()
    until(page, lambda: len(service.pictures) > 30)
    assert len([text for text in said.json_value() if text]) == 1
    live = "[aria-live], [role=status], [role=alert]"
    assert page.evaluate(f"document.querySelector('.figures').closest('{live}')") is None


# What goes wrong


def test_a_camera_that_is_not_allowed_is_explained(browser: Browser, chromium: Path, server: Server) -> None:
    with another_browser(browser, chromium, "--use-fake-device-for-media-stream") as other:  # nobody says yes
        page = other.new_page()
        open_live(page, server)
        page.get_by_role("button", name="Start the camera").click()
        expect(page.get_by_role("alert")).to_contain_text("The camera is not allowed")
        expect(page.get_by_role("button", name="Try again")).to_be_focused()


def test_a_machine_without_camera_is_explained(browser: Browser, chromium: Path, server: Server) -> None:
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=device-count=0")
    with another_browser(browser, chromium, *flags) as other:
        page = other.new_page()
        open_live(page, server)
        page.get_by_role("button", name="Start the camera").click()
        expect(page.get_by_role("alert")).to_contain_text("No camera found")
        expect(page.locator("#live-count")).to_have_text("No camera")


def test_a_page_from_far_without_https_is_explained(page: Page, server: Server) -> None:
    page.goto(f"http://{FAR}:{server.port}/#live")
    expect(page.get_by_role("alert")).to_contain_text("The camera needs a secure connection")
    expect(page.get_by_role("alert")).to_contain_text(f"http://localhost:{server.port}")


@pytest.mark.parametrize(
    ("name", "title"),
    [("NotReadableError", "The camera cannot be used"), ("TypeError", "The camera does not work")],
)
def test_a_camera_that_fails_is_explained_and_may_work_later(
    page: Page, server: Server, service: StreamRoutes, name: str, title: str
) -> None:
    open_live(page, server)
    page.evaluate("""(name) => {
      const real = navigator.mediaDevices.getUserMedia;
      navigator.mediaDevices.getUserMedia = async () => {
        navigator.mediaDevices.getUserMedia = real;
        throw new DOMException("No", name);
      };
    }""", name)  # fmt: skip
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_role("alert")).to_contain_text(title)
    assert service.sockets == []
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#live-count")).to_have_text("Nobody found")


def test_a_camera_that_is_unplugged_is_explained(page: Page, server: Server, service: StreamRoutes) -> None:
    start(page, server)
    expect(page.locator("#live-count")).to_have_text("Nobody found")
    page.evaluate(
        "document.getElementById('live-video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
    )
    expect(page.get_by_role("alert")).to_contain_text("The camera is gone")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#live-count")).to_have_text("Nobody found")


def test_a_camera_that_gives_no_pictures_is_told_of_until_another_one_is_on(
    page: Page, server: Server, service: StreamRoutes
) -> None:
    start(page, server)
    expect(page.locator("#live-count")).to_have_text("Nobody found")
    page.evaluate(
        "document.getElementById('live-video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('mute'))"
    )
    expect(page.locator("#live-notice")).to_contain_text("The camera gives no pictures")
    page.locator("#live-camera").dispatch_event("change")
    expect(page.locator("#live-notice")).to_be_hidden()


def test_cameras_that_cannot_be_listed_may_be_used(page: Page, server: Server, service: StreamRoutes) -> None:
    page.add_init_script("""
      MediaDevices.prototype.enumerateDevices = async () => {
        throw new DOMException("No", "NotAllowedError");
      };
    """)
    start(page, server)
    expect(page.locator("#live-count")).to_have_text("Nobody found")


def test_a_browser_that_is_too_old_is_told_so(page: Page, server: Server) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    open_live(page, server)
    expect(page.get_by_role("alert")).to_contain_text("This browser is too old")


def test_pauses_between_tries_grow_and_end_when_the_person_or_the_machine_says_so(
    page: Page, server: Server, service: StreamRoutes
) -> None:
    service.refuse = (1012, "shutting-down: The service stops.")
    start(page, server)
    pauses = page.evaluate("""async () => {
      const notice = document.getElementById("live-notice-countdown");
      const pauses = [];
      let shown = 0;
      while (pauses.length < 3) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        const seconds = Number(/\\d+/.exec(notice.textContent)?.[0] ?? 0);
        if (seconds > shown) pauses.push(seconds);
        shown = seconds;
      }
      return pauses;
    }""")
    expect(page.locator("#live-notice")).to_contain_text("The service restarts")
    assert pauses[0] <= 2 <= pauses[2]
    count = len(service.hellos)
    page.get_by_role("button", name="Try now").click()
    until(page, lambda: len(service.hellos) == count + 1, 1)
    expect(page.get_by_role("button", name="Try now")).to_be_visible()
    service.refuse = None
    page.evaluate("window.dispatchEvent(new Event('online'))")
    until(page, lambda: len(service.hellos) == count + 2, 1)
    expect(page.locator("#live-notice")).to_be_hidden()
    expect(page.locator("#live-count")).to_have_text("Nobody found")


def test_a_refused_stream_says_why(page: Page, server: Server, service: StreamRoutes) -> None:
    service.refuse = (1013, "too-many-streams: There are 32 streams from this address.")
    start(page, server)
    expect(page.locator("#live-notice")).to_contain_text("The service has too many streams")
    expect(page.locator("#live-notice")).to_contain_text("There are 32 streams from this address.")
    expect(page.locator("#live-notice")).to_contain_text("Next try in")
    service.refuse = (4400, "unknown-model: There is no model big.")
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#live-notice")).to_contain_text("There is no model big.")
    expect(page.locator("#live-notice-countdown")).to_be_hidden()  # it would be refused again
    service.refuse = None
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("#live-count")).to_have_text("Nobody found")


def test_a_service_that_passes_no_websockets_on_is_told_from_one_that_is_gone(page: Page, server: Server) -> None:
    page.add_init_script("""
      window.WebSocket = class extends WebSocket {
        constructor(url, protocol) {
          super(url.replace("/stream", "/nothing-here"), protocol);
        }
      };
    """)
    start(page, server)
    expect(page.locator("#live-notice")).to_contain_text("The service refuses the stream")
    expect(page.locator("#live-notice")).to_contain_text("pass on WebSockets")


def test_a_busy_service_is_given_time(page: Page, server: Server, service: StreamRoutes) -> None:
    def refuse_the_first(picture: Any) -> Any:
        if picture.header.sequence > 1:
            return result(picture.header)
        busy = "Too many pictures are in progress."
        return error(503, "queue-full", busy, index=picture.header.sequence, retry_after=1)

    service.answer = refuse_the_first
    start(page, server)
    expect(page.locator("#live-notice")).to_contain_text("Too many pictures are in progress.")
    page.wait_for_timeout(300)
    assert len(service.pictures) <= 2
    expect(page.locator("#live-count")).to_have_text("Nobody found")
    expect(page.locator("#live-notice")).to_be_hidden()
    assert number(page, "dropped") > 5


# While nobody looks


def test_nothing_is_sent_while_another_tab_is_open_or_the_page_is_hidden(
    page: Page, server: Server, service: StreamRoutes
) -> None:
    def sent_in(milliseconds: int) -> int:
        page.wait_for_timeout(200)
        before = len(service.pictures)
        page.wait_for_timeout(milliseconds)
        return len(service.pictures) - before

    def hide(hidden: bool) -> None:
        page.evaluate("""(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""", hidden)  # fmt: skip

    start(page, server)
    until(page, lambda: service.pictures)
    page.get_by_role("tab", name="Picture").click()
    assert sent_in(300) == 0
    page.get_by_role("tab", name="Live").click()
    assert sent_in(300) > 0
    hide(True)
    assert sent_in(300) == 0
    hide(False)
    assert sent_in(300) > 0
    assert len(service.hellos) == 1


def test_the_camera_goes_off_when_nobody_looks_for_long(page: Page, server: Server, service: StreamRoutes) -> None:
    page.add_init_script("""
      const real = window.setTimeout;
      window.setTimeout = (call, wait, ...more) => real(call, wait === 20000 ? 50 : wait, ...more);
    """)
    start(page, server)
    until(page, lambda: service.pictures)
    page.get_by_role("tab", name="Picture").click()
    until(page, lambda: page.evaluate("document.getElementById('live-video').srcObject === null"))
    before = service.pictures[-1].header
    page.get_by_role("tab", name="Live").click()
    until(page, lambda: len(service.hellos) == 2)
    expect(page.locator("#live-count")).to_have_text("Nobody found")
    after = service.pictures[-1].header
    assert (after.sequence, after.timestamp) > (before.sequence, before.timestamp)  # a recording goes on


def test_the_page_has_the_camera_and_nobody_else(server: Server) -> None:
    headers = httpx.get(server.url).headers
    assert headers["permissions-policy"] == "camera=(self), microphone=(), geolocation=()"
    assert "connect-src 'self';" in headers["content-security-policy"]


# Everybody


def test_everything_works_from_the_keyboard(page: Page, server: Server, service: StreamRoutes) -> None:
    page.goto(server.url)
    page.get_by_role("tab", name="Picture").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="Live")).to_be_focused()
    expect(page).to_have_title("YAOP: live poses")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Start the camera")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    reached: set[str] = set()
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"live-record", "live-mirror", "live-fast", "live-min-score", "live-track", "live-smooth"} <= reached
    page.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Start the camera")).to_be_focused()


def test_one_of_several_cameras_is_chosen_and_kept(browser: Browser, chromium: Path, server: Server) -> None:
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=device-count=2")
    with another_browser(browser, chromium, *flags) as other:
        page = other.new_page()
        StreamRoutes().install(page)
        start(page, server)
        options = page.locator("#live-camera option")
        expect(options).to_have_count(2)
        labels = options.all_inner_texts()
        assert len(set(labels)) == 2
        opened = page.locator("#live-camera option:checked").inner_text()
        wanted = next(label for label in labels if label != opened)
        page.locator("#live-camera").select_option(label=wanted)
        shown = "document.getElementById('live-video').srcObject?.getVideoTracks()[0].label"
        until(page, lambda: page.evaluate(f"{shown} === {json.dumps(wanted)}"))
        expect(page.locator("#live-view")).to_be_visible()
        page.reload()
        page.get_by_role("button", name="Start the camera").click()
        until(page, lambda: page.evaluate(f"{shown} === {json.dumps(wanted)}"))


@pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 568)])
def test_the_tab_fits_phones_and_desktops_in_light_and_dark(
    page: Page, server: Server, service: StreamRoutes, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    start(page, server)
    expect(page.locator("#live-count")).to_have_text("Nobody found")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    video, canvas = (page.locator(f"#live-{name}").bounding_box() for name in ("video", "canvas"))
    assert video == canvas
    assert video is not None
    assert video["width"] > 280
    assert video["width"] / video["height"] == pytest.approx(640 / 480, rel=0.01)
    service.refuse = (1013, "too-many-streams: " + "no place to break it" * 5)
    service.close(1013, service.refuse[1])
    expect(page.locator("#live-notice")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert brightness(page, "light") > 600 > brightness(page, "dark")


def brightness(page: Page, scheme: Literal["light", "dark"]) -> int:
    """Of the page's background, 0 to 765."""
    page.emulate_media(color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(","))

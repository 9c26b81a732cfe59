"""The JavaScript of docs/stream-protocol.md works as it stands there: with a real browser, camera and server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.sync_api import Browser, Page

from service.streams.header import Header
from tests.browser import open_browser
from tests.fake_camera import camera_flags, discs_camera
from tests.server_process import FAKE, ROOT, running

EXAMPLE = re.findall(r"^```js\n(.*?)^```", (ROOT / "docs" / "stream-protocol.md").read_text(), re.MULTILINE | re.DOTALL)
# In a document of the server itself, as browsers keep others from loopback.
RUN = """async () => {
  // The first pictures take the longest to encode, so that they come last where nobody sees to it.
  const real = HTMLCanvasElement.prototype.toBlob;
  let wait = 400;
  HTMLCanvasElement.prototype.toBlob = function (done, ...more) {
    const mine = (wait /= 2);
    real.call(this, (blob) => setTimeout(done, mine, blob), ...more);
  };
  const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
  window.asked = 0;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (call) {
    window.asked += 1;
    return ask.call(this, call);
  };
  const { watch } = await import("/example.js");
  const video = Object.assign(document.createElement("video"), { autoplay: true, muted: true });
  document.body.prepend(video);
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  await video.play();
  window.drawn = [];
  window.traffic = [];
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    window.traffic.push(data);
    send.call(this, data);
  };
  window.socket = watch(video, (result) => window.drawn.push(result));
  window.socket.addEventListener("message", ({ data }) => window.traffic.push(JSON.parse(data)));
}"""
# In the order in which they went: headers of pictures that were sent, as lists of bytes, and messages that came.
TRAFFIC = """() => Promise.all(window.traffic.filter((one) => typeof one !== "string").map(async (one) =>
  one instanceof Blob ? [...new Uint8Array(await one.slice(0, 16).arrayBuffer())] : one))"""


@pytest.fixture(scope="module")
def browser(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    clip = discs_camera(tmp_path_factory.mktemp("camera") / "discs.y4m")
    with open_browser(chromium, *camera_flags(clip)) as running_browser:
        yield running_browser


class Traffic:
    """What went over the page's WebSocket.

    Attributes:
        headers: of the pictures.
        most_under_way: pictures that were sent and not acknowledged, at the worst moment.
        errors: that the service told of.
    """

    def __init__(self, page: Page) -> None:
        self.headers: list[Header] = []
        self.most_under_way = 0
        self.errors: list[dict[str, Any]] = []
        acknowledged = 0
        for one in page.evaluate(TRAFFIC):
            if isinstance(one, list):
                self.headers.append(Header.unpack(bytes(cast("list[int]", one))))
                self.most_under_way = max(self.most_under_way, len(self.headers) - acknowledged)
                continue
            acknowledged += len(one.get("skipped", ())) + (one.get("index") is not None)
            if one["type"] == "error":
                self.errors.append(one)


def until(page: Page, condition: str) -> None:
    """Let the page go on until this is so; Playwright's own wait is against the page's security policy."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"not in time: {condition}")


def test_the_example_of_the_protocol_finds_people_in_order_and_within_its_credits(page: Page) -> None:
    with running(*FAKE) as server:
        page.route("**/example.js", lambda route: route.fulfill(body=EXAMPLE[0], content_type="text/javascript"))
        page.goto(server.url)
        page.evaluate(RUN)
        until(page, "window.drawn.length > 20")  # many more than credits
        page.evaluate("window.socket.close()")
        until(page, "window.socket.readyState === WebSocket.CLOSED")
        page.wait_for_timeout(100)
        drawn, asked = page.evaluate("[window.drawn, window.asked]")
        page.wait_for_timeout(300)  # ten more frames
        assert page.evaluate("window.asked") == asked
    traffic = Traffic(page)
    assert traffic.errors == []
    assert 1 <= traffic.most_under_way <= 2
    moments = [header.timestamp for header in traffic.headers]
    assert moments == sorted(set(moments))
    assert [header.sequence for header in traffic.headers] == list(range(len(moments)))
    assert {(result["width"], result["height"]) for result in drawn} == {(384, 288)}
    assert {person["id"] for result in drawn for person in result["people"]} == {1}
    assert all(len(result["people"]) == 1 for result in drawn)


def test_the_example_is_short() -> None:
    assert [block.count("\n") <= 36 for block in EXAMPLE] == [True]

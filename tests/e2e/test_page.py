"""The page and the documentation in a real browser."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests import photos
from tests.fake_engine import discs, person_at
from tests.server_process import FAKE, Server, running

expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(*FAKE, data_dir=str(tmp_path_factory.mktemp("data"))) as started:
        yield started


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(photos.encode(discs(640, 480, person_at(300, 200)), "png"))
    return path


def open_with(page: Page, server: Server, photo: Path) -> None:
    page.goto(server.url)
    page.set_input_files("#file", photo)
    expect(page.locator("#stage")).to_have_attribute("data-state", "done")


def pixel(page: Page, x: float, y: float, of: tuple[int, int] = (640, 480)) -> list[int]:
    """RGB of the canvas at this place of the picture."""
    script = """([x, y, width, height]) => {
      const canvas = document.getElementById("canvas");
      const at = [(x + 0.5) * canvas.width / width, (y + 0.5) * canvas.height / height];
      return [...canvas.getContext("2d").getImageData(...at, 1, 1).data.slice(0, 3)];
    }"""
    return page.evaluate(script, [x, y, *of])


def test_a_chosen_picture_is_shown_with_its_skeleton(
    page: Page, server: Server, photo: Path, outside: list[str]
) -> None:
    open_with(page, server, photo)
    expect(page.locator("#count")).to_have_text("1 person")
    expect(page.locator("#canvas")).to_have_attribute("aria-label", "photo.png: 1 person")
    assert page.locator("#people li").count() == 1
    assert "ms" in page.locator("#timing").inner_text()
    red, _, blue = pixel(page, 265, 200)  # half way along the right collar bone, which is orange
    assert red > 200
    assert blue < 100
    assert outside == []


def test_a_dropped_and_a_pasted_picture_are_shown_too(page: Page, server: Server, photo: Path) -> None:
    script = """async ([kind, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: "image/png" }));
      const event = kind === "drop"
        ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
      document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.goto(server.url)
        page.wait_for_load_state("networkidle")
        page.evaluate(script, [kind, list(photo.read_bytes())])
        expect(page.locator("#canvas")).to_have_attribute("aria-label", f"{kind}.png: 1 person")


def test_the_score_slider_filters_without_asking_again(page: Page, server: Server, photo: Path) -> None:
    open_with(page, server, photo)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#min-score").fill("0.5")
    expect(page.locator("#count")).to_have_text("Nobody found (1 below the score)")
    expect(page.locator("#command")).to_contain_text("min_score=0.50")
    page.locator("#min-score").fill("0.05")
    expect(page.locator("#count")).to_have_text("1 person")
    assert asked == []


def test_another_resolution_asks_again(page: Page, server: Server, photo: Path) -> None:
    open_with(page, server, photo)
    with page.expect_request(lambda request: "resolution=fast" in request.url):
        page.locator("label:visible", has_text="Fast").click()
    expect(page.locator("#stage")).to_have_attribute("data-state", "done")
    expect(page.locator("#count")).to_have_text("1 person")
    expect(page.locator("#command")).to_contain_text("/pose?resolution=fast")


def test_everything_can_be_done_from_the_keyboard(page: Page, server: Server, photo: Path) -> None:
    open_with(page, server, photo)
    page.locator("#people button").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#people button")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#people button")).to_be_focused()
    page.locator("#balanced").focus()
    with page.expect_request(lambda request: "resolution=accurate" in request.url):
        page.keyboard.press("ArrowRight")
    page.goto(server.url)
    reached: set[str] = set()
    for _ in range(15):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"file", "balanced", "min-score", "flip"} <= reached


def test_the_data_and_the_overlay_can_be_downloaded(page: Page, server: Server, photo: Path) -> None:
    open_with(page, server, photo)
    with page.expect_download() as data:
        page.get_by_role("button", name="Download JSON").click()
    frame = json.loads(Path(data.value.path()).read_text())
    assert data.value.suggested_filename == "photo.json"
    assert frame["people"][0]["keypoints"]["neck"]["x"] == pytest.approx(300, abs=1)
    with page.expect_download() as overlay:
        page.get_by_role("button", name="Download overlay").click()
    assert overlay.value.suggested_filename == "photo-poses.jpg"
    assert Path(overlay.value.path()).read_bytes().startswith(b"\xff\xd8")


def test_a_file_that_is_no_picture_is_explained_and_the_next_one_works(
    page: Page, server: Server, photo: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    page.goto(server.url)
    page.set_input_files("#file", text)
    expect(page.get_by_role("alert")).to_contain_text("JPEG, PNG, WebP and BMP")
    expect(page.get_by_role("alert")).to_contain_text("Request ")
    page.set_input_files("#file", photo)
    expect(page.locator("#count")).to_have_text("1 person")
    expect(page.locator("#error")).to_be_hidden()


def test_a_service_that_does_not_answer_is_explained(page: Page, server: Server, photo: Path) -> None:
    page.goto(server.url)
    page.wait_for_load_state("networkidle")
    page.route("**/pose*", lambda route: route.abort())
    page.set_input_files("#file", photo)
    expect(page.get_by_role("alert")).to_contain_text("does not answer")


def test_the_answer_for_an_earlier_picture_never_replaces_a_later_one(
    page: Page, server: Server, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    first.write_bytes(photos.encode(discs(640, 480, person_at(300, 200)), "png"))
    second.write_bytes(photos.encode(discs(320, 240, {}), "png"))
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.goto(server.url)
    page.wait_for_load_state("networkidle")
    page.route("**/pose*", hold_the_first)
    page.set_input_files("#file", first)
    page.wait_for_function("document.getElementById('stage').dataset.state === 'busy'")
    while not held:
        page.wait_for_timeout(10)
    page.set_input_files("#file", second)
    expect(page.locator("#count")).to_have_text("Nobody found")
    with contextlib.suppress(Exception):  # the page has given that request up
        held[0].continue_()
    page.wait_for_timeout(200)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", "second.png: Nobody found")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_the_page_fits_phones_and_desktops_in_light_and_dark(
    browser: Browser, server: Server, photo: Path, size: tuple[int, int], scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    open_with(page, server, photo)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.locator("#canvas").bounding_box()["width"] > 300  # type: ignore[index]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(","))
    assert (brightness > 600) == (scheme == "light")
    context.close()


def test_a_turned_photograph_is_shown_upright_under_its_skeleton(page: Page, server: Server, tmp_path: Path) -> None:
    import cv2

    from tests.integration.test_api_pose import jpeg_with_orientation

    turned = tmp_path / "turned.jpg"
    upright = discs(640, 480, person_at(300, 200))
    turned.write_bytes(jpeg_with_orientation(cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE), 6))
    open_with(page, server, turned)
    expect(page.locator("#count")).to_have_text("1 person")
    ratio = page.evaluate("document.getElementById('canvas').width / document.getElementById('canvas').height")
    assert ratio == pytest.approx(640 / 480, rel=0.01)
    green = pixel(page, 307, 207)  # the lower right of the neck's disc, clear of limbs
    assert green[1] > 180
    assert green[0] < 100


def test_the_documentation_works_without_anything_from_outside(page: Page, server: Server, outside: list[str]) -> None:
    page.goto(f"{server.url}/docs")
    expect(page.get_by_text("Find the people in a picture").first).to_be_visible()
    expect(page.locator(".opblock")).to_have_count(16)
    page.get_by_text("Find the people in a picture").first.click()
    expect(
        page.get_by_text("queue-full").or_(page.get_by_text("Too many pictures are in progress")).first
    ).to_be_visible()
    assert outside == []

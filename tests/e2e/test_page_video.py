"""The page's tabs, and its video tab, in a real browser.

The service's answers are made here (see `VideoRoutes`), so that every state can be had at once; one test goes all the
way with the service itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from service.jobs.options import VideoOptions
from tests import photos, video_routes
from tests.clips import discs_clip
from tests.fake_engine import discs, person_at
from tests.server_process import FAKE, Server, running
from tests.video_routes import VideoRoutes, done, failed, job, problem

# Plays until the time moves.
PLAY = """async (video) => {
  video.muted = true;
  await video.play();
  while (video.currentTime < 0.2) await new Promise((resolve) => video.addEventListener("timeupdate", resolve));
}"""

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(*FAKE, data_dir=str(tmp_path_factory.mktemp("data"))) as started:
        yield started


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that every browser plays."""
    folder = tmp_path_factory.mktemp("clips")
    return discs_clip(folder / "dance.webm", frames=60, size=(320, 240), codec="libvpx-vp9")


@pytest.fixture
def service(page: Page, clip: Path) -> VideoRoutes:
    """What the page believes to be the service."""
    routes = VideoRoutes()
    routes.serve_file("video", clip, "video/webm")
    routes.files["poster"] = ("image/jpeg", photos.encode(discs(320, 240, person_at(160, 120)), "jpeg"))
    routes.install(page)
    return routes


def done_webm(job_id: str, **more: Any) -> Any:
    return done(job_id, suffix=".webm", codec="vp9", size=(320, 240), **more)


def open_video(page: Page, server: Server, place: str = "") -> None:
    page.goto(f"{server.url}/#video{place}")
    expect(page.locator("#video-panel")).to_be_visible()


def drop(page: Page, clip: Path, name: str = "dropped.webm") -> None:
    script = """([bytes, name]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], name, { type: "video/webm" }));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(script, [list(clip.read_bytes()), name])


def query_of(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.url).query)


def test_tabs_go_by_address_keyboard_and_the_browsers_history(page: Page, server: Server, service: VideoRoutes) -> None:
    page.goto(server.url)
    expect(page.get_by_role("tab", name="Picture")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel", name="Video")).to_be_hidden()
    assert service.asked == []  # nobody looks at videos yet
    page.get_by_role("tab", name="Picture").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Video")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Video")).to_be_visible()
    expect(page.get_by_role("tabpanel", name="Picture")).to_be_hidden()
    expect(page).to_have_url(f"{server.url}/#video")
    expect(page).to_have_title("YAOP: poses in videos")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Live")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Live")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Picture")).to_be_focused()
    page.go_back()
    expect(page.get_by_role("tabpanel", name="Live")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("tabpanel", name="Video")).to_be_visible()
    page.reload()
    expect(page.get_by_role("tabpanel", name="Video")).to_be_visible()
    page.get_by_role("link", name="YAOP, home").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Video")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="API")).to_be_focused()  # the tabs are one stop


def test_a_dropped_clip_is_sent_watched_and_played(
    page: Page, server: Server, service: VideoRoutes, clip: Path, outside: list[str]
) -> None:
    service.upload = lambda _: job("b1", filename="dropped.webm")
    service.streams["b1"] = [
        [job("b1"), job("b1", "running", 90, filename="dropped.webm")],
        [job("b1", "running", 150), done_webm("b1", filename="dropped.webm")],
    ]
    open_video(page, server)
    seen = page.evaluate_handle("""() => {
      const seen = [];
      const shown = (id) => document.getElementById(id).textContent;
      const look = () => seen.push(["job-percent", "job-detail", "video-count"].map(shown));
      const everything = { subtree: true, childList: true, characterData: true };
      new MutationObserver(look).observe(document.getElementById("video-panel"), everything);
      return seen;
    }""")
    drop(page, clip)
    expect(page.locator("#video-count")).to_have_text("3 people seen")
    steps = seen.json_value()
    assert ["30 %", "90 of 300 frames · 41 a second · 5 s left", "Looking for people…"] in steps
    assert any(step[2] == "Waiting for its turn" for step in steps)
    expect(page).to_have_url(f"{server.url}/#video/b1")
    expect(page).to_have_title("Done · YAOP: poses in videos")

    (upload,) = service.calls("POST", "/videos")
    assert len(upload.headers["idempotency-key"]) >= 16
    assert upload.headers["content-type"].startswith("multipart/form-data")
    assert query_of(upload) == {}
    first, second = service.calls("GET", "/events")
    assert "last-event-id" not in first.headers
    assert second.headers["last-event-id"] == "90"  # it goes on where the connection broke

    player = page.locator("#player")
    expect(player).to_be_visible()
    assert player.get_attribute("poster") == "/videos/b1/poster"
    player.evaluate(PLAY)
    assert player.evaluate("(video) => [video.videoWidth, video.videoHeight, video.duration]") == [320, 240, 2]
    assert outside == []


def test_the_service_itself_gives_what_the_page_expects(
    page: Page, server: Server, clip: Path, tmp_path: Path, outside: list[str]
) -> None:
    open_video(page, server)
    page.get_by_label("Look at", exact=True).select_option("2")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Save as").select_option("vp9")
    page.set_input_files("#video-file", clip)
    expect(page.locator("#video-count")).to_have_text("1 person seen", timeout=60_000)
    page.locator("#player").evaluate(PLAY)
    expect(page.locator("#videos img")).to_have_js_property("complete", value=True)
    names = {"Video (.webm)": "webm", "JSON Lines": "jsonl", "CSV": "csv", "OpenPose": "zip", "COCO": "json"}
    for name, suffix in names.items():
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download {name}").click()
        assert re.fullmatch(rf"dance_\w+\.{suffix}", download.value.suggested_filename)
        assert Path(download.value.path()).stat().st_size > 0
    page.reload()
    expect(page.locator("#videos a")).to_have_count(1)
    expect(page.locator("#facts")).to_contain_text("1 of 2 frames")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Really delete?").click()
    expect(page.locator("#videos a")).to_have_count(0)
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video")
    page.set_input_files("#video-file", notes)
    expect(page.get_by_role("alert")).to_contain_text("Matroska")
    assert outside == []


def test_the_downloads_are_beside_the_result(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(done_webm("b1"))
    open_video(page, server, "/b1")
    links = page.get_by_role("group", name="Downloads").get_by_role("link")
    expect(links).to_have_count(5)
    assert [link.get_attribute("href") for link in links.all()] == [
        "/videos/b1/video",
        "/videos/b1/poses",
        "/videos/b1/poses?format=csv",
        "/videos/b1/poses?format=openpose",
        "/videos/b1/poses?format=coco",
    ]
    expect(page.locator("#facts")).to_contain_text("720, 10 s, 30 fps")
    expect(page.locator("#facts")).to_contain_text("300 frames, 3.1 MB")


def test_options_that_differ_from_the_defaults_are_sent_and_survive_a_reload(
    page: Page, server: Server, service: VideoRoutes, clip: Path
) -> None:
    service.upload = lambda _: job("b1")
    open_video(page, server)
    page.locator("label:visible", has_text="Accurate").click()
    page.get_by_label("Look at", exact=True).select_option("3")
    page.get_by_role("checkbox", name="Smooth their movements").uncheck()
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Save as").select_option("vp9")
    page.get_by_label("Frames per second").select_option("25")
    page.locator("#video-min-score").fill("0.2")
    expect(page.locator("#video-min-score-value")).to_have_text("0.20")
    page.get_by_label("Draw a box around people").check()
    page.get_by_label("Draw on").select_option("black")
    page.reload()
    page.set_input_files("#video-file", clip)
    expect(page).to_have_url(f"{server.url}/#video/b1")
    chosen = query_of(service.calls("POST", "/videos")[0])
    assert chosen == {
        "resolution": ["accurate"], "every": ["3"], "smooth": ["false"], "codec": ["vp9"], "fps": ["25"],
        "min_score": ["0.2"], "draw_boxes": ["true"], "background": ["black"],
    }  # fmt: skip
    VideoOptions.model_validate({name: value for name, (value,) in chosen.items()})
    expect(page.locator("#video-command")).to_contain_text("/videos?resolution=accurate&every=3&smooth=false")


def test_the_pages_defaults_are_the_services(page: Page, server: Server, service: VideoRoutes) -> None:
    open_video(page, server)
    script = """() => Object.fromEntries([...document.getElementById("video-options").elements]
      .filter((field) => field.name && field.value && (field.type !== "radio" || field.checked))
      .map((field) => [field.name, field.type === "checkbox" ? String(field.checked) : field.value]))"""
    expect(page.locator("#video-model option")).to_have_count(1)
    shown = page.evaluate(script)
    assert shown.pop("model")
    assert VideoOptions.model_validate(shown) == VideoOptions.model_validate({})
    assert {"resolution", "every", "track", "smooth", "codec", "min_score", "draw_ids"} <= shown.keys()


def test_jobs_are_listed_after_a_reload_and_open_with_a_click(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(done_webm("b1", filename="old.mov"), failed("b2", "video-corrupt", "It ends too early."), job("b3"))
    open_video(page, server)
    rows = page.locator("#videos a")
    expect(rows).to_have_count(3)
    assert "Waiting for its turn" in rows.nth(0).inner_text()
    assert "It failed" in rows.nth(1).inner_text()
    expect(rows.nth(2).locator("img")).to_have_attribute("src", "/videos/b1/poster")
    rows.nth(2).click()
    expect(page.locator("#player")).to_have_attribute("src", "/videos/b1/video")
    expect(rows.nth(2)).to_have_attribute("aria-current", "true")
    page.reload()
    expect(page.locator("#player")).to_have_attribute("src", "/videos/b1/video")
    page.go_back()
    expect(page.get_by_text("Find people in a video")).to_be_visible()
    expect(page.locator("#player")).to_be_hidden()


def test_older_jobs_are_fetched_when_asked_for(page: Page, server: Server, service: VideoRoutes) -> None:
    service.page_size = 2
    service.add(*(job(f"b{number}", "cancelled", filename=f"{number}.mp4") for number in range(5)))
    open_video(page, server)
    older = page.get_by_role("button", name="Show older ones")
    older.click()
    expect(page.locator("#videos a")).to_have_count(4)
    older.click()
    expect(page.locator("#videos .name")).to_have_text([f"{number}.mp4" for number in (4, 3, 2, 1, 0)])
    expect(older).to_be_hidden()


def test_a_job_that_failed_says_why(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(failed("b1", "video-corrupt", "No frame after the 12th can be decoded. Convert the file first."))
    open_video(page, server, "/b1")
    expect(page.locator("#video-stage")).to_contain_text("Video corrupt")
    expect(page.locator("#video-stage")).to_contain_text("No frame after the 12th can be decoded.")
    expect(page.locator("#downloads")).to_be_hidden()


def test_what_was_passed_over_is_told(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(done_webm("b1", warnings=["Frame 12 was corrupt and was skipped."]))
    open_video(page, server, "/b1")
    expect(page.get_by_role("list", name="What was wrong with the video")).to_have_text(
        "Frame 12 was corrupt and was skipped."
    )


def test_a_running_job_can_be_cancelled(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(job("b1", "running", 30))
    service.streams["b1"] = [[job("b1", "running", 30)]]
    open_video(page, server, "/b1")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#video-count")).to_have_text("Cancelled")
    assert len(service.calls("DELETE", "/videos/b1")) == 1
    expect(page.locator("#videos a")).to_contain_text("Cancelled")


def test_a_job_is_deleted_by_a_second_click_only(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(done_webm("b1"), done_webm("b2"))
    open_video(page, server, "/b1")
    page.get_by_role("button", name="Delete", exact=True).click()
    assert service.calls("DELETE", "/videos/b1") == []
    page.get_by_role("button", name="Really delete?").click()
    expect(page.locator("#videos a")).to_have_count(1)
    expect(page).to_have_url(f"{server.url}/#video")
    assert list(service.jobs) == ["b2"]


def test_an_upload_can_be_cancelled(page: Page, server: Server, service: VideoRoutes, clip: Path) -> None:
    held: list[Route] = []
    open_video(page, server)
    page.route("**/videos", lambda route: held.append(route) if route.request.method == "POST" else route.fallback())
    page.set_input_files("#video-file", clip)
    expect(page.locator("#job-name")).to_have_text("dance.webm")
    expect(page.locator("#videos a")).to_contain_text("Sending")
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Find people in a video")).to_be_visible()
    expect(page.locator("#video-error")).to_be_hidden()
    expect(page.locator("#videos a")).to_have_count(0)


def test_a_refused_video_is_explained_and_the_next_one_is_taken(
    page: Page, server: Server, service: VideoRoutes, clip: Path
) -> None:
    service.upload = lambda _: problem(415, "unsupported-container", "This is a Flash video. Send MP4, MOV or WebM.")
    open_video(page, server)
    page.set_input_files("#video-file", clip)
    expect(page.get_by_role("alert")).to_contain_text("Unsupported container")
    expect(page.get_by_role("alert")).to_contain_text("Send MP4, MOV or WebM.")
    expect(page.get_by_role("alert")).to_contain_text("Request r-123")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()  # it would be refused again
    service.upload = lambda _: done_webm("b1")
    page.set_input_files("#video-file", clip)
    expect(page.locator("#player")).to_be_visible()
    expect(page.locator("#video-error")).to_be_hidden()


def test_an_upload_that_broke_off_is_tried_again_under_the_same_key(
    page: Page, server: Server, service: VideoRoutes, clip: Path
) -> None:
    service.upload = lambda _: done_webm("b1")
    open_video(page, server)
    keys: list[str] = []

    def break_off(route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        keys.append(route.request.headers["idempotency-key"])
        route.abort("connectionreset") if len(keys) == 1 else route.fallback()

    page.route("**/videos?*", break_off)
    page.get_by_label("Look at", exact=True).select_option("2")
    page.set_input_files("#video-file", clip)
    expect(page.get_by_role("alert")).to_contain_text("The upload broke off")
    page.get_by_label("Look at", exact=True).select_option("1")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#player")).to_be_visible()
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_several_clips_are_sent_one_after_the_other(
    page: Page, server: Server, service: VideoRoutes, clip: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.webm"
    other.write_bytes(clip.read_bytes())
    answers = [problem(413, "video-too-long", "It is too long."), done_webm("b2")]
    service.upload = lambda _: answers.pop(0)
    open_video(page, server)
    page.set_input_files("#video-file", [clip, other])
    expect(page.locator("#player")).to_have_attribute("src", "/videos/b2/video")
    expect(page.get_by_role("alert")).to_contain_text("It is too long.")  # of the first one, still
    first, second = service.calls("POST", "/videos")
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


def test_a_service_that_restarts_is_waited_for(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(job("b1", "running", 30))
    service.streams["b1"] = [[job("b1", "running", 30)], problem(503, "shutting-down", "Soon."), [done_webm("b1")]]
    open_video(page, server, "/b1")
    expect(page.locator("#job-trouble")).to_have_text("Shutting down. Trying again…")
    expect(page.locator("#video-count")).to_have_text("3 people seen")


def test_a_job_that_is_not_there_is_explained(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(job("b1", "cancelled"))
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/videos?limit*", hold)
    open_video(page, server, "/deadbeef")
    expect(page.locator("#video-stage")).to_contain_text("There is no video deadbeef.")
    held[0].fallback()
    expect(page.locator("#videos a")).to_have_count(1)
    expect(page.locator("#video-stage")).to_contain_text("There is no video deadbeef.")  # the list changes nothing
    page.get_by_role("tab", name="Video").click()
    expect(page.get_by_text("Find people in a video")).to_be_visible()


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "mjpeg"), (".mp4", "mpeg4")])
def test_a_result_that_the_browser_cannot_play_is_offered_for_download(
    page: Page, server: Server, service: VideoRoutes, suffix: str, codec: str
) -> None:
    service.files["video"] = (video_routes.MEDIA_TYPES[suffix], b"nothing that plays")
    service.add(done("b1", suffix=suffix, codec=codec))
    open_video(page, server, "/b1")
    expect(page.locator("#video-stage")).to_contain_text("This browser cannot play the result")
    expect(page.locator("#backdrop")).to_be_visible()
    expect(page.get_by_role("link", name=f"Download Video ({suffix})")).to_be_visible()


def test_files_go_to_the_tab_they_are_for(page: Page, server: Server, service: VideoRoutes, clip: Path) -> None:
    service.upload = lambda _: job("b1")
    page.goto(server.url)
    page.wait_for_load_state("networkidle")
    drop(page, clip)
    expect(page).to_have_url(f"{server.url}/#video/b1")
    script = """(bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
      document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    }"""
    page.evaluate(script, list(photos.encode(discs(640, 480, person_at(300, 200)), "png")))
    expect(page.locator("#count")).to_have_text("1 person")
    expect(page.get_by_role("tabpanel", name="Picture")).to_be_visible()


def test_a_video_stops_when_its_tab_is_left(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(done_webm("b1"))
    open_video(page, server, "/b1")
    page.locator("#player").evaluate(PLAY)
    page.get_by_role("tab", name="Picture").click()
    assert page.locator("#player").evaluate("(video) => video.paused")
    page.get_by_role("tab", name="Video").click()
    expect(page).to_have_url(f"{server.url}/#video/b1")  # where it was left
    expect(page.locator("#player")).to_be_visible()


def test_everything_can_be_reached_from_the_keyboard(page: Page, server: Server, service: VideoRoutes) -> None:
    service.add(done_webm("b1"))
    open_video(page, server, "/b1")
    expect(page.locator("#player")).to_be_visible()
    reached: set[str] = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('href')"))
    wanted = {"tab-video", "player", "/videos/b1/video", "delete", "video-balanced", "every", "track", "#video/b1"}
    assert wanted | {"video-file"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_the_tab_fits_phones_and_desktops_in_light_and_dark(
    browser: Browser, server: Server, clip: Path, size: tuple[int, int], scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    routes = VideoRoutes()
    routes.serve_file("video", clip, "video/webm")
    name = "a name without a single place to break it in two " * 3 + "x" * 200 + ".mp4"
    routes.add(job("b1", "running", 30, filename=name), done_webm("b2", filename=name))
    routes.streams["b1"] = [[routes.jobs["b1"]]]
    routes.install(page)
    for place, shown in (("", "#video-invitation"), ("/b1", "#job-progress"), ("/b2", "#player")):
        open_video(page, server, place)
        expect(page.locator(shown)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.locator("#player").bounding_box()["width"] > 300  # type: ignore[index]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) > 600) == (scheme == "light")
    context.close()

"""Pictures of the page for the documentation: ``python -m tests.screenshots [FOLDER]``.

A service with the shipped bundle, and a browser whose camera plays photographs of people. Each tab is shown with a
result, light and dark, on a desktop and on a phone; the files are written to ``docs/screenshots``.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect

from tests import photos
from tests.browser import find_chromium, open_browser
from tests.clips import people_clip
from tests.fake_camera import camera_flags, people_camera
from tests.server_process import REAL, ROOT, Server, running

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
QUALITY = 82
SETTLE_MS = 2500  # so that figures are of some seconds

# Chromium calls a camera that plays a file by the file's path.
CAMERA_NAME = """
  const real = MediaDevices.prototype.enumerateDevices;
  MediaDevices.prototype.enumerateDevices = async function () {
    const found = await real.call(this);
    return found.map(({ kind, deviceId, label }) => ({ kind, deviceId, label: label && "Integrated camera" }));
  };
"""


def main(folder: Path) -> None:
    """Take them all."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit("There is no Chromium on this machine: install one, or name it with YAOP_TEST_BROWSER.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        clips = Path(temporary)
        camera = people_camera(clips / "camera.y4m", size=(1280, 720))
        (clips / "crew.jpg").write_bytes(photos.encode(photos.group(3)))
        people_clip(clips / "interview.webm", seconds=3, size=(1280, 720), codec="libvpx-vp9")
        with running(*REAL, data_dir=temporary) as server, open_browser(chromium, *camera_flags(camera)) as browser:
            for (name, size), scheme in product(SIZES.items(), SCHEMES):
                _take_all(browser, server, clips, size, scheme, folder, f"{scheme}-{name}")


def _take_all(
    browser: Browser,
    server: Server,
    clips: Path,
    size: tuple[int, int],
    scheme: Literal["light", "dark"],
    folder: Path,
    name: str,
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    context.add_init_script(CAMERA_NAME)
    page = context.new_page()
    for tab, show in (("picture", _show_picture), ("video", _show_video), ("live", _show_live)):
        show(page, server, clips)
        page.mouse.move(0, 0)
        page.screenshot(path=folder / f"{tab}-{name}.jpg", type="jpeg", quality=QUALITY)
    context.close()


def _show_picture(page: Page, server: Server, clips: Path) -> None:
    page.goto(f"{server.url}/#picture")
    page.set_input_files("#file", clips / "crew.jpg")
    expect(page.locator("#count")).to_have_text("3 people", timeout=60_000)


def _show_video(page: Page, server: Server, clips: Path) -> None:
    with page.expect_response("**/videos?limit*") as listed:
        page.goto(f"{server.url}/#video")
    jobs = listed.value.json()["videos"]
    if jobs:
        page.goto(f"{server.url}/#video/{jobs[0]['id']}")
    else:
        page.locator("#every").select_option("2")
        page.locator("#codec").evaluate("(select) => { select.value = 'vp9'; }")  # plays in every Chromium
        page.set_input_files("#video-file", clips / "interview.webm")
    expect(page.locator("#video-count")).to_have_text("2 people seen", timeout=120_000)
    page.locator("#player").evaluate("""async (video) => {
      video.muted = true;
      await video.play();
      while (video.currentTime < 1) await new Promise((resolve) => setTimeout(resolve, 50));
      video.pause();
    }""")
    page.wait_for_timeout(1000)
    page.evaluate("scrollTo(0, 0)")


def _show_live(page: Page, server: Server, clips: Path) -> None:
    page.goto(f"{server.url}/#live")
    page.locator("#live-start").click()
    expect(page.locator("#live-count")).to_have_text("2 people", timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    page.evaluate("document.activeElement.blur()")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots")

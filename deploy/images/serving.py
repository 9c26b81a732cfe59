"""The serving image tried for real: pictures, a video, its user, its file system, its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from deploy.images.container import Container
from deploy.images.image import Image, ImageError
from deploy.images.people import PEOPLE, found_here, photograph, same_people
from deploy.images.service import Service, checked, owned_folder, serving
from deploy.images.sizes import MEGABYTE
from deploy.images.video import try_video

Tell = Callable[[str], None]

GRACE = 45.0  # seconds: what docker-compose.yml gives it, a little more than YAOP_SHUTDOWN_TIMEOUT
_BATCH = 12  # pictures: enough work to be in the middle of


def try_serving(image: Image, root: Path, work: Path, tell: Tell, engine: str) -> None:
    """All that the serving image promises, with this engine.

    Raises:
        ImageError: a promise that is not kept.
    """
    photo = photograph()
    expected = found_here(photo, work, engine)
    with serving(image, root, work, owned_folder(work / "models", image), {"YAOP_ENGINE": engine}) as service:
        tell(f"ready after {service.seconds_to_start:.1f} s")
        tell(locked_in(service.container, "/app/x", "/opt/yaop/x"))
        tell(_nothing_more_than_needed(service.container))
        tell(_healthy(service.container))
        tell(finds(service, photo, expected))
        tell(f"{service.container.resident_bytes / MEGABYTE:.0f} MB of memory after it")
        tell(try_video(service, work))
        tell(f"{service.container.resident_bytes / MEGABYTE:.0f} MB of memory after it")
        tell(_stops(service, photo))


def finds(service: Service, photo: bytes, expected: list[Any]) -> str:
    """See that the people are those that the checkout finds."""
    if len(expected) != PEOPLE:
        raise ImageError(f"the checkout finds {len(expected)} people in a photograph of {PEOPLE}")
    answer = service.http.post("/pose", files={"image": photo})
    off = same_people(checked(answer).json()["people"], expected)
    return f"POST /pose finds the {PEOPLE} people of the photograph, at most {off:.3f} px off the checkout's"


def locked_in(container: Container, *places: str) -> str:
    """See that it runs as the image's user, without rights, and cannot write where it should not."""
    user = container.image.user[0]
    status = container.execute("cat", "/proc/self/status").stdout
    facts = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    if facts["Uid"] != [str(user)] * 4 or user == 0:
        raise ImageError(f"runs as uid {facts['Uid']}")
    if any(int(facts[name][0], 16) for name in ("CapEff", "CapPrm", "CapBnd")):
        raise ImageError("has capabilities")
    for place in ("/x", *places):
        if container.execute("touch", place).returncode == 0:
            raise ImageError(f"could write {place}")
    first = container.execute("cat", "/proc/1/comm").stdout.strip()
    if first != "tini":
        raise ImageError(f"process 1 is {first}")
    return f"uid {user}, no capabilities, read-only root (could not write {', '.join(('/x', *places))}), tini first"


def _nothing_more_than_needed(container: Container) -> str:
    script = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    found = container.execute("python", "-c", script, "trainer", "tests", "pip", "hatchling").stdout.strip()
    if found != "[]":
        raise ImageError(f"has {found}")
    commands = container.execute("yaop", "--help").stdout
    if " serve " not in commands or " train " in commands:
        raise ImageError(f"yaop --help says {commands}")
    return "no trainer, no tests, no pip in it"


def _healthy(container: Container) -> str:
    done = container.execute(*container.image.health)
    if not container.image.health or done.returncode != 0:
        raise ImageError(f"HEALTHCHECK: {done.stdout}{done.stderr}")
    return "HEALTHCHECK says healthy"


def _stops(service: Service, photo: bytes) -> str:
    """Ask it to stop in the middle of a request."""
    answers: list[httpx.Response | Exception] = []
    work = threading.Thread(target=_ask_much, args=(service, photo, answers))
    work.start()
    _wait_for_work(service)
    begin = time.monotonic()
    service.container.signal("TERM")
    code = service.container.wait(GRACE)
    seconds = time.monotonic() - begin
    work.join(GRACE)
    if code != 0:
        raise ImageError(f"SIGTERM: exit code {code}; {service.container.last_words}")
    if not answers or isinstance(answers[0], Exception):
        raise ImageError(f"SIGTERM: the request in flight got {answers}")
    results = checked(answers[0]).json()["results"]
    if [len(entry["result"]["people"]) for entry in results if entry.get("result")] != [PEOPLE] * _BATCH:
        raise ImageError(f"SIGTERM: the request in flight got {answers[0].text[:300]}")
    return f"SIGTERM with {_BATCH} pictures in flight: all answered, exit code 0 after {seconds:.1f} s"


def _ask_much(service: Service, photo: bytes, answers: list[httpx.Response | Exception]) -> None:
    try:
        answers.append(service.http.post("/pose/batch", files=[("images", photo)] * _BATCH))
    except httpx.HTTPError as error:
        answers.append(error)


def _wait_for_work(service: Service) -> None:
    """Until some pictures of the request are done and others are not."""
    url = service.http.base_url
    for _ in range(200):
        metrics = httpx.get(f"{url}/metrics").text
        in_progress = next(line for line in metrics.splitlines() if line.startswith("yaop_pictures_in_progress "))
        if float(in_progress.split()[1]) > 1:
            return
        time.sleep(0.02)
    raise ImageError("the request for many pictures did not begin")

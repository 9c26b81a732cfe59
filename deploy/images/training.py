"""The trainer image tried for real: from nothing to a bundle that the serving image serves."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.images.container import Container
from deploy.images.image import Image, ImageError
from deploy.images.people import found_here, photograph
from deploy.images.service import owned_folder, serving
from deploy.images.serving import Tell, finds, locked_in
from tests.ports import free_port

_TRAINING = 1800.0
_SHORT = 120.0
_ENGINE = "litert"  # every variant of the serving image has it

RUN = "smoke"  # what train-entrypoint.sh calls the run that needs no data


@dataclass(frozen=True)
class Trainer:
    """The trainer image, its files, and volumes that start empty."""

    image: Image
    root: Path
    work: Path
    volumes: Mapping[str, Path]

    def start(self, name: str, arguments: Sequence[str]) -> Container:
        """A container with these arguments; `name` is of the folder for its log."""
        folder = self.work / name
        folder.mkdir()
        return Container(self.image, self.root, folder, arguments=arguments, volumes=self.volumes)


def new_trainer(image: Image, root: Path, work: Path) -> Trainer:
    """A trainer with volumes that its user may write to."""
    volumes = {f"/{name}": owned_folder(work / "volumes" / name, image) for name in ("data", "runs", "models")}
    return Trainer(image, root, work, volumes)


def try_training(trainer: Trainer, tell: Tell) -> None:
    """The smoke recipe to a bundle, which is promoted into the models volume; TensorBoard shows the run.

    Raises:
        ImageError: a promise that is not kept.
    """
    begin = time.monotonic()
    with trainer.start("train", []) as container:
        _wait_for_words(container, "No arguments, so now: the smoke recipe")
        tell(locked_in(container, "/app/x"))
        code = container.wait(_TRAINING)
        if code != 0 or not (trainer.volumes["/runs"] / RUN / "bundle" / "manifest.json").is_file():
            raise ImageError(f"training: exit code {code}; {container.last_words}")
    tell(f"no arguments, no data: the smoke recipe to a bundle in {(time.monotonic() - begin) / 60:.1f} minutes")
    with trainer.start("promote", ["yaop", "models", "promote", f"/runs/{RUN}"]) as container:
        if container.wait(_SHORT) != 0:
            raise ImageError(f"yaop models promote: {container.last_words}")
        tell(f"{container.log.strip()}")
    tell(_tensorboard(trainer))


def try_serving_trained(trainer: Trainer, image: Image, root: Path, work: Path, tell: Tell) -> None:
    """The serving image with the models volume of the trainer.

    Raises:
        ImageError: it serves another model, or finds other people than the checkout does with it.
    """
    models = trainer.volumes["/models"]
    photo = photograph()
    expected = found_here(photo, work, _ENGINE, models)
    (manifest,) = models.glob("*/manifest.json")
    promoted = json.loads(manifest.read_text(encoding="utf-8"))
    with serving(image, root, work, models, {"YAOP_MODEL": promoted["name"], "YAOP_ENGINE": _ENGINE}) as service:
        (listed,) = service.http.get("/models").json()["models"]
        if (listed["name"], listed["version"]) != (promoted["name"], promoted["version"]):
            raise ImageError(f"promoted {promoted['name']} {promoted['version']}, but GET /models says {listed}")
        tell(f"GET /models: {listed['name']} {listed['version']}, the one that was promoted")
        tell(finds(service, photo, expected))


def _tensorboard(trainer: Trainer) -> str:
    port = free_port()
    arguments = ["tensorboard", "--logdir", "/runs", "--host", "127.0.0.1", "--port", str(port)]
    with trainer.start("tensorboard", arguments) as container:
        deadline = time.monotonic() + _SHORT
        while container.running and time.monotonic() < deadline:
            runs = _shown_runs(port)
            if any(run.startswith(RUN) for run in runs):
                return f"TensorBoard shows {', '.join(sorted(runs))}"
            time.sleep(0.5)
        raise ImageError(f"TensorBoard does not show the run; {container.last_words}")


def _shown_runs(port: int) -> list[str]:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/data/runs", timeout=10)
    except httpx.TransportError:
        return []
    return answer.json() if answer.status_code == 200 else []


def _wait_for_words(container: Container, words: str) -> None:
    deadline = time.monotonic() + _SHORT
    while words not in container.log:
        if not container.running or time.monotonic() > deadline:
            raise ImageError(f"{container.image.name}: expected {words!r}; {container.last_words}")
        time.sleep(0.1)

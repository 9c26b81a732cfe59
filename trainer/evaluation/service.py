"""Poses from a running service, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from pydantic import ValidationError

from shared.schema import Frame, Person
from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.labels import Found, Labels, Picture
from trainer.evaluation.measure import read_file
from trainer.evaluation.scoring import MAX_DETECTIONS

_TIMEOUT = 120.0  # seconds; the service's own deadline is shorter
_PATIENCE = 300.0  # seconds that one picture may wait for a busy service
_LONGEST_PAUSE = 30.0


class ServicePoses:
    """Asks ``POST /pose`` of a YAOP service for the people of each picture; see `trainer.evaluation.measure.Poses`.

    A service that is busy (503) is asked again after the time that it names in Retry-After, for up to five minutes.
    """

    def __init__(
        self, url: str, labels: Labels, *, resolution: int, flip: bool = False, client: httpx.Client | None = None
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: where the service is, as in ``http://127.0.0.1:8000``.
            labels: say which keypoints are wanted.
            resolution: long side of the network input in pixels.
            flip: test-time flip.
            client: to send with; by default a new one.

        Raises:
            EvaluationError: this is no HTTP address.
        """
        if not url.startswith(("http://", "https://")):
            raise EvaluationError(f"{url}: not the address of a service, as in http://127.0.0.1:8000")
        self._url = f"{url.rstrip('/')}/pose"
        self._labels = labels
        self._client = client or httpx.Client(timeout=_TIMEOUT)
        self._query = {
            "resolution": str(resolution),
            "flip": str(flip).lower(),
            "min_score": "0",
            "max_people": str(MAX_DETECTIONS),
        }

    def __call__(self, picture: Picture) -> Sequence[Found]:
        """The people in one picture.

        Raises:
            DatasetError: the picture is missing.
            EvaluationError: the service cannot be reached, refuses the picture, or answers something else.
        """
        answer = self._post(read_file(picture.path), picture.path.name)
        try:
            frame = Frame.model_validate_json(answer.content)
        except ValidationError as error:
            raise EvaluationError(
                f"{self._url}: {picture.path.name}: this is not the answer of a YAOP service"
            ) from error
        return [self._found(person) for person in frame.people]

    def _post(self, data: bytes, name: str) -> httpx.Response:
        end = time.monotonic() + _PATIENCE
        headers = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
        while True:
            try:
                answer = self._client.post(self._url, params=self._query, content=data, headers=headers)
            except httpx.HTTPError as error:
                raise EvaluationError(f"{self._url}: {name}: {str(error) or type(error).__name__}") from error
            except httpx.InvalidURL as error:
                raise EvaluationError(f"{self._url}: {error}") from error
            if answer.status_code == 200:
                return answer
            pause = _pause(answer)
            if answer.status_code != 503 or time.monotonic() + pause > end:
                raise EvaluationError(f"{self._url}: {name}: {answer.status_code} {_detail(answer)}")
            time.sleep(pause)

    def _found(self, person: Person) -> Found:
        missing = [name for name in self._labels.names if name not in person.keypoints]
        if missing:
            raise EvaluationError(f"{self._url}: the service's model has no keypoint {missing[0]!r}")
        points = (person.keypoints[name] for name in self._labels.names)
        triples = [(0.0, 0.0, 0.0) if point is None else (point.x, point.y, point.score) for point in points]
        return Found(np.array(triples, np.float64), person.score)


def _pause(answer: httpx.Response) -> float:
    """Seconds to wait before asking again; one where the service does not say (a date counts as not saying)."""
    try:
        seconds = float(answer.headers.get("Retry-After", ""))
    except ValueError:
        return 1.0
    return min(seconds, _LONGEST_PAUSE) if seconds >= 0 else 1.0


def _detail(answer: httpx.Response) -> str:
    """What the problem object says, or else the status in words."""
    try:
        content: Any = answer.json()
        return str(content["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase or "without a reason"

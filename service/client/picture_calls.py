"""``/pose``: the people in pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from pydantic import BaseModel, TypeAdapter

from service.client.calls import Calls
from service.client.connection import parse, parse_as
from service.client.errors import not_understood
from service.client.transfers import opened
from service.wire import ProblemDetails
from shared.schema import CocoResult, Frame, OpenPoseFrame

if TYPE_CHECKING:
    import httpx
    import numpy as np
    from numpy.typing import NDArray

_COCO = TypeAdapter(list[CocoResult])

Image = bytes | str | Path
"""What is in a JPEG, PNG, WebP or BMP file, or the path of one."""


class PictureOptions(TypedDict, total=False):
    """How a picture is looked at. What is left out, or None, is left to the service."""

    resolution: str | int | None
    """Long side of the network's input: a name or pixels."""

    min_score: float | None
    """People with a lower score are left out."""

    max_people: int | None
    """Most people given."""

    flip: bool | None
    """Look at the mirror image, too."""

    roi: tuple[int, int, int, int] | None
    """Look only at this part: x, y, width, height in pixels of the upright picture."""

    model: str | None
    """Name of a loaded model."""


class BatchItem(BaseModel):
    """What one picture of a batch got: a result or a problem."""

    filename: str | None = None
    result: Frame | None = None
    problem: ProblemDetails | None = None


class _Batch(BaseModel):
    results: list[BatchItem]


class PictureCalls(Calls):
    """One picture, or several, in; people, drawings or fields out. `PictureOptions` has what all may be given."""

    def estimate(self, image: Image, **options: Unpack[PictureOptions]) -> Frame:
        """The people in a picture, in pixels of the upright picture.

        Args:
            image: what is in a JPEG, PNG, WebP or BMP file, or the path of one.
            options: `resolution`, `min_score`, `max_people`, `flip`, `roi`, `model`; see `PictureOptions`.
        """
        return parse(Frame, self._look(image, options))

    def estimate_batch(self, images: Iterable[Image], **options: Unpack[PictureOptions]) -> list[BatchItem]:
        """The people in each of several pictures, which may be looked at together; in their order.

        A picture that cannot be read has a problem in place of a result, and the others have theirs.
        """
        parts = [("images", _part(image, index)) for index, image in enumerate(images)]
        if not parts:
            return []
        answer = self._connection.call("POST", "/pose/batch", params=_params(options), files=parts)
        return parse(_Batch, answer).results

    def openpose(self, image: Image, **options: Unpack[PictureOptions]) -> OpenPoseFrame:
        """The people in a picture, as OpenPose writes them with `--model_pose COCO`."""
        return parse(OpenPoseFrame, self._look(image, options, format="openpose"))

    def coco(self, image: Image, image_id: int = 0, **options: Unpack[PictureOptions]) -> list[CocoResult]:
        """The people in a picture, as entries of a COCO keypoint results file.

        Args:
            image: as for `estimate`.
            image_id: of the entries.
            options: as for `estimate`.
        """
        return parse_as(_COCO, self._look(image, options, format="coco", image_id=image_id))

    def draw(self, image: Image, format: Literal["jpeg", "png"] = "jpeg", **options: Unpack[PictureOptions]) -> bytes:  # noqa: A002
        """The picture with its skeletons drawn in: what is to be in a file of that format."""
        return self._look(image, options, accept=f"image/{format}", draw=True).content

    def fields(self, image: Image, **options: Unpack[PictureOptions]) -> dict[str, NDArray[np.generic]]:
        """What the network sees in a picture.

        Returns:
            ``heatmaps`` float32 ``[h, w, K]`` (0 to 1), ``pafs`` float32 ``[h, w, 2L]``, ``stride`` (pixels of the
            network's input per cell), ``input_shape`` (height, width of that input), ``region`` (x, y, width, height
            of what was looked at, in pixels of the picture), ``size`` (width, height that the region was resized to,
            at the input's top left), ``picture`` (width, height), ``keypoints`` (names) and ``limbs`` (pairs of them).
        """
        import numpy as np

        answer = self._look(image, options, fields=True)
        try:
            with np.load(io.BytesIO(answer.content), allow_pickle=False) as archive:
                return dict(archive)
        except (ValueError, OSError, EOFError) as error:
            raise not_understood(answer) from error

    def _look(
        self, image: Image, options: PictureOptions, accept: str = "application/json", **more: Any
    ) -> httpx.Response:
        headers = {"Content-Type": "application/octet-stream", "Accept": accept}
        params = _params(options) | more
        return self._connection.call("POST", "/pose", params=params, content=_bytes(image), headers=headers)


def _params(options: PictureOptions) -> dict[str, Any]:
    roi = options.get("roi")
    given = options | {"roi": ",".join(map(str, roi)) if roi else None}
    return {name: value for name, value in given.items() if value is not None}


def _part(image: Image, index: int) -> tuple[str, bytes, str]:
    name = f"picture{index}" if isinstance(image, bytes) else Path(image).name
    return name.encode("utf-8", "replace").decode(), _bytes(image), "application/octet-stream"


def _bytes(image: Image) -> bytes:
    if isinstance(image, bytes):
        return image
    with opened(Path(image)) as file:
        return file.read()

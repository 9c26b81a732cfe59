"""How alike people are to what is expected of them: OKS, with a tolerance that grows with the uncertainty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.tracking.tracks import Tracks
from shared.skeleton import Skeleton


class Likeness(NamedTuple):
    """Of T tracks to N people.

    Attributes:
        oks: ``[T, N]`` in 0..1: mean over the keypoints both have; 0 for pairs that share less than half of the
            keypoints of the one who has fewer.
        keypoints: ``[T, N, K]`` the same for each keypoint, 0 where one of them lacks it.
    """

    oks: NDArray[np.float64]
    keypoints: NDArray[np.float64]


def compare(
    tracks: Tracks,
    xy: NDArray[np.float64],
    present: NDArray[np.bool_],
    skeleton: Skeleton,
    *,
    seconds: float,
    memory: float,
    max_blur: float,
    limb_speed: float,
) -> Likeness:
    """Object keypoint similarity as in COCO's evaluation, where a keypoint's variance also has what motion adds.

    Args:
        tracks: as they should be now.
        xy: keypoints ``[N, K, 2]`` of the people who were found, in pixels.
        present: ``[N, K]``: which of them were.
        skeleton: whose sigmas are used.
        seconds: since the last frame.
        memory: keypoints of tracks not seen for more seconds are not looked at.
        max_blur: the most that uncertainty of the position adds to the tolerance, in person sizes, for tracks that
            the last frame did not show.
        limb_speed: person sizes a second by which keypoints that are not seen move against the body.
    """
    fresh = tracks.age <= memory
    blur = np.where(tracks.lost > seconds, np.minimum(tracks.blur, max_blur), tracks.blur)[:, None]
    drift = np.minimum(limb_speed * tracks.age, max_blur)
    variance = (2 * np.array(skeleton.sigmas)) ** 2 + blur**2 + drift**2
    variance *= tracks.sizes(memory)[:, None] ** 2
    squared = ((tracks.keypoints[:, None] - xy[None]) ** 2).sum(axis=-1)
    common = fresh[:, None] & present[None]
    alike = np.exp(-squared / (2 * variance[:, None])) * common
    count = common.sum(axis=-1)
    fewer = np.minimum(fresh.sum(axis=1)[:, None], present.sum(axis=1)[None])
    oks = alike.sum(axis=-1) / np.maximum(count, 1) * ((2 * count >= fewer) & (count > 0))
    return Likeness(oks, alike)

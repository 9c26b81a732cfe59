from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.assembly import People
from shared.images import decode_image
from shared.skeleton import BODY_18, Skeleton
from trainer import pictures

ARROW = Skeleton(
    name="arrow",
    keypoints=("tail", "tip"),
    limbs=((0, 1),),
    flips=(0, 1),
    sigmas=(0.1, 0.1),
    colors=((255, 0, 0), (0, 255, 0)),
)
Picture = NDArray[np.uint8]


def grey(height: int = 64, width: int = 64, value: int = 100) -> Picture:
    return np.full((height, width, 3), value, np.uint8)


def heatmaps(*cells: tuple[int, int, int], size: int = 16) -> NDArray[np.float32]:
    field = np.zeros((size, size, 2), np.float32)
    for row, column, channel in cells:
        field[row, column, channel] = 1.0
    return field


def test_each_heatmap_has_its_keypoints_colour_over_a_darker_picture() -> None:
    field = np.zeros((16, 16, 2), np.float32)
    field[2:5, 2:5, 0] = 1.0
    field[10:13, 10:13, 1] = 1.0
    picture = pictures.overlay_heatmaps(grey(), field, ARROW)
    assert tuple(picture[14, 14]) == (255, 0, 0)
    assert tuple(picture[46, 46]) == (0, 255, 0)
    assert tuple(picture[60, 4]) == (40, 40, 40)


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_a_cell_lies_where_the_geometry_says(stride: int) -> None:
    row, column = 6, 9
    picture = pictures.overlay_heatmaps(grey(16 * stride, 16 * stride, 0), heatmaps((row, column, 0)), ARROW)
    y, x = (np.average(np.arange(16 * stride), weights=picture[..., 0].sum(axis=axis)) for axis in (1, 0))
    assert y == pytest.approx(stride * row + (stride - 1) / 2, abs=0.05)
    assert x == pytest.approx(stride * column + (stride - 1) / 2, abs=0.05)


def test_the_stronger_heatmap_wins_a_pixel() -> None:
    field = np.zeros((16, 16, 2), np.float32)
    field[..., 0], field[..., 1] = 0.4, 0.6
    red, green, _ = pictures.overlay_heatmaps(grey(value=0), field, ARROW)[30, 30]
    assert (red, green) == (0, 153)


def test_values_beyond_0_and_1_are_cut() -> None:
    field = np.full((16, 16, 2), -3.0, np.float32)
    field[4:12, 4:12, 1] = 7.0
    picture = pictures.overlay_heatmaps(grey(), field, ARROW)
    assert tuple(picture[32, 32]) == (0, 255, 0)
    assert tuple(picture[2, 2]) == (40, 40, 40)


def test_the_direction_of_a_paf_is_its_hue_and_its_length_the_brightness() -> None:
    def color(x: float, y: float) -> list[int]:
        field = np.zeros((16, 16, 2), np.float32)
        field[:] = x, y
        return pictures.overlay_pafs(grey(value=0), field, ARROW)[0, 0].tolist()  # in the corner there is no arrow

    assert color(1, 0) == [255, 0, 0]
    assert color(-1, 0) == [0, 255, 255]
    assert color(0, 1) == [127, 255, 0]
    assert color(0.5, 0) == [128, 0, 0]
    assert color(0, 0) == [0, 0, 0]


def test_arrows_are_drawn_on_strong_pafs_only() -> None:
    def whites(length: float) -> int:
        field = np.zeros((16, 16, 2), np.float32)
        field[..., 0] = length
        return int((pictures.overlay_pafs(grey(value=0), field, ARROW).min(axis=-1) > 200).sum())

    assert whites(0.1) == 0
    assert whites(0.9) > 100


def test_limbs_that_cross_head_on_do_not_hide_each_other() -> None:
    field = np.zeros((16, 16, 2 * BODY_18.num_limbs), np.float32)
    field[..., 0], field[..., 2] = 0.9, -0.8
    assert tuple(pictures.overlay_pafs(grey(value=0), field, BODY_18)[0, 0]) == (230, 0, 0)


def test_fields_of_another_skeleton_are_refused() -> None:
    with pytest.raises(ValueError, match=r"body_18: expected \[h, w, 18\]"):
        pictures.overlay_heatmaps(grey(), heatmaps(), BODY_18)
    with pytest.raises(ValueError, match=r"arrow: expected \[h, w, 2\]"):
        pictures.overlay_pafs(grey(), np.zeros((16, 16, 38), np.float32), ARROW)


def test_present_keypoints_are_drawn_whether_seen_or_hidden() -> None:
    people = np.array([[[10, 30, 1], [50, 30, 2]], [[30, 60, 2], [30, 5, 0]]], np.float32)
    picture = pictures.draw_keypoints(grey(), people, ARROW)
    assert tuple(picture[30, 10]) == (255, 0, 0)
    assert picture[30, 30].tolist() == pytest.approx(
        [0, 255, 0], abs=30
    )  # a limb has the colour of its second keypoint
    assert tuple(picture[60, 30]) == (255, 0, 0)
    assert tuple(picture[5, 30]) == (100, 100, 100)


def test_only_what_the_loss_does_not_count_is_shaded() -> None:
    mask = np.ones((16, 16, 1), np.uint8)
    mask[4:8, :4] = 0
    changed = (pictures.shade_mask(grey(), mask) != 100).any(axis=-1)
    assert changed[16:32, :16].all()
    assert changed.sum() == 16 * 16


def test_a_grid_holds_every_picture_in_its_place() -> None:
    rows = [[grey(20, 30, 200), grey(10, 10, 150)], [grey(8, 12, 250)]]
    picture = pictures.grid(rows)
    assert picture.shape == (20 + 4 + 8, 30 + 4 + 10, 3)
    assert (picture[:20, :30] == 200).all()
    assert (picture[:10, 34:44] == 150).all()
    assert (picture[24:32, :12] == 250).all()


def test_captions_take_a_line_above_their_row() -> None:
    plain = pictures.grid([[grey()], [grey()]])
    headed = pictures.grid([[grey()], [grey()]], [["a heading that is much too long for it"]])
    extra = headed.shape[0] - plain.shape[0]
    assert 10 < extra < 40
    np.testing.assert_array_equal(headed[extra:], plain)
    assert headed[:extra].max() > 150


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a picture"):
        pictures.grid([[], []])


def test_a_png_holds_the_very_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    np.testing.assert_array_equal(decode_image(pictures.encode_png(picture)), picture)


def batch(count: int = 3) -> dict[str, NDArray[np.generic]]:
    keypoints = np.zeros((count, 2, 2, 3), np.float32)
    keypoints[:, 0] = [[16, 32, 2], [48, 32, 2]]
    return {
        "images": np.full((count, 64, 64, 3), 100, np.uint8),
        "keypoints": keypoints,
        "sizes": np.full((count, 2), 60, np.float32),
        "mask": np.ones((count, 16, 16, 1), np.uint8),
    }


def predicted(count: int = 3) -> dict[str, NDArray[np.float32]]:
    return {name: np.zeros((count, 16, 16, 2), np.float32) for name in ("heatmaps", "pafs", "pafs_0")}


def tiles(sheet: Picture) -> list[Picture]:
    """The pictures of two rows of four, 64 x 64 each, without their captions."""
    caption = (sheet.shape[0] - 2 * 64 - 4) // 2
    tops, lefts = (caption, 2 * caption + 68), range(0, 4 * 68, 68)
    return [sheet[top : top + 64, left : left + 64] for top in tops for left in lefts]


def test_a_sample_shows_targets_above_predictions() -> None:
    given = batch()
    given["mask"][:, :8] = 0
    sheets = pictures.sample_pictures(given, predicted(), ARROW, limit=2)
    assert list(sheets) == ["sample_0", "sample_1"]
    source, labels, wanted_heat, wanted_paf, counted, _, said_heat, said_paf = tiles(sheets["sample_0"])
    assert (source == 100).all()
    assert tuple(labels[32, 16]) == (255, 0, 0)
    assert wanted_heat[32, 16, 0] > 150 > 3 * wanted_heat[32, 16, 1]
    assert (wanted_paf[30:35, 20:44, 0] == 255).mean() > 0.3  # red points right; the rest is arrows
    assert (counted[32:] == 100).all() and (counted[:32] != 100).any(axis=-1).all()
    assert (said_heat == 40).all() and (said_paf == 40).all()


def test_a_sample_shows_who_was_decoded() -> None:
    nobody = People.none(ARROW)
    somebody = People(np.array([[[8, 8, 0.9], [8, 40, 0.9]]], np.float32), np.ones(1, np.float32))
    sheets = pictures.sample_pictures(batch(2), predicted(2), ARROW, [nobody, somebody])
    assert (tiles(sheets["sample_0"])[5] == 100).all()
    assert tuple(tiles(sheets["sample_1"])[5][8, 8]) == (255, 0, 0)


def test_targets_that_the_batch_already_has_are_shown_as_they_are() -> None:
    ready = batch(1) | {"heatmaps": np.ones((1, 16, 16, 2), np.float32), "pafs": np.zeros((1, 16, 16, 2), np.float32)}
    sheet = pictures.sample_pictures(ready, predicted(1), ARROW)["sample_0"]
    assert (tiles(sheet)[2] == (255, 0, 0)).all()

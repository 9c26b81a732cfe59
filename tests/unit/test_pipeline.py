"""Records to batches: what a sample holds, and an order that depends on nothing but the seed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import YaopError
from shared.geometry import PAD_VALUE
from shared.skeleton import BODY_18, Skeleton
from tests import photos
from tests.records_fixture import make_record, numbered_records, write_folder
from trainer.data.augment import AugmentOptions
from trainer.data.pipeline import Batch, PipelineError, PipelineOptions, Source, make_dataset
from trainer.data.stream import Order, count_draws, derive_key, mixed_records

SIDE, STRIDE = 128, 4
CELLS = SIDE // STRIDE
STILL = AugmentOptions(
    long_side=(SIDE, SIDE), person_side=(1, 1e4), rotation=0, jitter=0, flip=0, color=0, gray=0, degrade=0
)
OPTIONS = PipelineOptions(side=48, batch=6, max_people=3, max_ignored=4, threads=2, shuffle=5, cycle=3)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    """Two sets of records in several shards each: 11 pictures with boxes 24 px wide and more, and 4 others."""
    folder = tmp_path_factory.mktemp("records")
    records = numbered_records(folder / "pictures", 15)
    large = write_folder(folder / "large", records[:11], shard_size=3)
    small = write_folder(folder / "small", records[11:], shard_size=3)
    return [Source(large, 2.0, AugmentOptions(cutout=0.3)), Source(small, 1.0, AugmentOptions(flip=0.0))]


def _batches(sources: list[Source], count: int, options: PipelineOptions = OPTIONS, **arguments: Any) -> list[Any]:
    dataset = make_dataset(sources, options, BODY_18, stride=STRIDE, **{"seed": 3} | arguments)
    return list(dataset.take(count).as_numpy_iterator())


def _assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name in Batch._fields:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def _sample(folder: Path, record: Any, augment: AugmentOptions = STILL, **changes: Any) -> dict[str, NDArray[Any]]:
    """The only sample of a set of one record; with `STILL` and a picture of SIDE x SIDE its pixels are the input's."""
    options = PipelineOptions(**{"side": SIDE, "batch": 1, "threads": 1} | changes)
    (batch,) = _batches([Source(write_folder(folder / "records", [record]), 1, augment)], 1, options)
    return {name: value[0] for name, value in batch.items()}


@pytest.fixture
def square() -> NDArray[np.uint8]:
    return photos.astronaut()[:SIDE, 150 : 150 + SIDE].copy()


def test_shapes_and_types_are_known_before_any_batch_is_made(sources: list[Source]) -> None:
    dataset = make_dataset(sources, OPTIONS, BODY_18, stride=STRIDE, seed=0)
    found = {name: (tuple(spec.shape), spec.dtype.name) for name, spec in dataset.element_spec.items()}
    assert found == {
        "images": ((6, 48, 48, 3), "uint8"),
        "keypoints": ((6, 3, 18, 3), "float32"),
        "sizes": ((6, 3), "float32"),
        "mask": ((6, 12, 12, 1), "uint8"),
        "keypoint_weights": ((6, 18), "float32"),
        "limb_weights": ((6, 19), "float32"),
    }
    assert set(found) == set(Batch._fields)


@pytest.fixture(scope="module")
def unbroken(sources: list[Source]) -> list[dict[str, Any]]:
    """Sixty samples: both sources are read several times over."""
    return _batches(sources, 10)


def test_batches_are_the_same_for_a_seed_and_others_for_another(
    sources: list[Source], unbroken: list[dict[str, Any]]
) -> None:
    keras.utils.set_random_seed(5)  # whatever else in the process draws numbers
    again = _batches(sources, 4, dataclasses.replace(OPTIONS, threads=0))
    for one, other in zip(unbroken, again, strict=False):
        _assert_same(one, other)
    assert not np.array_equal(unbroken[0]["images"], _batches(sources, 1, seed=4)[0]["images"])
    assert not np.array_equal(unbroken[0]["images"], unbroken[1]["images"])


@pytest.mark.parametrize("start", [1, 8])
def test_a_run_goes_on_where_it_stopped(sources: list[Source], unbroken: list[dict[str, Any]], start: int) -> None:
    for one, other in zip(unbroken[start:], _batches(sources, 10 - start, start=start), strict=True):
        _assert_same(one, other)


def test_the_slices_of_all_workers_are_the_batch_of_one_process(
    sources: list[Source], unbroken: list[dict[str, Any]]
) -> None:
    slices = [_batches(sources, 3, worker=(index, 2)) for index in range(2)]
    for step in range(3):
        joined = {name: np.concatenate([part[step][name] for part in slices]) for name in Batch._fields}
        _assert_same(joined, unbroken[step])


def test_the_batch_of_the_options_can_be_replaced_without_changing_the_samples(
    sources: list[Source], unbroken: list[dict[str, Any]]
) -> None:
    (large,) = _batches(sources, 1, batch=12)
    np.testing.assert_array_equal(large["images"], np.concatenate([batch["images"] for batch in unbroken[:2]]))


def _drawn(sources: list[Source], count: int, start: int = 0) -> list[tuple[int, int, bytes]]:
    from trainer.data.pipeline import find_shards

    shards = [find_shards(source.folder, BODY_18) for source in sources]
    weights = [source.weight for source in sources]
    records = mixed_records(shards, weights, Order(cycle=3, shuffle=5), seed=3, start=start)
    return [(int(i), int(s), e) for i, s, e in records.take(count).as_numpy_iterator()]


def test_each_epoch_of_a_source_shows_every_record_once_in_another_order(sources: list[Source]) -> None:
    examples = [example for _, source, example in _drawn(sources, 80) if source == 0]
    epochs = [examples[start : start + 11] for start in (0, 11, 22)]
    assert all(len(set(epoch)) == 11 for epoch in epochs)
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]


def test_sources_are_drawn_by_their_weights(sources: list[Source]) -> None:
    counts = count_draws([2.0, 1.0], derive_key(3, 0), 30_000)
    assert counts.sum() == 30_000
    assert counts[0] / 30_000 == pytest.approx(2 / 3, abs=0.01)
    drawn = [source for _, source, _ in _drawn(sources, 50)]
    np.testing.assert_array_equal(count_draws([2.0, 1.0], derive_key(3, 0), 50), np.bincount(drawn))
    assert [i for i, *_ in _drawn(sources, 3, start=17_000)] == [17_000, 17_001, 17_002]


def test_a_source_of_weight_zero_is_not_even_opened(
    sources: list[Source], unbroken: list[dict[str, Any]], tmp_path: Path
) -> None:
    absent = Source(str(tmp_path / "absent"), 0.0, AugmentOptions())
    _assert_same(_batches([*sources, absent], 1)[0], unbroken[0])


def test_each_source_is_varied_in_its_own_way(sources: list[Source]) -> None:
    grey = dataclasses.replace(STILL, gray=1.0)
    batches = _batches([sources[0]._replace(augment=STILL), sources[1]._replace(augment=grey)], 4)
    images = np.concatenate([batch["images"] for batch in batches]).astype(int)
    is_grey = np.ptp(images, axis=-1).max(axis=(1, 2)) <= 2
    drawn = [source for _, source, _ in _drawn(sources, 24)]
    np.testing.assert_array_equal(is_grey, np.array(drawn) == 1)


def test_an_unchanged_sample_holds_what_the_record_says(tmp_path: Path, square: NDArray[np.uint8]) -> None:
    record = make_record(tmp_path / "a.jpg", square, [[20, 30, 40, 60], [70, 20, 30, 90]])
    sample = _sample(tmp_path, record, max_people=4)
    assert np.abs(sample["images"].astype(int) - square).mean() < 3
    np.testing.assert_allclose(sample["keypoints"][:2], record.keypoints, atol=1e-3)
    np.testing.assert_allclose(sample["sizes"], [60, 90, 0, 0], atol=1e-3)
    assert not sample["keypoints"][2:].any()
    assert sample["mask"].min() == 1
    assert sample["keypoint_weights"].min() == sample["limb_weights"].min() == 1


def test_a_mirrored_sample_swaps_left_and_right(tmp_path: Path, square: NDArray[np.uint8]) -> None:
    left, right = BODY_18.index("left_wrist"), BODY_18.index("right_wrist")
    weights = np.ones(18, np.float32)
    weights[left] = 0
    record = make_record(tmp_path / "a.jpg", square, [[20, 30, 40, 60]], keypoint_weights=weights)
    plain = _sample(tmp_path / "plain", record)
    mirrored = _sample(tmp_path / "mirrored", record, dataclasses.replace(STILL, flip=1.0))
    np.testing.assert_allclose(mirrored["images"][:, ::-1], plain["images"], atol=1)
    expected = plain["keypoints"][:, list(BODY_18.flips)]
    present = expected[..., 2] > 0
    expected[..., 0] = SIDE - 1 - expected[..., 0]
    np.testing.assert_allclose(mirrored["keypoints"][present], expected[present], atol=1e-3)
    assert (plain["keypoint_weights"][left], plain["keypoint_weights"][right]) == (0, 1)
    assert (mirrored["keypoint_weights"][left], mirrored["keypoint_weights"][right]) == (1, 0)


def test_a_limb_counts_only_if_both_its_ends_are_labelled(tmp_path: Path, square: NDArray[np.uint8]) -> None:
    weights = np.ones(18, np.float32)
    weights[BODY_18.index("nose")] = 0
    record = make_record(tmp_path / "a.jpg", square, [[20, 30, 40, 60]], keypoint_weights=weights)
    expected = [float(BODY_18.index("nose") not in limb) for limb in BODY_18.limbs]
    np.testing.assert_array_equal(_sample(tmp_path, record)["limb_weights"], expected)


def _zeros(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Left, top, right and bottom of what is masked, in input pixels."""
    rows, columns = np.nonzero(mask[..., 0] == 0)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) * float(STRIDE)


def test_boxes_of_the_unlabelled_are_masked(tmp_path: Path, square: NDArray[np.uint8]) -> None:
    ignored = np.array([[16, 32, 40, 24]], np.float32)
    sample = _sample(tmp_path, make_record(tmp_path / "a.jpg", square, [[70, 20, 30, 90]], ignored=ignored))
    np.testing.assert_allclose(_zeros(sample["mask"]), [16, 32, 56, 56])
    assert (sample["mask"] == 0).sum() == 10 * 6


def test_the_mask_turns_with_the_picture(tmp_path: Path) -> None:
    picture = np.full((SIDE, SIDE, 3), 20, np.uint8)
    picture[40:84, 40:84] = 250
    ignored = np.array([[39.5, 39.5, 44, 44]], np.float32)
    turned = dataclasses.replace(STILL, rotation=40.0, flip=0.5)
    record = make_record(tmp_path / "a.jpg", picture, [[30, 30, 60, 60]], ignored=ignored)
    source = Source(write_folder(tmp_path / "records", [record]), 1, turned)
    (batch,) = _batches([source], 1, PipelineOptions(side=SIDE, batch=4))
    cells = batch["images"][..., 0].reshape(4, CELLS, STRIDE, CELLS, STRIDE).mean((2, 4))
    inside, outside = cells > 246, cells < 24
    assert not batch["mask"][inside].any()
    assert batch["mask"][outside].all()
    assert inside.any((1, 2)).all()
    assert max(np.ptp(np.nonzero(one)[0]) for one in inside) > 11, "at least one stands on its corner"


def test_a_crowds_outline_is_masked_rather_than_its_box(tmp_path: Path, square: NDArray[np.uint8]) -> None:
    triangle = [[0.0, 0.0, 100.0, 0.0, 0.0, 100.0]]
    sample = _sample(tmp_path, make_record(tmp_path / "a.jpg", square, segmentations=(triangle,)))
    mask = sample["mask"][..., 0]
    assert mask[2, 2] == mask[2, 20] == mask[20, 2] == 0
    assert mask[16, 16] == mask[2, 28] == 1


def test_people_beyond_the_limit_are_masked_rather_than_taught_as_background(
    tmp_path: Path, square: NDArray[np.uint8]
) -> None:
    boxes = [[4.0 + 40 * i, 8.0, 28.0, 96.0] for i in range(3)]
    record = make_record(tmp_path / "a.jpg", square, boxes)
    record.keypoints[1, 5:, 2] = 0  # the one of whom least is seen goes
    sample = _sample(tmp_path, record, max_people=2)
    np.testing.assert_allclose(sample["keypoints"], record.keypoints[[0, 2]], atol=1e-3)
    np.testing.assert_allclose(_zeros(sample["mask"]), [44, 8, 72, 104])


def test_only_the_labelled_persons_surroundings_count_where_others_are_not_labelled(
    tmp_path: Path, square: NDArray[np.uint8]
) -> None:
    record = make_record(tmp_path / "a.jpg", square, [[28, 28, 40, 40]], only_labelled=True)
    mask = _sample(tmp_path, record)["mask"]
    rows, columns = np.nonzero(mask[..., 0])
    assert (columns.min(), columns.max() + 1) == (6, 18)  # a tenth of 40 px around 28..68
    assert (rows.min(), rows.max() + 1) == (6, 18)


def test_padding_around_the_picture_counts_as_background(tmp_path: Path, square: NDArray[np.uint8]) -> None:
    ignored = np.array([[0, 0, 128, 64]], np.float32)
    record = make_record(tmp_path / "a.jpg", square[:64], [[4, 4, 20, 40]], ignored=ignored, only_labelled=True)
    sample = _sample(tmp_path, record)
    padding = (sample["images"] == PAD_VALUE).all((1, 2)).reshape(CELLS, STRIDE).mean(1)
    assert 14 <= (padding == 1).sum() <= 16
    assert sample["mask"][padding == 1].all()
    assert not sample["mask"][padding == 0].any()


def test_a_picture_without_people_gives_an_empty_sample(tmp_path: Path) -> None:
    sample = _sample(tmp_path, make_record(tmp_path / "a.jpg", photos.nobody()), AugmentOptions(cutout=1.0))
    assert not sample["keypoints"].any() and not sample["sizes"].any()
    assert sample["mask"].min() == 1


@pytest.mark.parametrize(
    ("changes", "arguments", "problem"),
    [
        ({"side": 50}, {}, "pipeline.side 50 is not a multiple of the network's stride 4"),
        ({}, {"worker": (0, 4)}, "pipeline.batch 6 is not a multiple of the 4 workers"),
        ({"batch": 0}, {}, "pipeline.batch 0"),
        ({}, {"worker": (2, 2)}, "worker 2 of 2"),
        ({"max_people": 0}, {}, "pipeline.max_people is 0; it must be at least 1"),
        ({"threads": -1}, {}, "pipeline.threads"),
        ({}, {"start": -1}, "must not be negative"),
    ],
)
def test_contradicting_options_are_refused(
    sources: list[Source], changes: dict[str, int], arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(PipelineError, match=problem):
        _batches(sources, 1, dataclasses.replace(OPTIONS, **changes), **arguments)


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_weights_that_cannot_be_drawn_by_are_refused(sources: list[Source], weights: list[float]) -> None:
    changed = [source._replace(weight=weight) for source, weight in zip(sources, weights, strict=False)]
    with pytest.raises(PipelineError, match="weight"):
        _batches(changed, 1)


def test_a_folder_without_records_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(YaopError) as caught:
        _batches([Source(str(tmp_path), 1.0, AugmentOptions())], 1)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_missing_shard_is_refused_before_any_work(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "records", numbered_records(tmp_path / "pictures", 4), shard_size=2)
    gone = sorted((tmp_path / "records").glob("part-*"))[0]
    gone.unlink()
    with pytest.raises(PipelineError, match=gone.name):
        _batches([Source(folder, 1.0, AugmentOptions())], 1)


def test_records_of_another_skeleton_are_refused(sources: list[Source]) -> None:
    pair = Skeleton("pair", ("a", "b"), ((0, 1),), (0, 1), (0.1, 0.1), ((255, 0, 0), (0, 255, 0)))
    with pytest.raises(PipelineError, match=r"skeleton body_18 with 18 keypoints.* pair with 2"):
        make_dataset(sources, OPTIONS, pair, stride=STRIDE, seed=0)


def test_any_skeleton_can_be_read(tmp_path: Path, square: NDArray[np.uint8]) -> None:
    trio = Skeleton("trio", ("a", "b", "c"), ((0, 1), (1, 2)), (2, 1, 0), (0.1,) * 3, ((255, 0, 0),) * 3)
    record = make_record(tmp_path / "a.jpg", square, [[20, 30, 40, 60]], skeleton=trio)
    folder = write_folder(tmp_path / "records", [record], skeleton=trio)
    options = PipelineOptions(side=SIDE, batch=2)
    dataset = make_dataset([Source(folder, 1, STILL)], options, trio, stride=STRIDE, seed=0)
    batch = next(iter(dataset.as_numpy_iterator()))
    assert batch["keypoints"].shape == (2, 16, 3, 3)
    np.testing.assert_allclose(batch["keypoints"][0, 0], record.keypoints[0], atol=1e-3)

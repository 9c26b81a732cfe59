"""What training measures is what will be served."""

from __future__ import annotations

import numpy as np

from shared.bundle import Bundle
from shared.inference.engine import load_engine
from shared.skeleton import BODY_18
from tests import blob_network
from trainer.decoding import DecodeOptions
from trainer.engine import KerasEngine


def test_the_live_network_agrees_with_its_exported_bundle(blob_bundle: Bundle) -> None:
    options = DecodeOptions(max_peaks=blob_bundle.manifest.max_peaks)
    engine = KerasEngine(blob_network.build(), BODY_18, blob_network.STRIDE, blob_network.SHAPES, options)
    exported = load_engine(blob_bundle, "tensorflow")
    for shape in blob_network.SHAPES:
        images = np.concatenate([blob_network.picture(shape, seed) for seed in (0, 1)])
        for live, served in zip(engine.fields(images), exported.fields(images), strict=True):
            np.testing.assert_allclose(live, served, atol=1e-4)
        live, served = engine.pose(images), exported.pose(images)
        assert (served.peaks[..., 2] > 0).sum() > 20
        np.testing.assert_allclose(live.peaks, served.peaks, atol=1e-2)
        assert (np.abs(live.limb_scores - served.limb_scores) < 1e-3).mean() > 0.995

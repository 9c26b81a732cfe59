"""Fixtures that several integration tests share because they are slow to make."""

from __future__ import annotations

import pytest

from shared.bundle import Bundle
from tests import blob_network


@pytest.fixture(scope="session")
def blob_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The exported bundle of a tiny network whose keypoints are blobs of colour."""
    return blob_network.export(tmp_path_factory.mktemp("models") / "blobs")

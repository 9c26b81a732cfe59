"""The networks by name. A new one is a file with a `build` function and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from shared.errors import YaopError
from shared.skeleton import Skeleton
from trainer.models import mobilenet_fpn, openpose_vgg19


class UnknownNetworkError(YaopError):
    """No network of that name; the message lists the known ones."""


@dataclass(frozen=True)
class Network:
    """How to build a network, and its output stride in input pixels."""

    build: Callable[..., keras.Model]
    stride: int


NETWORKS = {
    "mobilenet_fpn": Network(mobilenet_fpn.build_mobilenet_fpn, mobilenet_fpn.STRIDE),
    "openpose_vgg19": Network(openpose_vgg19.build_openpose_vgg19, openpose_vgg19.STRIDE),
}


def get_network(name: str) -> Network:
    """The network of this name.

    Raises:
        UnknownNetworkError: there is none.
    """
    if name not in NETWORKS:
        raise UnknownNetworkError(f"unknown network {name!r}; known: {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name]


def build_network(name: str, skeleton: Skeleton, **options: Any) -> keras.Model:
    """Build a network by name; see its own `build` function for the options."""
    return get_network(name).build(skeleton, **options)

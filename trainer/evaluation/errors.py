"""What can go wrong in an evaluation apart from its data."""

from __future__ import annotations

from shared.errors import YaopError


class EvaluationError(YaopError):
    """Poses that cannot be had or cannot be compared; the message says where they were to come from."""

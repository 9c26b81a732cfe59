"""Changing the models of a running service: the new ones are loaded and tried beside the old ones, then take over.

A request or job keeps the models that it began with. Engines that were replaced are closed when the last of those is
done.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.models import ModelRepository, load_models
from service.problems import Problem
from service.settings import Settings
from shared.errors import YaopError

logger = logging.getLogger(__name__)


class ServedModels:
    """The repository that new requests get, and those that older ones still use. Thread-safe.

    Args:
        repository: the first.
        release: called with each repository that was replaced, once nobody uses it.
    """

    def __init__(self, repository: ModelRepository, release: Callable[[ModelRepository], object]) -> None:
        self.current = repository
        self._release = release
        self._users: dict[ModelRepository, int] = {}
        self._changing = threading.Lock()

    @contextmanager
    def use(self) -> Iterator[ModelRepository]:
        """The current repository; its engines stay open until the block ends."""
        with self._changing:
            repository = self.current
            self._users[repository] = self._users.get(repository, 0) + 1
        try:
            yield repository
        finally:
            with self._changing:
                self._users[repository] -= 1
                self._release_if_unused(repository)

    def replace(self, repository: ModelRepository) -> None:
        """Let all later requests have this one."""
        with self._changing:
            old, self.current = self.current, repository
            self._release_if_unused(old)

    def _release_if_unused(self, repository: ModelRepository) -> None:
        if self._users.get(repository):
            return
        self._users.pop(repository, None)
        if repository is not self.current:
            self._release(repository)


class Reloader:
    """Loads the models that the settings name again, one time after the other."""

    def __init__(self, settings: Settings, served: ServedModels) -> None:
        self._settings = settings
        self._served = served
        self._busy = asyncio.Lock()

    async def reload(self) -> ModelRepository:
        """Load, verify, warm up and try all models, then let them answer.

        Raises:
            Problem: 409 if another reload is under way, or if any model cannot be used; the old ones keep answering.
        """
        if self._busy.locked():
            raise Problem(
                409, "reload-in-progress", "The models are being reloaded already. Try again when that is done."
            )
        async with self._busy:
            try:
                fresh = await asyncio.to_thread(_load_and_try, self._settings)
            except Exception as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                expected = isinstance(error, YaopError)  # anything else is worth a traceback
                logger.exception("reload failed", extra={"reason": reason}, exc_info=not expected)
                detail = f"{reason}. The models that were loaded before keep answering."
                raise Problem(409, "reload-failed", detail) from error
            self._served.replace(fresh)
        logger.info("models reloaded", extra={"models": {model.name: model.ref.version for model in fresh}})
        return fresh


def _load_and_try(settings: Settings) -> ModelRepository:
    repository = load_models(settings)
    try:
        for model in repository:
            model.warm_up()
            model.check()
    except BaseException:
        repository.close()
        raise
    return repository

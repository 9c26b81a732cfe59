"""Who may change a running service: whoever has the key of `YAOP_ADMIN_KEY`."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.deps import SettingsDep
from service.problems import Problem
from service.settings import PREFIX

_bearer = HTTPBearer(auto_error=False, scheme_name="adminKey", description=f"The value of `{PREFIX}ADMIN_KEY`.")


async def require_admin(
    settings: SettingsDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let the request pass only with the admin key.

    Raises:
        Problem: 403 if the service has no admin key, 401 if the request has none or another one.
    """
    key = settings.admin_key
    if key is None:
        raise Problem(
            403, "no-admin-key", f"This service has no admin key. Start it with {PREFIX}ADMIN_KEY to allow this."
        )
    given = credentials.credentials if credentials else ""
    if not hmac.compare_digest(given.encode(), key.get_secret_value().encode()):
        detail = f"Send the header `Authorization: Bearer KEY` with the key of {PREFIX}ADMIN_KEY."
        raise Problem(401, "wrong-admin-key", detail, headers={"WWW-Authenticate": 'Bearer realm="yaop"'})


AdminOnly = Depends(require_admin)

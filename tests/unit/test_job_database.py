"""What is said of a database of jobs that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.jobs.database import DatabaseError, open_database


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://yaop:hunter2@127.0.0.1:1/yaop",
        "postgresql://127.0.0.1:1/yaop?user=yaop&password=hunter2",
        "postgresql:/yaop:hunter2@",
    ],
)
def test_passwords_are_never_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="database of the jobs") as error:
        open_database(url, tmp_path)
    assert "hunter2" not in str(error.value)

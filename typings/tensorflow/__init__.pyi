# TensorFlow loads its modules lazily, so that no type can be inferred for them.
# So the package counts as untyped, and strictness stays on for everything around it.
from typing import Any

def __getattr__(name: str) -> Any: ...

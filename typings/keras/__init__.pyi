# Keras 3 declares no types; what is inferred for its ops is `None`, and for its arguments their defaults' types.
# So the package counts as untyped, and strictness stays on for everything around it.
from typing import Any

def __getattr__(name: str) -> Any: ...

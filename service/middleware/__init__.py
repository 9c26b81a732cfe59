"""Pure ASGI middleware; `service.app` stacks them, outermost first, in the order of this folder's names there."""

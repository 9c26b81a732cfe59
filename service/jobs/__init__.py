"""Videos as durable jobs: what was acknowledged is finished, whatever dies in between."""

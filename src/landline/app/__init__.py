"""The composition root: settings -> adapters -> services; start, drain, stop."""

from landline.app.server import run

__all__ = ["run"]

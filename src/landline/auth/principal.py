"""Who somebody is, once that is known."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A user, or the product's own backend.

    `expires_at`: seconds since the Unix epoch, from when on the proof is worth nothing; None where
    it was no token that said who this is.
    """

    user: str
    is_service: bool = False
    expires_at: float | None = None

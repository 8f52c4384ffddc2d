"""Who somebody is, once that is known."""

from dataclasses import dataclass
from typing import Final

# The clocks of those who make tokens and of those who check them may differ by so much. Sessions
# are looked at once a second, and have to end 5 s after their token at the latest.
LEEWAY_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Principal:
    """A user, or the product's own backend.

    `expires_at`: seconds since the Unix epoch, from when on the proof is worth nothing; None where
    it was no token that said who this is. `is_late`: that was over, within the leeway for clocks.
    """

    user: str
    is_service: bool = False
    expires_at: float | None = None
    is_late: bool = False

    @property
    def ends_at(self) -> float | None:
        """Return when a session of it ends. One that was let in late has the leeway: to end it at
        once, and let it in again, would help nobody.
        """
        if self.expires_at is None or not self.is_late:
            return self.expires_at
        return self.expires_at + LEEWAY_SECONDS

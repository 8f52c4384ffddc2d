"""A file with a token: read when the token is needed, so that one which is replaced counts."""

import os
import stat
from pathlib import Path

from landline.client import TokenUnavailable
from landline.client.credentials import TOKEN_BYTES, read_token, subject
from landline.client.errors import ClientError
from landline.protocol.identity import BadName, check_user_name
from landline.terminal.screen import harmless

_WHITE_SPACE_BYTES = 64


class TokenFile:
    """Brings the token of a file, as the function `token` of a chat.

    Also of a pipe, as a shell makes one of `<(landline token ...)`: that can be read only once, so
    its token is kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._named = f"the token file {harmless(str(path))}"
        self._kept: str | None = None

    def __call__(self) -> str:
        """Return the token that is in the file now. Raises: TokenUnavailable."""
        if self._kept is not None:
            return self._kept
        try:
            with self._path.open("rb") as file:
                content = file.read(TOKEN_BYTES + _WHITE_SPACE_BYTES)
                is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise TokenUnavailable(f"{self._named} cannot be read: {why}") from error
        try:
            token = read_token(content.decode("ascii", "replace").strip()).text
        except ClientError as error:
            # Whoever replaces it may be writing it just now.
            raise TokenUnavailable(f"{self._named} holds no token: {error}") from None
        if not is_regular:
            self._kept = token
        return token

    def subject(self) -> str | None:
        """Return whom the token names, which only the server can check; None if it is nobody.

        Raises: TokenUnavailable.
        """
        named = subject(self())
        try:
            return None if named is None else check_user_name(named)
        except BadName:
            return None

"""Every option of `landline serve`, once; and how its value is found.

Command line, environment, TOML file, `--help` and docs/configuration.md all derive from
`landline.config.settings`. The command line beats the environment, which beats the file, which
beats the default.
"""

from landline.config.loading import load
from landline.config.settings import Settings
from landline.config.values import SecretUrl

__all__ = ["SecretUrl", "Settings", "load"]

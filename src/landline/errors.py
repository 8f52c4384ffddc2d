"""The error tree.

    LandlineError
    ├── StartupError                the server cannot start: one sentence, exit code 2
    │   ├── ConfigError             an option has a value that cannot work
    │   └── UnusableDataDirectory   the data directory cannot be used as it is
    ├── Unavailable                 a dependency does not answer now; asking again later may work
    │   ├── LogUnavailable
    │   ├── StoreUnavailable
    │   ├── DirectoryUnavailable
    │   └── WebUnavailable
    │       └── BadAnswer           it does answer, with something else than was asked for
    ├── LogLost                     the log does not hold what it held: a person must decide
    └── Unstorable                  a record that can never be stored, however often it is tried

What a *client* did wrong is not in this tree: see `landline.protocol.client_frames.BadFrame`, and
`landline.protocol.records.BadRecord` for records that cannot be read.
"""


class LandlineError(Exception):
    """Root of every error that Landline raises on purpose."""


class StartupError(LandlineError):
    """The server cannot start. `str(error)` is the sentence for the operator."""


class ConfigError(StartupError):
    """An option has a value that cannot work; the sentence names option, value and remedy."""


class UnusableDataDirectory(StartupError):
    """The data directory is in use, damaged, from a newer version, or not writable."""


class Unavailable(LandlineError):
    """A dependency does not answer now. Nothing is known to be wrong with the data."""


class LogUnavailable(Unavailable):
    """The event log cannot be read or asked now."""


class StoreUnavailable(Unavailable):
    """The message store cannot be read or written now."""


class DirectoryUnavailable(Unavailable):
    """The directory cannot be asked now."""


class WebUnavailable(Unavailable):
    """What another server has over HTTP cannot be had now. `str(error)` says why, and shows no
    part of an address.
    """


class BadAnswer(WebUnavailable):
    """Another server answers over HTTP, but not with what it was asked for."""


class LogLost(LandlineError):
    """The log does not hold what it held: records are gone, or it is another log.

    Going on would skip messages silently. `str(error)` tells an operator what is missing.
    """


class Unstorable(LandlineError):
    """The data itself cannot be stored; trying again does not help. Nothing was changed."""

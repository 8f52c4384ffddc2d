"""The page docs/configuration.md, from the options. `make docs` writes it."""

from landline.config.option import Option
from landline.config.settings import CONFIG_FILE, OPTIONS, SECTIONS

_INTRODUCTION = """\
# Configuration

<!-- Written by `make docs` from src/landline/config/settings.py: change that, not this page. -->

`landline serve` needs no configuration: without any it is an embedded server on
`http://127.0.0.1:8081` that keeps its files in `./landline-data`.

Each option can be given in three places. The command line beats the environment, which beats the
file, which beats the default:

```sh
landline serve --port 9000 --ack-timeout 30s                # command line
LANDLINE_PORT=9000 LANDLINE_ACK_TIMEOUT=30s landline serve  # environment; empty means not set
landline serve --config landline.toml                       # file (or LANDLINE_CONFIG)
```

```toml
# landline.toml: the keys are the names of the options
port = 9000
ack-timeout = "30s"
log-dir = "/var/log/landline"
allowed-origins = ["https://chat.example.org"]
```

A duration is a number with its unit: `500ms`, `60s`, `2m`, `1h`. A list has commas between its
items; in the file it may be an array. Relative paths start at the directory in which the server
is started, `~` is your home. A flag is `--insecure` or `--no-insecure` on the command line and
`true` or `false` elsewhere.

No value has a control character: a carriage return at its end comes from a file with Windows line
ends. A TOML or properties file may begin with a byte-order mark. An IPv6 address with a port is
`[::1]:9092`. Kubernetes sets `LANDLINE_PORT=tcp://...` for a service called landline: that is
ignored, with a line on standard error.

A value that cannot work stops the start with exit code 2. So does an unknown key in the file, or a
`LANDLINE_` variable that is nearly the name of an option. One or two lines name the option, the
value and what to do. Passwords in URLs are never shown.
"""


def page() -> str:
    """Return the reference page in Markdown."""
    parts = [_INTRODUCTION.rstrip()]
    for section in SECTIONS:
        options = [option for option in OPTIONS.values() if option.section == section]
        parts += [f"\n## {section}\n", _HEAD, *map(_row, options)]
    parts += ["\n## The file\n", _HEAD, _row(CONFIG_FILE)]
    return "\n".join(parts) + "\n"


_HEAD = "| option | environment | default | meaning |\n|---|---|---|---|"


def _row(option: Option) -> str:
    form = f"{option.flag} {option.kind.metavar}".strip().replace("|", r"\|")
    default = option.default.replace("<", r"\<") or "none"
    doc = option.doc.replace("<", r"\<").replace("|", r"\|")
    return f"| `{form}` | `{option.variable}` | `{default}` | {doc} |"

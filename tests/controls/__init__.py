"""Each control of docs/security.md is switched off in a copy: its test has to fail."""

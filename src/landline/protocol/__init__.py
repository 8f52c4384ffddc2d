"""The wire protocol and the record formats, sans-I/O: names, limits, codes, frames, records."""

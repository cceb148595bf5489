"""One protocol, one file. Adding a protocol is one new file and one line in PROTOCOLS (see docs/architecture.md)."""

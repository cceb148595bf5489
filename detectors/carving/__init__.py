"""Carving: program blocks and files put together again from what crossed the wire."""

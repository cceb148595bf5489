"""Proof that nothing is lost: real processes under load, killed and cut off; ledgers compared. docs/reliability.md."""

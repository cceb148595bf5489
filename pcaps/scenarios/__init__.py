"""Scenarios: functions that play one story on a `Lab`. What each must show stands beside its capture, in the .toml."""

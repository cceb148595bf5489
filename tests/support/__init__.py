"""What several test packages build with."""

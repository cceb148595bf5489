"""The HTTP API for programs: sensors, sharing peers."""

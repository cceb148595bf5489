"""Bytes to events. Passive: never sends a frame. Imports nothing else of ours."""

from sensor.kernel_cache import use_kernel_cache

use_kernel_cache()

"""Places on disk, settings with their origin, atomic writes, locks."""

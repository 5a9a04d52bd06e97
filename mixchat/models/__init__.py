"""Finding and keeping model files."""

"""The house of the app's tests, for what is shown of a real conversation."""

from tests.app.conftest import make_house, model_file, settings, two_layers

__all__ = ["make_house", "model_file", "settings", "two_layers"]

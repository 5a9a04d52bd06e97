"""mixchat: mixture-of-experts models in GGUF files, on a laptop or one GPU."""

__version__ = "0.1.0"

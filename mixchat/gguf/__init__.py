"""What a GGUF file says: bytes in, frozen values out."""

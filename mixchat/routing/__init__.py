"""Knows what a model's routers chose for a text and what follows from it; refuses to know how the choices were read."""

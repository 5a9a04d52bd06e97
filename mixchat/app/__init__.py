"""Use cases: iterators of events; nothing here prints."""

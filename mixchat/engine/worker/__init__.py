"""llama.cpp, in the child process; the only place that imports `llama_cpp` and jinja2."""

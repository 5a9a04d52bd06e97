"""The command line: parse, call one use case, render, return an exit code."""

"""What a person sees: errors, progress, answers, tables and the chat; the only user of rich and prompt_toolkit."""

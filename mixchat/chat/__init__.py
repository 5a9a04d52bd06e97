"""What a conversation is: messages in, prompt pieces out; window policy and transcript."""

"""Who lives, who works, what time is it, what is newest?  One signed exchange answers (specs/heartbeats.md)."""

"""Does a secret ever leave the arena?  Real node processes tell a test what was in their arenas, and the test looks for
it everywhere else: memory, core files, logs, databases, answers (specs/secret-memory.md section 6)."""

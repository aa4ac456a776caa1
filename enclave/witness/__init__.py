"""Is this node's sealed state the newest it ever had?  Its peers remember what it forgot (specs/rollback.md)."""

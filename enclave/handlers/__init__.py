"""What does a node do for each verb?  One module per job, one function per verb: (node, connection, request, now)."""

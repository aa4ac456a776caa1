"""What would an auditor show to somebody else?  One self-contained HTML page with every verdict and why."""

"""What does the demonstration show?  One file per act; each step checks what it prints."""

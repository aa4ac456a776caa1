"""Requests that wait for people, on the gateway's side: kept, shown, decided, executed.  Nodes decide what counts."""

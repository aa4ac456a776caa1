"""What travels between a gateway and a node: one module per protocol (specs/wire.md).

A frame is a big-endian u32 length and a msgpack array of calls or answers, so that everything of
one event-loop tick travels together.  Nothing in a frame is believed because of who sent it: each
message carries what the node needs to decide for itself.
"""

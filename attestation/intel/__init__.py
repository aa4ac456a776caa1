"""Is this Intel quote genuine, and how current is the machine that made it?"""

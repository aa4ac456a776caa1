"""How does a key that existed before get into the nodes, without any of them ever having it?"""

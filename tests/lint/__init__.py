"""Do our sources keep to the rules that no type checker knows?"""

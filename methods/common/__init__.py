"""What importers of several methods share: formats of repositories that train more than one."""

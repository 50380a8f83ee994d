"""Stage ``bake``: Gaussians on a mesh to continuous maps in texture space."""

"""Built-in view priors: the head's own symmetry, pictures of anybody, and a program in an environment of its own."""

"""Built-in stages after training: baking to textures, editing them, completing the head."""

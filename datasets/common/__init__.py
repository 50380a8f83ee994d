"""What the readers of all layouts share: findings, files, images, numbers, cameras, the projected mesh."""

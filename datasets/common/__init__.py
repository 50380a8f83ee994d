"""Shared parts of the dataset readers: findings, files, images, numbers, cameras, the projected mesh."""

"""Slurm: cells as jobs of arrays, submitted through submitit."""

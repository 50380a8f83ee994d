"""Re-enactment: one subject's avatar, driven by the performance of another."""

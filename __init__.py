"""headbench: a benchmark harness for Gaussian head avatars from monocular video."""

"""Pieces that methods build from; the trainer needs none of them.

| module | what | for whom, for example |
|---|---|---|
| `losses` | scale, position, Laplacian regularisers | Gaussians on a mesh: `hinge_norm(scales, 0.6)` |
| `perceptual` | LPIPS and VGG features as loss terms | losses: `LpipsLoss("float16")(image, target)` |
| `densify` | gather, clone, split, prune | an `edit`: `accumulate(table, rendering)` |
| `placement` | where the first Gaussians sit on a mesh | a `create`: `uv_places(head, 256, "nearest")` |
| `surface` | Gaussians as attributes of places on a mesh | `OnSurface`, baking: `pose(surface, vertices, …)` |
| `encoding` | sines and cosines of positions | networks: `encode(points, octaves=6)` |
| `schedules` | rates and degrees by step | a `ParamGroup`: `log_linear(step, 1e-4, 1e-6, 30_000)` |
| `degree` | harmonics' degree that rises and is saved | avatars: `RisingDegree(3, every=1000)` |
"""

"""A method in a distribution of its own: round Gaussians pinned to random triangles of the head."""

from headbench.harness.plugins import MethodSpec, hookimpl


@hookimpl
def register_methods(register):
    register(
        MethodSpec(
            name="Blobs",
            target="headbench_blobs.avatar:Blobs",
            presets={"demo": "headbench_blobs:demo.yaml"},
            default_preset="demo",
            summary="round Gaussians on random triangles",
            licence="MIT",
        )
    )

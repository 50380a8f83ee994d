"""Every GPU kernel of ours compiles to machine code of two generations of GPUs; needs triton, and no GPU."""

import importlib
import os
from collections.abc import Iterator

import pytest

from headbench.harness.kernels import KERNELS

SIZES = {"WINDOW": 11, "ROWS": 4, "COLUMNS": 128, "SLOPES": True, "PARTS": 1024, "SIDE": 3, "STRIDE": 2, "KEEP": True}
SIZES |= {"FACES": 128, "PIXELS": 16, "CHANNELS": 64, "ROW": 7, "CONSTANTS": 5, "BLOCK": 1024}
SIZES |= {"MEASURE": True, "MESH": True, "BOUND": 0.05, "RAW": False, "GROWS": True}
SIZES |= {"WIDTH": 128, "BEYOND": 32, "BLOCKS": 512, "CORRECTED": True, "PARAMS": True, "TEMPLATE": True, "PAIR": True}
SIZES |= {"EXPRESSION": True, "OFFSET": True, "POSE": True, "LIDS": True, "SIMILARITY": True, "CHUNK": 16}
SIZES |= {"UNITS": 10.0, "DAMPING": 1e-4, "ALIGNED": True, "SHIFT": True, "RULE": 1}
SIZES |= {"MASKED": True, "OWN": False, "KIND": 2, "LIMIT": 0.6, "RATIO": 10.0, "PLANES": 2, "TAPPED": True}
SIZES |= {"DOUBLED": True, "RESIZED": True, "COUNTED": True}
SIZES |= {"STEPS": 50, "RATE": 0.01, "BETA": 0.9, "BETA_SQUARES": 0.999, "EPS": 1e-8, "STILL": 5e-4, "SCALE": 10.0}
SIZES |= {"TALL": 64, "BROAD": 128, "DEEP": 32, "PRECISION": "tf32x3", "BIASED": True}
POINTERS = {
    "around_ptr": "*i64",
    "index_ptr": "*i64",
    "work_ptr": "*i64",
    "face_ptr": "*i64",
    "moving_ptr": "*i64",
    "address_ptr": "*i64",
    "constant_ptr": "*fp64",
    "place_ptr": "*u8",
    "seen_ptr": "*u8",
    "stored_ptr": "*u8",
}
NETWORKS = ("block", "features", "lpips", "pooling", "prepare")
FLOATS = {"c1", "c2", "eps", "weight", "ratio_y", "ratio_x"}


def kernels() -> Iterator[tuple[str, str, str]]:
    """Name of each kernel, of its functions that are launched, and of the type of its features."""
    launched = {
        "activation": "activation_backward",
        "adam": "_update",
        "binding": "frames_forward frames_backward faces_forward faces_backward",
        "block": "_gradient",
        "compose": "_compose",
        "dense": "dense_forward dense_backward dense_gradient",
        "descent": "descend",
        "features": "_sums _signs _totals",
        "frames": "_forward _backward",
        "lpips": "_forward _backward",
        "offsets": "offsets_forward offsets_backward",
        "phong": "measure blend phong_forward phong_backward",
        "pooling": "_forward _backward",
        "prepare": "_forward _backward",
        "regularisers": "penalties mean_of_parts penalty_gradients",
        "skinning": "pose_forward pose_backward offset_forward vertex_forward vertex_backward correction_backward",
        "cloud": "looks_forward looks_backward move_forward move_backward",
    }
    launched["ssim"] = "_moments_of_rows _similarity _slopes_of_columns _gradient"
    launched["photometric"] = "_moments _similarity _means _slopes _gradient"
    for name in KERNELS:
        for function in launched[name].split():
            for kind in ("fp32", "fp16", "bf16") if name in NETWORKS else ("fp32",):
                yield name, function, kind


@pytest.mark.gpu
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing")
@pytest.mark.parametrize(("name", "function", "kind"), list(kernels()))
def test_a_kernel_compiles(name: str, function: str, kind: str, tmp_path, monkeypatch) -> None:
    compiler = pytest.importorskip("triton.compiler")
    backends = pytest.importorskip("triton.backends.compiler")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(importlib.import_module(f"headbench.harness.{KERNELS[name][0]}"), function)
    features = {"a_ptr", "b_ptr"} if name in ("features", "lpips") else {"in_ptr", "g_ptr", "tap_ptr"}
    features |= {"out_ptr"} if function in ("_backward", "_signs") or name in ("block", "pooling") else set()
    if name == "prepare":
        features = {"out_ptr"} if function == "_forward" else {"g_ptr"}

    def type_of(argument: str) -> str:
        if argument in SIZES:
            return "constexpr"
        if argument.endswith("_ptr"):
            return POINTERS.get(argument, f"*{kind}" if argument in features else "*fp32")
        return "fp32" if argument in FLOATS else "i32"

    signature = {argument: type_of(argument) for argument in kernel.arg_names}
    constants = {argument: SIZES[argument] for argument in kernel.arg_names if argument in SIZES}
    for generation in (80, 90):
        source = compiler.ASTSource(kernel, signature, constexprs=constants)
        assert compiler.compile(source, target=backends.GPUTarget("cuda", generation, 32)).asm["cubin"]


@pytest.mark.gpu
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing")
@pytest.mark.parametrize("columns", [3, 37, 256])
@pytest.mark.parametrize("function", ["dense_forward", "dense_backward", "dense_gradient"])
def test_products_of_layers_use_tensor_cores_and_fit_on_every_gpu(function, columns, tmp_path, monkeypatch) -> None:
    compiler = pytest.importorskip("triton.compiler")
    backends = pytest.importorskip("triton.backends.compiler")
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    module = importlib.import_module(f"headbench.harness.{KERNELS['dense'][0]}")
    tile = module.tile_of(columns, torch.float32)
    kernel = getattr(module, function)
    sizes = {**SIZES, "TALL": tile.tall, "BROAD": tile.broad, "DEEP": tile.deep}
    constants = {argument: sizes[argument] for argument in kernel.arg_names if argument in sizes}
    signature = {
        argument: "constexpr" if argument in sizes else "*fp32" if argument.endswith("_ptr") else "i32"
        for argument in kernel.arg_names
    }
    # Where addresses are multiples of 16, four numbers are read at once.
    whole = [n for n, name in enumerate(kernel.arg_names) if name not in sizes and name not in ("rows", "pieces")]
    attrs = {(n,): [["tt.divisibility", 16]] for n in whole} if columns % 16 == 0 else {}
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    for generation, instruction in ((80, "mma.sync.aligned.m16n8k8"), (90, "wgmma.mma_async.sync.aligned.m64")):
        source = compiler.ASTSource(kernel, signature, constexprs=constants, attrs=attrs)
        made = compiler.compile(source, target=backends.GPUTarget("cuda", generation, 32), options=options)
        assert instruction in made.asm["ptx"]
        assert ".tf32.tf32" in made.asm["ptx"]
        assert made.metadata.shared <= 99 * 1024

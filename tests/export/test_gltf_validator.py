"""Khronos' glTF validator accepts the GLB files, where node and its package are there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from headbench.export import format_of
from headbench.export.source import Source
from headbench.export.write import export

_SCRIPT = """
const validator = require("gltf-validator");
const bytes = require("fs").readFileSync(process.argv[1]);
validator.validateBytes(new Uint8Array(bytes)).then((report) => console.log(JSON.stringify(report)));
"""


@pytest.fixture(scope="module")
def validate():
    """validate(file) -> the validator's report."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    folders = os.environ.get("NODE_PATH", "")
    if not any((Path(folder) / "gltf-validator").is_dir() for folder in folders.split(os.pathsep) if folder):
        pytest.skip("the package gltf-validator is not in a folder of NODE_PATH: npm install gltf-validator")

    def call(path: Path) -> dict:
        done = subprocess.run([node, "-e", _SCRIPT, str(path)], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return call


def test_the_validator_finds_nothing_wrong(validate, opened, made_subject, tmp_path) -> None:
    path = tmp_path / "head.glb"
    session = opened("GaussianAvatars", sh_every=0, sh_degree=1)
    export(Source(session), format_of("glb"), "first", path, lambda: made_subject)
    found = validate(path)["issues"]["messages"]
    # It knows neither the extension nor its names of attributes, which stand in the extension's specification.
    own = "/meshes/0/primitives/0/attributes/KHR_gaussian_splatting:"
    known = [("UNSUPPORTED_EXTENSION", "/extensionsUsed"), ("MESH_PRIMITIVE_INVALID_ATTRIBUTE", own)]
    rest = [each for each in found if not any(each["code"] == c and each["pointer"].startswith(p) for c, p in known)]
    assert rest == []


def test_the_validator_would_find_damage(validate, opened, made_subject, tmp_path) -> None:
    path = tmp_path / "head.glb"
    export(Source(opened("FateAvatar")), format_of("glb"), "first", path, lambda: made_subject)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"VEC3"', b'"VEC2"', 1))
    assert validate(path)["issues"]["numErrors"] > 3

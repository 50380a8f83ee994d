"""Plays the program of the prior `external`: the frontal picture as every view, and all that can go wrong."""

import json
import subprocess
import sys
import time
from pathlib import Path

how, folder = sys.argv[1], Path(sys.argv[-1])
job = json.loads((folder / "job.json").read_text())
print("plays", how, flush=True)
if how == "fails":
    print("no weights at /nowhere", flush=True)
    sys.exit(3)
if how == "hangs":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / "child").write_text(str(child.pid))
    time.sleep(600)

from PIL import Image, ImageOps  # noqa: E402 - a program that hangs says so at once

front = Image.open(folder / job["inputs"][0]["image"]), Image.open(folder / job["inputs"][0]["mask"])
for number, view in enumerate(job["views"]):
    if how == "few" and number > 4:
        break
    image, mask = front
    if how == "other":
        image = ImageOps.invert(image)
    if how == "small":
        image = image.reduce(2)
    image.save(folder / "out" / "image" / f"{view['name']}.png")
    mask.save(folder / "out" / "mask" / f"{view['name']}.png")
    if how == "nan":
        import numpy as np

        (folder / "out" / "depth").mkdir(exist_ok=True)
        np.save(folder / "out" / "depth" / f"{view['name']}.npy", np.full((4, 4), np.nan, np.float32))
if how in ("labels", "far"):
    # The frontal crop in place of every view, and the camera that it was made with.
    label = list(job["inputs"][0]["label"])
    label[11] = float("nan") if how == "far" else label[11]
    labels = [[f"{view['name']}.png", label] for view in job["views"]]
    (folder / "out" / "cameras.json").write_text(json.dumps({"labels": labels}))
if how != "silent":
    status = "out of memory" if how == "gives up" else "done"
    (folder / "out" / "report.json").write_text(json.dumps({"status": status, "prior": job["prior"]}))

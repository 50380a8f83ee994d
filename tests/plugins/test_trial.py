"""Plugins that hang, exit, crash or print while they are imported harm no command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = "import pathlib; pathlib.Path(__file__).with_suffix('.count').open('a').write('.')\n"
GOOD = (
    "print('hello from zebra', flush=True)\n"
    "import os; os.write(1, b'native code prints\\n')\n"
    "from headbench.harness.plugins import MethodSpec, hookimpl\n"
    "@hookimpl\n"
    "def register_methods(register):\n"
    "    print('registering')\n"
    "    register(MethodSpec('Zebra', 'zebra:Zebra', {'a': 'zebra:a.yaml'}, 'a'))\n"
)
PLUGINS = {
    "zebra": GOOD,
    "hangs": "import time; time.sleep(60)\n",
    "leaves": "import os; os._exit(7)\n",
    "crashes": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n",
    "lingers": "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()\n",
    "raises": "raise SystemExit('no licence')\n",
}
LIST = (
    "import json; from headbench.harness.plugins import memory, registry; real = memory.try_import\n"
    "memory.try_import = lambda c, limit: real(c, limit if c.point.name in ('hangs', 'lingers') else 60.0)\n"
    "r = registry(); print(json.dumps([list(r.methods()), {p.where.place: p.text() for p in r.problems()}]))\n"
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with all the plugins installed as one distribution."""
    site = tmp_path / "site"
    info = site / "zoo-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[headbench]\n" + "".join(f"{name} = {name}\n" for name in PLUGINS))
    for name, code in PLUGINS.items():
        (site / f"{name}.py").write_text(COUNT + code)
    return site


def call(site: Path, *arguments: str, seconds: str = "2") -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": paths, "HEADBENCH_PLUGIN_SECONDS": seconds}
    return subprocess.run([sys.executable, "-P", *arguments], env=env, capture_output=True, text=True, timeout=120)


def tries(site: Path) -> dict[str, int]:
    return {name: len((site / f"{name}.count").read_text()) for name in PLUGINS}


@pytest.mark.tried(
    "faults in runs",
    "a plugin that hangs, exits, crashes, leaves a thread or prints when it is imported",
    "every command, with clean standard output; `bench plugins` names the plugin",
    "that plugin, until its files change",
)
@pytest.mark.slow
def test_plugins_that_do_harm_are_tried_once_in_a_child_and_left_out(site: Path) -> None:
    done = call(site, "-c", LIST)
    methods, problems = json.loads(done.stdout)
    assert "Zebra" in methods, "a good neighbour stays"
    assert "hello from zebra" in done.stderr and "registering" in done.stderr and "native code prints" in done.stderr
    assert (
        "left out: importing it did not end within 2 s (HEADBENCH_PLUGIN_SECONDS=60 waits longer)" in problems["hangs"]
    )
    assert "ends the process with exit code 7" in problems["leaves"]
    assert "ends the process by SIGSEGV" in problems["crashes"]
    assert "keeps the process from ending within 2 s" in problems["lingers"]
    assert "failed with SystemExit: no licence" in problems["raises"]
    assert all("installed with zoo 1.2" in text for text in problems.values()) and len(problems) == 5
    first = tries(site)
    # zebra and raises are imported for good, too.
    assert first == {"zebra": 2, "hangs": 1, "leaves": 1, "crashes": 1, "lingers": 1, "raises": 2}

    again = json.loads(call(site, "-c", LIST).stdout)
    assert again == [methods, problems]
    assert tries(site) == first | {"zebra": 3, "raises": 3}, "what is remembered costs no trial"

    (site / "leaves.py").write_text("# mended\n")
    _, left = json.loads(call(site, "-c", LIST).stdout)
    assert set(left) == {"hangs", "crashes", "lingers", "raises"}

    (site / "hangs.count").unlink()
    checked = call(site, "-c", "from headbench.harness.cli.main import main; main()", "plugins", "--check")
    assert checked.returncode == 2 and tries(site)["hangs"] == 1, "a check tries again"
    assert "hangs: left out" in checked.stderr and "hello" not in checked.stdout


@pytest.mark.slow
def test_what_cannot_be_remembered_is_tried_each_time_and_breaks_nothing(site: Path, tmp_path: Path) -> None:
    for name in ("hangs", "lingers", "leaves"):
        (site / f"{name}.py").write_text(COUNT)
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        code = f"import os; os.environ['HEADBENCH_HOME'] = {str(home)!r}\n" + LIST
        methods, problems = json.loads(call(site, "-c", code, seconds="60").stdout)
        assert "Zebra" in methods and set(problems) == {"crashes", "raises"}
    assert tries(site)["crashes"] == 2


READERS = {
    "sound": "from headbench.harness.plugins import DatasetReader\nclass Reader(DatasetReader):\n"
    "    def subjects(self, root): return {}\n    def read(self, folder, options): ...\n"
    "    def check(self, folder, options): return []\n",
    "faulty": "raise ImportError('no such library')\n",
    "crashing": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n",
    "leaving": "import os; os._exit(7)\n",
}


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs",
    "a plugin whose class ends the process when it is loaded",
    "every command; one that needs the class says so in a sentence",
    "that class, until its files change",
)
def test_a_class_that_ends_the_process_is_a_sentence(tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "farm-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: farm\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headbench]\nfarm = farm\n")
    (site / "farm").mkdir()
    specs = "".join(f"    register(DatasetSpec({name!r}, 'farm.{name}:Reader'))\n" for name in READERS)
    head = "from headbench.harness.plugins import DatasetSpec, hookimpl\n@hookimpl\ndef register_datasets(register):\n"
    (site / "farm" / "__init__.py").write_text(head + specs)
    for name, code in READERS.items():
        (site / "farm" / f"{name}.py").write_text(COUNT + code)
    code = (
        "import json\nfrom headbench.harness.errors import PluginError\n"
        "from headbench.harness.plugins import registry\nfound = {}\n"
        f"for name in {list(READERS)}:\n"
        "    try:\n        found[name] = type(registry().load_dataset(name)).__name__\n"
        "    except PluginError as error:\n        found[name] = str(error)\n"
        "print(json.dumps(found))\n"
    )
    done = call(site, "-c", code, seconds="60")
    told = json.loads(done.stdout)
    assert told["sound"] == "Reader" and "failed with ImportError: no such library" in told["faulty"]
    words = "farm: dataset crashing: loading farm.crashing:Reader ends the process by SIGSEGV"
    assert told["crashing"] == f"{words}\n  help: bench plugins --check"
    assert "loading farm.leaving:Reader ends the process with exit code 7" in told["leaving"]
    main = "from headbench.harness.cli.main import main; main()"
    checked = call(site, "-c", main, "data", "check", "crashing", "--data-root", str(tmp_path), seconds="60")
    assert checked.returncode == 1 and "ends the process by SIGSEGV" in checked.stderr and checked.stdout == ""
    listed = call(site, "-c", main, "list", "datasets", seconds="60")
    assert listed.returncode == 0 and set(READERS) <= set(listed.stdout.split())
    counts = {name: len((site / "farm" / f"{name}.count").read_text()) for name in READERS}
    assert counts == {"sound": 2, "faulty": 2, "crashing": 1, "leaving": 1}, "what is remembered costs no trial"


def test_standard_output_is_back_after_blocks_in_blocks_and_threads(capfd: pytest.CaptureFixture[str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from headbench.harness.plugins.aside import aside

    def work(number: int) -> None:
        with aside(), aside():
            print(f"aside {number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(20)))
    print("back")
    os.write(1, b"all of it\n")
    out, err = capfd.readouterr()
    assert out.split("\n") == ["back", "all of it", ""] and err.count("aside") == 20

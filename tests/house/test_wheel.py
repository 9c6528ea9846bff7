"""The wheel is whole: installed elsewhere, it finds its schemas, templates and model."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
from pathlib import Path

import typedllm
from typedllm import schema
from typedllm._resources import folder

package = Path(typedllm.__file__).parent
assert package.is_relative_to(sys.prefix), package
assert schema("judge/pairwise").schema["type"] == "object"
assert (folder("templates") / "instructions" / "typed.j2").read_text()
assert folder("templates").is_relative_to(package)
assert (package / "tiny" / "model" / "model.safetensors").stat().st_size > 1_000_000
value = typedllm.LLM().call("I am 25 years old.", {"age": "int"})
assert list(value) == ["age"] and isinstance(value["age"], int), value
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(out), "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("typedllm-*.whl"))


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"typedllm"}
    inside = {name for name in names if name.startswith("typedllm/")}
    assert "typedllm/py.typed" in inside
    for kind in ("schemas", "templates"):
        files = {
            path.relative_to(ROOT).as_posix() for path in (ROOT / kind).rglob("*") if path.is_file()
        }
        assert {f"typedllm/_data/{name}" for name in files} <= inside


def test_it_works_when_installed_elsewhere(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = home / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True)
    # The dependencies come from here; this package does not, as .pth files are not chained.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    command = [str(python), "-I", "-c", SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

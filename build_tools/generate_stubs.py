"""Make the Python code of the service's API from its proto file.

python build_tools/generate_stubs.py           write surrogate_fmu/service/v1/
python build_tools/generate_stubs.py --check   write nothing; exit 1 and name the files that differ

The compiler is that of grpcio-tools and the type stubs are those of mypy-protobuf, in the versions of constraints.txt.
"""

import argparse
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO_FOLDER = ROOT / "proto"
PROTO = "surrogate_fmu/v1/surrogate.proto"
TARGET = ROOT / "surrogate_fmu" / "service" / "v1"
NAMES = ("surrogate_pb2.py", "surrogate_pb2.pyi", "surrogate_pb2_grpc.py", "surrogate_pb2_grpc.pyi")


def generate() -> dict[str, bytes]:
    """The generated files by name."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            "protoc",
            f"-I{PROTO_FOLDER}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--plugin=protoc-gen-mypy={_find_plugin('protoc-gen-mypy')}",
            f"--plugin=protoc-gen-mypy_grpc={_find_plugin('protoc-gen-mypy_grpc')}",
            *(f"--{kind}_out={folder}" for kind in ("python", "grpc_python")),
            *(f"--{kind}_out=quiet:{folder}" for kind in ("mypy", "mypy_grpc")),
            PROTO,
        ]
        if protoc.main(arguments) != 0:
            sys.exit(f"protoc refused {PROTO}; its message is above")
        made = Path(folder, PROTO).parent
        return {name: _inside_package((made / name).read_text()).encode() for name in NAMES}


def _find_plugin(name: str) -> str:
    path = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if path is None:
        sys.exit(f"{name} is not installed; run: pip install mypy-protobuf")
    return path


def _inside_package(text: str) -> str:
    """Protoc imports by the path of the proto file; the code lives in `surrogate_fmu.service.v1`."""
    return text.replace("from surrogate_fmu.v1 import", "from surrogate_fmu.service.v1 import")


def main() -> int:
    """Write or compare; the exit code."""
    parser = argparse.ArgumentParser(description="Make the Python code of the service's API from its proto file.")
    parser.add_argument("--check", action="store_true", help="compare with what is there, write nothing")
    check = parser.parse_args().check
    drifted = [name for name, content in generate().items() if _differs(TARGET / name, content, write=not check)]
    for name in drifted:
        print(f"{(TARGET / name).relative_to(ROOT)} {'differs from the proto file' if check else 'written'}")
    if check and drifted:
        print("run: python build_tools/generate_stubs.py", file=sys.stderr)
        return 1
    return 0


def _differs(path: Path, content: bytes, *, write: bool) -> bool:
    differs = not path.is_file() or path.read_bytes() != content
    if differs and write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return differs


if __name__ == "__main__":
    sys.exit(main())

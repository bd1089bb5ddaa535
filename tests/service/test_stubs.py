"""The proto file and the code made from it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "proto" / "surrogate_fmu" / "v1" / "surrogate.proto"
DECLARATION = re.compile(r"^\s*((service|message|enum|rpc)\s+\w+|(repeated |optional |map<.*> )?[\w.<>, ]+ = \d+;)")


def test_generated_code_is_that_of_the_proto_file():
    pytest.importorskip("grpc_tools")
    command = [sys.executable, str(ROOT / "build_tools" / "generate_stubs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_in_the_proto_file_is_commented():
    lines = PROTO.read_text().splitlines()
    declared = [number for number, line in enumerate(lines) if DECLARATION.match(line)]
    assert len(declared) > 80
    bare = [lines[number].strip() for number in declared if not lines[number - 1].strip().startswith("//")]
    assert not bare

"""The metrics of a server process, as its flags open and protect them."""

from __future__ import annotations

import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from dorian_server.cli.keys import main as keys_command
from tests.certificates import Authority
from tests.e2e.server_process import ServerProcess
from tests.ports import free_port

SECONDS = 30


def test_metrics_have_tls_and_key_where_calls_have(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    authority, keys, port = Authority("one"), tmp_path / "keys.json", free_port()
    certificate, key = authority.issue().write(tmp_path)
    added = CliRunner().invoke(keys_command, ["add", str(keys), "--id", "prometheus", "--scope", "metrics"])
    flags = ("--tls-certificate", certificate, "--tls-key", key, "--api-keys", keys, "--metrics-port", port)
    server = serve(*map(str, flags))
    context = ssl.create_default_context(cadata=authority.pem.decode())
    request = urllib.request.Request(f"https://127.0.0.1:{port}/metrics")
    with pytest.raises(urllib.error.HTTPError, match="401") as caught:
        urllib.request.urlopen(request, timeout=SECONDS, context=context)
    caught.value.close()
    request.add_header("Authorization", f"Bearer {added.output.strip()}")
    with urllib.request.urlopen(request, timeout=SECONDS, context=context) as answer:
        text = answer.read().decode()
    assert 'dorian_refused_total{reason="API_KEY_MISSING"} 1.0' in text
    with socket.create_connection(("127.0.0.1", port)):  # and says nothing
        begin = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - begin < 5


def test_metrics_are_for_this_machine_unless_told_otherwise(serve: Callable[..., ServerProcess]) -> None:
    port = free_port()
    serve("--metrics-port", str(port))
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]

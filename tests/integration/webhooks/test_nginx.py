"""deploy/nginx.conf: nginx reads it, and sends bulk traffic, urgent traffic and strangers where docs/tls.md says."""

import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.waiting import free_port, wait_until

CONF = Path(__file__).parents[3] / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")

# CI's script installs it where it may (.ci/run): there it must not be missing.
INSTALLED = os.environ.get("CI") and os.geteuid() == 0
MISSING = NGINX is None or shutil.which("openssl") is None
pytestmark = pytest.mark.skipif(MISSING and not INSTALLED, reason="no nginx or no openssl here")


@contextmanager
def pool(name: str) -> Iterator[int]:
    """Run a receiver that answers with its pool's name and the address that it was told."""

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = f"{name} {self.headers['X-Forwarded-For']}".encode()
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[str]:
    """Run nginx with the configuration as it is, but for ports, certificates and files."""
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=events.example.com",
    ]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    with pool("urgent") as urgent, pool("bulk") as bulk:
        port = free_port()
        text = CONF.read_text()
        for before, after in (
            (r"listen 443", f"listen 127.0.0.1:{port}"),
            (r"listen 80;", f"listen 127.0.0.1:{free_port()};"),
            (r"\n *listen \[::\]:\S+( ssl)?;", ""),
            (r"/etc/ssl/tiercel/fullchain.pem", str(certificate)),
            (r"/etc/ssl/tiercel/privkey.pem", str(key)),
            (r"/run/tiercel-nginx.pid", str(tmp_path / "pid")),
            (r"127\.0\.0\.1:8000", f"127.0.0.1:{urgent}"),
            (r"127\.0\.0\.1:8001", f"127.0.0.1:{bulk}"),
        ):
            text, count = re.subn(before, after, text)
            assert count, before
        temporary = [
            f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ]
        conf = tmp_path / "nginx.conf"
        conf.write_text(f"daemon off;\n{text.replace('http {', 'http {' + ' '.join(temporary), 1)}")
        assert NGINX is not None
        command = [NGINX, "-p", str(tmp_path), "-e", "stderr", "-c", str(conf)]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False, timeout=30)
        assert tested.returncode == 0, tested.stderr
        assert "warn" not in tested.stderr
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        url = f"https://127.0.0.1:{port}"
        try:
            wait_until(lambda: _answers(url))
            yield url
        finally:
            running.terminate()
            running.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        return _get(f"{url}/livez").status_code == 200
    except requests.ConnectionError:
        return False


def _get(url: str, method: str = "GET", **headers: str) -> requests.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, url, headers=sent, verify=False, timeout=10)  # noqa: S501  # made a moment ago


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_bulk_sources_have_receivers_of_their_own_and_nobody_names_an_address(proxy: str) -> None:
    for path, pool_name in {
        "/webhooks/shop": "urgent",
        "/webhooks/imports": "bulk",
        "/webhooks/logs": "bulk",
        "/webhooks/logs2": "urgent",
        "/v1/events": "urgent",
        "/docs/problems": "urgent",
    }.items():
        answer = _get(proxy + path, "POST" if "webhooks" in path else "GET", X_Forwarded_For="203.0.113.7")
        assert answer.text == f"{pool_name} 127.0.0.1", path
    assert "max-age" in _get(f"{proxy}/livez").headers["Strict-Transport-Security"]
    assert _get(f"{proxy}/anything").status_code == 404
    assert not re.search(r"nginx/\d", str(_get(f"{proxy}/anything").headers))

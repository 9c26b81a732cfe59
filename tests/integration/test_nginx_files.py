"""The configuration of nginx: in deploy/nginx, and in the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import uvicorn
import yaml
from pydantic import ByteSize, TypeAdapter

from service.settings import load_settings
from tests.nginx import CONFIGURATION, complaints_about, find_nginx, write_configuration
from tests.server_process import ROOT

needs_nginx = pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")


def values_of(file: str, directive: str) -> list[str]:
    return re.findall(rf"^ *{directive} ([^;]*);", (CONFIGURATION / file).read_text(), re.MULTILINE)


@needs_nginx
def test_nginx_takes_the_files_of_the_scale_profile(tmp_path: Path) -> None:
    write_configuration(tmp_path, 8080, [8001, 8002])
    assert complaints_about(tmp_path / "nginx.conf") == ""


@needs_nginx
def test_nginx_takes_what_the_docs_show(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "stream-protocol.md").read_text(), re.DOTALL)
    here = shown.replace("yaop.internal", "127.0.0.1").replace("server {", "server { listen 127.0.0.1:8080;")
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid; events {{}} http {{ access_log off; {here} }}")
    assert complaints_about(file) == ""


def test_what_nginx_refuses_by_size_the_service_would_have_refused_too() -> None:
    settings = load_settings()
    limits = [
        TypeAdapter(ByteSize).validate_python(f"{value.upper()}iB")
        for value in values_of("yaop.conf", "client_max_body_size")
        if value != "0"
    ]
    assert limits
    assert all(limit > settings.max_body_bytes for limit in limits)


def test_nginx_waits_longer_than_the_service_may_take() -> None:
    waits = [float(value.removesuffix("s")) for value in values_of("yaop.conf", "proxy_read_timeout")]
    assert min(waits) > load_settings().deadline


def test_nginx_closes_idle_connections_before_the_service_does() -> None:
    (idle,) = values_of("upstream.conf", "keepalive_timeout")
    assert float(idle.removesuffix("s")) < uvicorn.Config("").timeout_keep_alive


def test_nginx_looks_for_replicas_where_compose_has_them() -> None:
    (server,) = values_of("upstream.conf", "server")
    name, port = server.split()[0].split(":")
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert name in services
    assert f"127.0.0.1:{port}/" in " ".join(services[name]["healthcheck"]["test"])

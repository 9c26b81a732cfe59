"""docker-compose.yml: what is started, what it may do, who reaches whom, and who shares which folder."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from service.runtime import DRAIN_SECONDS
from service.settings import PREFIX, Settings, load_settings
from tests.server_process import ROOT

COMPOSE = Path(sys.executable).with_name("docker-compose")
FILES = ("docker-compose.yml",)
GPU_FILES = (*FILES, "deploy/compose.gpu.yml")
PROFILES = {
    (): {"serve"},
    ("scale",): {"serve", "balancer", "replica", "worker", "postgres", "password-is-set"},
    ("observe",): {"serve", "prometheus", "grafana"},
    ("train",): {"serve", "trainer", "tensorboard"},
}
ALL = ("scale", "observe", "train")
OURS = {
    "serve": "Dockerfile.serve",
    "replica": "Dockerfile.serve",
    "worker": "Dockerfile.serve",
    "trainer": "Dockerfile.train",
    "tensorboard": "Dockerfile.train",
}
BUILT = {"serve", "trainer"}
ENDS = {"trainer", "password-is-set"}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
DECIDED = {"host", "port", "data_dir", "models_dir", "log_format", "database_url", "artifacts_url", "worker_port"}


@functools.cache
def config(files: tuple[str, ...] = FILES, profiles: tuple[str, ...] = ALL, **env: str) -> dict[str, Any]:
    """The whole configuration as Compose itself understands it, with `env` and nothing else set."""
    command = [str(COMPOSE), "--env-file", os.devnull, *_options(files, profiles), "config", "--format", "json"]
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **env}
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def services(files: tuple[str, ...] = FILES, **env: str) -> dict[str, dict[str, Any]]:
    """Those of all profiles."""
    return config(files, ALL, **env)["services"]


def mounts(name: str) -> dict[str, dict[str, Any]]:
    """What a service sees where."""
    return {mount["target"]: mount for mount in services()[name].get("volumes", [])}


def _options(files: tuple[str, ...], profiles: tuple[str, ...]) -> list[str]:
    return [*(f"--file={file}" for file in files), *(f"--profile={profile}" for profile in profiles)]


SERVICES = (
    "serve", "balancer", "replica", "worker", "postgres", "password-is-set", "prometheus", "grafana", "trainer",
    "tensorboard",
)  # fmt: skip


@pytest.mark.parametrize("files", [FILES, GPU_FILES], ids=["cpu", "gpu"])
@pytest.mark.parametrize("profiles", PROFILES, ids=lambda profiles: "+".join(profiles) or "none")
def test_a_profile_starts_its_services_and_no_others(profiles: tuple[str, ...], files: tuple[str, ...]) -> None:
    assert set(config(files, profiles)["services"]) == PROFILES[profiles]


def test_the_list_of_this_test_is_whole() -> None:
    assert set(services()) == set(SERVICES)


def test_all_profiles_can_be_named_at_once() -> None:
    assert set(config(FILES, ("*",))["services"]) == set(SERVICES)


@pytest.mark.parametrize("files", [FILES, GPU_FILES], ids=["cpu", "gpu"])
def test_the_older_docker_compose_takes_the_files_too(files: tuple[str, ...]) -> None:
    other = next(
        (path for path in ("/usr/bin/docker-compose", shutil.which("docker-compose")) if _is_version_1(path)), None
    )
    if other is None:
        pytest.skip("no docker-compose 1.29 on this machine")
    done = subprocess.run(
        [other, *_options(files, ALL), "config", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_to_one_version(name: str) -> None:
    for files, suffix in ((FILES, ""), (GPU_FILES, "-gpu")):
        service = services(files)[name]
        tag = service["image"].rpartition(":")[2]
        if name in OURS:
            assert tag == VERSION + suffix
        else:
            assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?(-\w+)?", tag)


@pytest.mark.parametrize("files", [FILES, GPU_FILES], ids=["cpu", "gpu"])
def test_an_image_of_ours_is_built_by_one_service_and_pulled_by_none(files: tuple[str, ...]) -> None:
    built = {name: service["image"] for name, service in services(files).items() if "build" in service}
    assert set(built) == BUILT
    assert len(set(built.values())) == len(built)  # two builds of one tag at a time can fail
    for name, dockerfile in OURS.items():
        service = services(files)[name]
        assert service["image"] in built.values()
        if name in BUILT:
            assert service["build"]["context"] == str(ROOT)
            assert service["build"]["dockerfile"] == dockerfile and (ROOT / dockerfile).is_file()
        else:
            assert service["pull_policy"] == "never"


@pytest.mark.parametrize("name", SERVICES)
def test_a_port_is_published_on_this_machine_only(name: str) -> None:
    ports = services()[name].get("ports", [])
    assert all(port["host_ip"] == "127.0.0.1" for port in ports)
    assert services()[name].get("network_mode", "none") == "none"


def test_ports_are_the_promised_ones_and_can_be_moved() -> None:
    published = {name: int(port["published"]) for name in SERVICES for port in services()[name].get("ports", [])}
    assert published == {"serve": 8000, "balancer": 8080, "prometheus": 9090, "grafana": 3000, "tensorboard": 6006}
    assert services(YAOP_PUBLISH_PORT="8123")["serve"]["ports"][0]["published"] == "8123"


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_rights_that_it_does_not_need(name: str) -> None:
    for files in (FILES, GPU_FILES):
        service = services(files)[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & set(service)
        assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
        assert service["pids_limit"] > 0
        assert ("mem_limit" in service) != (name == "trainer")  # training takes what there is
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_is_root(name: str) -> None:
    user = services()[name]["user"].partition(":")[0]
    assert user.isdigit() and int(user) > 0
    if name in OURS:
        dockerfile = (ROOT / OURS[name]).read_text(encoding="utf-8")
        assert f"USER {services()[name]['user']}" in dockerfile


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_has_a_default(name: str) -> None:
    environment = services()[name].get("environment", {})
    for key, value in environment.items():
        if re.search("PASSWORD|SECRET|TOKEN|KEY", key):
            assert not value, key
        if "_URL" in key and value and "@" in value:
            assert re.search(r"//\w+:@", value), key  # with that one, Postgres refuses to start


def test_a_password_reaches_postgres_and_those_that_use_it() -> None:
    given = services(YAOP_POSTGRES_PASSWORD="f00d")
    assert given["postgres"]["environment"]["POSTGRES_PASSWORD"] == "f00d"
    for name in ("replica", "worker"):
        assert given[name]["environment"]["YAOP_DATABASE_URL"] == "postgresql://yaop:f00d@postgres:5432/yaop"


def test_postgres_waits_for_a_password_and_an_error_says_that_there_is_none() -> None:
    waits = services()["postgres"]["depends_on"]["password-is-set"]
    assert waits["condition"] == "service_completed_successfully"
    assert _password_check("f00d") == (0, "")
    code, error = _password_check("")
    assert code == 1
    assert re.fullmatch(r"YAOP_POSTGRES_PASSWORD is not set.*\n", error)


def test_grafana_has_no_administrator() -> None:
    environment = services()["grafana"]["environment"]
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_what_the_trainer_promotes_is_what_is_served() -> None:
    assert mounts("trainer")["/models"]["source"] == "models"
    assert not mounts("trainer")["/models"].get("read_only")
    for name in ("serve", "replica", "worker"):
        assert (mounts(name)["/models"]["source"], mounts(name)["/models"]["read_only"]) == ("models", True)
    assert mounts("tensorboard")["/runs"]["source"] == mounts("trainer")["/runs"]["source"] == "runs"


def test_replicas_and_workers_share_their_jobs_and_serve_has_its_own() -> None:
    replica, worker = services()["replica"], services()["worker"]
    for name in ("YAOP_DATABASE_URL", "YAOP_ARTIFACTS_URL"):
        assert replica["environment"][name] == worker["environment"][name]
        assert not services()["serve"]["environment"].get(name)
    assert worker["environment"]["YAOP_ARTIFACTS_URL"].startswith("/data/")
    assert mounts("replica")["/data"]["source"] == mounts("worker")["/data"]["source"]
    # Each deletes files of jobs that its own database does not know.
    assert mounts("serve")["/data"]["source"] != mounts("replica")["/data"]["source"]
    assert replica["environment"]["YAOP_JOB_CONCURRENCY"] == "0"
    assert [service["deploy"]["replicas"] for service in (replica, worker)] == [2, 2]


@pytest.mark.parametrize("name", SERVICES)
def test_a_file_that_is_mounted_is_there(name: str) -> None:
    for mount in mounts(name).values():
        if mount["type"] == "bind":
            assert Path(mount["source"]).exists()
            assert mount["read_only"] is True


def test_a_volume_is_used_and_declared() -> None:
    used = {mount["source"] for name in SERVICES for mount in mounts(name).values() if mount["type"] == "volume"}
    assert used == set(config()["volumes"])


def test_the_balancer_has_all_files_that_nginx_includes() -> None:
    for file in (ROOT / "deploy" / "nginx").glob("*.conf"):
        for included in re.findall(r"^\s*include\s+(\S+);", file.read_text(encoding="utf-8"), re.MULTILINE):
            assert f"/etc/nginx/{included}" in mounts("balancer")


def test_only_replicas_and_workers_reach_the_database() -> None:
    networks = {name: set(services()[name].get("networks", {})) for name in SERVICES}
    assert networks["postgres"] == {"jobs"}
    assert {name for name in SERVICES if "jobs" in networks[name]} == {"postgres", "replica", "worker"}
    assert config()["networks"]["jobs"]["internal"] is True
    assert config()["networks"]["inside"]["internal"] is True


def test_replicas_believe_the_balancer_and_nobody_else_reaches_them() -> None:
    replica = services()["replica"]
    assert replica["environment"]["FORWARDED_ALLOW_IPS"] == "*"
    assert not replica.get("ports")
    assert all(config()["networks"][name]["internal"] for name in replica["networks"])
    nginx = (ROOT / "deploy" / "nginx" / "yaop.conf").read_text(encoding="utf-8")
    # A block with a header of its own inherits none, so each has all of them; and none passes on what a client says.
    told = re.findall(r"proxy_set_header X-Forwarded-For ([^;]+);", nginx)
    assert set(told) == {"$remote_addr"}
    assert len(told) == len(re.findall(r"proxy_set_header Host ", nginx))


def test_what_publishes_a_port_is_in_a_network_from_which_that_works() -> None:
    for name in SERVICES:
        if services()[name].get("ports"):
            assert "default" in services()[name]["networks"]


@pytest.mark.parametrize("pair", [("balancer", "replica"), ("prometheus", "worker"), ("prometheus", "replica")])
def test_a_name_has_one_address_for_each_container(pair: tuple[str, str]) -> None:
    first, second = (set(services()[name]["networks"]) for name in pair)
    assert len(first & second) == 1


@pytest.mark.parametrize("name", ["serve", "replica", "worker"])
def test_every_setting_of_the_service_is_decided_or_passed_on(name: str) -> None:
    settings = {key.removeprefix(PREFIX).lower() for key in services()[name]["environment"] if key.startswith(PREFIX)}
    assert settings - set(Settings.model_fields) == set()
    assert set(Settings.model_fields) - settings - DECIDED == set()


def test_settings_that_are_passed_on_reach_the_service_and_others_keep_their_default() -> None:
    environment = services(YAOP_QUEUE_SIZE="9")["serve"]["environment"]
    assert environment["YAOP_QUEUE_SIZE"] == "9"
    assert environment["YAOP_DEADLINE"] is None  # not in the container at all


@pytest.mark.parametrize("name", OURS)
def test_a_variable_that_is_passed_on_is_not_one_of_the_image(name: str) -> None:
    dockerfile = (ROOT / OURS[name]).read_text(encoding="utf-8")
    of_image = set(re.findall(r"\b([A-Z][A-Z0-9_]+)=", dockerfile))
    passed = {key for key, value in services()[name].get("environment", {}).items() if value is None}
    assert passed & of_image == set()  # unset here, it would be taken from the container


@pytest.mark.parametrize("name", ["serve", "replica", "worker"])
def test_a_container_gets_the_time_to_answer_and_to_let_go_of_what_is_under_way(name: str) -> None:
    requests = videos = Settings.model_fields["shutdown_timeout"].default
    assert _grace_seconds(name) > DRAIN_SECONDS + requests + videos


def test_the_balancer_gets_the_time_that_nginx_takes_to_end() -> None:
    nginx = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    (shutdown,) = re.findall(r"^worker_shutdown_timeout (\d+)s;", nginx, re.MULTILINE)
    assert _grace_seconds("balancer") > int(shutdown)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_whether_it_is_well(name: str) -> None:
    service = services()[name]
    assert ("healthcheck" in service) != (name in ENDS)
    assert service["restart"] == ("no" if name in ENDS else "unless-stopped")


def test_a_worker_is_asked_where_it_listens() -> None:
    worker = services()["worker"]
    assert worker["command"] == ["worker"]
    assert (
        worker["healthcheck"]["test"][-1] == f"http://127.0.0.1:{worker['environment']['YAOP_WORKER_PORT']}/health/live"
    )


@pytest.mark.parametrize("name", ["serve", "replica", "worker", "trainer"])
def test_the_gpu_file_gives_a_gpu_and_the_images_for_it(name: str) -> None:
    service = services(GPU_FILES)[name]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert name not in BUILT or set(service["build"]["args"].values()) == {"gpu"}
    assert not services()[name].get("deploy", {}).get("resources")
    kept = {"command", "user", "networks", "volumes", "healthcheck", "read_only"} & set(service)
    assert {key: service[key] for key in kept} == {key: services()[name][key] for key in kept}


def test_gpus_of_the_trainer_have_room_to_pass_on_what_they_computed() -> None:
    assert int(services(GPU_FILES)["trainer"]["shm_size"]) == 2 * 1024**3  # Docker gives 64 MB
    assert "shm_size" not in services()["trainer"]


def test_the_gpu_file_leaves_the_number_of_replicas() -> None:
    assert services(GPU_FILES)["replica"]["deploy"]["replicas"] == 2


def test_limits_of_the_balancer_are_told_of_beside_the_settings_that_they_bound() -> None:
    nginx = (ROOT / "deploy" / "nginx" / "yaop.conf").read_text(encoding="utf-8")
    (pictures,) = re.findall(r"limit_conn pictures (\d+);", nginx)
    queue = Settings.model_fields["queue_size"].default
    assert int(pictures) == services()["replica"]["deploy"]["replicas"] * queue
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    told = example.partition("#YAOP_SCALE_REPLICAS=")[0].rpartition("\n\n")[2]
    assert f"has {pictures} requests" in told and f"({queue})" in told
    told = example.partition("#YAOP_MAX_BODY_BYTES=")[0]
    assert "proxy_read_timeout" in told and "client_max_body_size" in told
    for limit in ("client_max_body_size 32m;", "proxy_read_timeout 60s;"):
        assert limit in nginx


def test_every_variable_is_explained_in_the_example_and_none_is_set_there() -> None:
    text = "".join((ROOT / file).read_text(encoding="utf-8") for file in GPU_FILES)
    code = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    used = set(re.findall(r"\$\{(\w+)", code)) | set(re.findall(r"^ +(YAOP_\w+):$", code, re.MULTILINE))
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert {line[1:].partition("=")[0] for line in lines if re.match(r"#\w+=", line)} == used
    assert all(line.startswith("#") for line in lines if line)


def test_the_values_in_the_example_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # away from the .env of whoever works here
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    example = dict(line[1:].split("=", 1) for line in lines if re.match(r"#\w+=", line))
    names = {key: key.removeprefix(PREFIX).lower() for key in example}
    given = {names[key]: value for key, value in example.items() if names[key] in Settings.model_fields and value}
    given.pop("workers")  # as many as there are cores
    settings, defaults = load_settings(**given), load_settings()
    assert len(given) > 25
    assert {name: getattr(settings, name) for name in given} == {name: getattr(defaults, name) for name in given}
    rendered = services(
        GPU_FILES, **{key: value for key, value in example.items() if names[key] not in Settings.model_fields}
    )
    assert _without_memory(rendered) == _without_memory(services(GPU_FILES, **_of_trainer(example)))


def _password_check(password: str) -> tuple[int, str]:
    """Exit code and standard error of what the container runs."""
    service = services(YAOP_POSTGRES_PASSWORD=password)["password-is-set"]
    # In what Compose prints, $$ stands for the $ that the container gets.
    command = [part.replace("$$", "$") for part in (*service["entrypoint"], *service["command"])]
    env = {"PATH": os.environ["PATH"], **service["environment"]}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def _grace_seconds(name: str) -> int:
    grace = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", services()[name]["stop_grace_period"])
    assert grace
    minutes, seconds = (int(part or 0) for part in grace.groups())
    return minutes * 60 + seconds


def _of_trainer(example: dict[str, str]) -> dict[str, str]:
    return {key: example[key] for key in ("YAOP_TRAIN_MOVENET", "YAOP_TRAIN_COCO_URL")}


def _without_memory(rendered: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The GPU file has a limit of its own."""
    return {name: {key: value for key, value in each.items() if key != "mem_limit"} for name, each in rendered.items()}


def _is_version_1(path: str | None) -> bool:
    if path is None or not Path(path).exists():
        return False
    done = subprocess.run([path, "version", "--short"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.startswith("1.")

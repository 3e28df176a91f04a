"""The deployment files, checked without a Docker engine: by Compose itself, by the parsers of what they configure."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Set
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import crossplane
import promql_parser
import pytest
import yaml
from typer.testing import CliRunner

from aff_shared.bundles.bundle import load_manifest
from aff_shared.bundles.default_bundle import DEFAULT_BUNDLE
from aff_shared.store.settings import StoreSettings
from aff_shared.web import serving
from aff_shared.web.settings import AccessSettings, ObserveSettings
from aff_toolkit.cli import serve as serve_command
from aff_toolkit.cli.main import app
from aff_toolkit.local import run_services as local
from gallery_indexer.settings import IndexerSettings
from query_api.settings import QuerySettings
from tests.support.photos_bundle import PHOTOS_BUNDLE, needs_photos_bundle

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "compose"
DOCKERFILES = [ROOT / place / "Dockerfile" for place in ("services/gallery_indexer", "services/query_api", "toolkit")]
PAIR_DOCKERFILE = DOCKERFILES[2]
PROFILES = ("gpu", "cluster", "observability")
PAIR = {"keys", "qdrant", "gallery_indexer", "query_api"}
OF_PROFILE = {
    "gpu": {"gallery_indexer_gpu"},
    "cluster": {"qdrant-2", "qdrant-3", "query_api_2", "proxy"},
    "observability": {"prometheus", "grafana", "collector", "jaeger"},
}
OURS = {"keys", "gallery_indexer", "gallery_indexer_gpu", "query_api", "query_api_2"}
QDRANTS = {"qdrant", "qdrant-2", "qdrant-3"}
INDEXERS = ("gallery_indexer", "gallery_indexer_gpu")


def resolved(*profiles: str, **environment: str) -> dict[str, Any]:
    """Return the services as Compose understands the file."""
    compose = ROOT / ".venv" / "bin" / "docker-compose"
    command = str(compose) if compose.exists() else shutil.which("docker-compose")
    if command is None:
        pytest.skip("docker-compose is not installed")
    options = [part for profile in profiles for part in ("--profile", profile)]
    run = [command, *options, "config", "--format", "json"]
    clean = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment}
    answer = subprocess.run(run, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    """Every service of every profile."""
    return resolved(*PROFILES)["services"]


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", dockerfile.read_text())
    lines = [line.strip() for line in text.splitlines()]
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


def arguments(dockerfile: Path, instruction: str) -> list[str]:
    return [rest for name, rest in instructions(dockerfile) if name == instruction]


def copied(dockerfile: Path) -> list[str]:
    """Return what the file copies from the build context, as it is written there."""
    copies = [copy for copy in arguments(dockerfile, "COPY") if not copy.startswith("--from")]
    return [source for copy in copies for source in copy.split()[:-1]]


def environment_of(dockerfile: Path) -> dict[str, str]:
    """Return the variables that a container of the image has."""
    return dict(part.split("=", 1) for env in arguments(dockerfile, "ENV") for part in env.split())


def seconds(duration: str) -> int:
    """Return the seconds of a duration as Compose writes it: `1m0s`."""
    minutes, rest = re.fullmatch(r"(?:(\d+)m)?(\d+)s", duration).groups()
    return 60 * int(minutes or 0) + int(rest)


def start(stack: dict[str, Any], broken: Set[str] = frozenset()) -> set[str]:
    """Return what Compose has started when nothing more happens.

    A node of Qdrant is healthy once half of the others have started, for they form a majority with it. Everything else
    is healthy as soon as it has started; what is broken never is.
    """
    nodes = QDRANTS & set(stack)

    def fulfilled(name: str, condition: str) -> bool:
        healthy = name not in nodes or len((nodes & started) - broken - {name}) >= len(nodes) // 2
        return name in started and name not in broken and (condition != "service_healthy" or healthy)

    started: set[str] = set()
    while ready := {
        name
        for name, service in stack.items()
        if name not in started
        and all(
            fulfilled(other, wait["condition"]) or (not wait["required"] and (other not in stack or other in broken))
            for other, wait in (service.get("depends_on") or {}).items()
        )
    }:
        started |= ready
    return started


class TestCompose:
    def test_without_a_profile_it_is_qdrant_its_keys_and_the_two_services(self) -> None:
        assert set(resolved()["services"]) == PAIR

    @pytest.mark.parametrize("profile", PROFILES)
    def test_a_profile_adds_services_and_changes_none(self, profile: str) -> None:
        plain, more = resolved()["services"], resolved(profile)["services"]
        assert set(more) == PAIR | OF_PROFILE[profile]
        waited_for = {name: service.pop("depends_on", None) for name, service in more.items()}
        assert waited_for  # for the further nodes, with the profile `cluster`
        for name in PAIR:
            plain[name].pop("depends_on", None)
            assert more[name] == plain[name]

    def test_qdrant_and_its_client_are_pinned_to_one_minor_version(self, stack: dict[str, Any]) -> None:
        client = re.search(r"^qdrant-client==(\d+)\.(\d+)\.", (ROOT / "constraints.txt").read_text(), re.M)
        for name in QDRANTS:
            image = stack[name]["image"]
            server = re.fullmatch(r"qdrant/qdrant:v(\d+)\.(\d+)\.\d+-unprivileged", image)
            assert server.groups() == client.groups()

    def test_every_foreign_image_is_pinned(self, stack: dict[str, Any]) -> None:
        for name, service in stack.items():
            if name not in OURS:
                assert re.search(r":v?\d+\.\d+", service["image"]), service["image"]
                assert "build" not in service

    def test_every_container_is_hardened(self, stack: dict[str, Any]) -> None:
        for name, service in stack.items():
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert "cap_add" not in service, name
            assert "privileged" not in service, name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["restart"] == ("no" if name == "keys" else "unless-stopped"), name
            assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}, name
            assert seconds(service["stop_grace_period"]) > serving._GRACE_S, name
            limits = service["deploy"]["resources"]["limits"]
            assert int(limits["memory"]) > 0, name
            assert limits["pids"] > 0, name

    def test_directories_of_this_machine_are_read_only(self, stack: dict[str, Any]) -> None:
        for name, service in stack.items():
            for volume in service.get("volumes", []):
                assert volume["type"] == "volume" or volume.get("read_only"), (name, volume)
        for name in OURS - {"keys"}:
            assert "/bundles" in {volume["target"] for volume in stack[name]["volumes"] if volume.get("read_only")}, (
                name
            )

    def test_every_published_port_stays_on_this_machine_and_qdrant_publishes_none(self, stack: dict[str, Any]) -> None:
        published = [port for service in stack.values() for port in service.get("ports", [])]
        assert {port["host_ip"] for port in published} == {"127.0.0.1"}
        assert len({port["published"] for port in published}) == len(published)
        assert not any("ports" in stack[name] for name in QDRANTS)

    def test_services_published_beyond_this_machine_need_keys(self) -> None:
        services = resolved("cluster", AFF_PUBLISH="0.0.0.0")["services"]
        for name in ("gallery_indexer", "query_api", "query_api_2"):
            environment = services[name]["environment"]
            assert environment["AFF_ACCESS_PUBLISHED_HOST"] == "0.0.0.0"
            assert "AFF_ACCESS_KEYS" not in {key for key, value in environment.items() if value is not None}
        assert services["proxy"]["ports"][0]["host_ip"] == "0.0.0.0"

    def test_qdrant_is_only_on_an_internal_network(self) -> None:
        document = resolved(*PROFILES)
        assert document["networks"]["store"]["internal"]
        for name in QDRANTS:
            assert set(document["services"][name]["networks"]) == {"store"}
        assert document["services"]["keys"]["network_mode"] == "none"

    def test_every_node_joins_the_first_stores_in_a_volume_and_has_the_name_that_services_use(
        self, stack: dict[str, Any]
    ) -> None:
        for name in QDRANTS:
            command = " ".join(stack[name]["command"])
            assert f"--uri http://{name}:6335" in command
            assert ("--bootstrap http://qdrant:6335" in command) is (name != "qdrant")
            volumes = {one["target"]: one for one in stack[name]["volumes"]}
            assert volumes["/qdrant/storage"]["type"] == "volume"
            assert stack[name]["networks"]["store"]["aliases"] == ["gallery-store"]
        for name in OURS - {"keys"}:
            assert stack[name]["environment"]["QDRANT_URL"] == "http://gallery-store:6333"

    def test_each_container_sees_no_more_of_the_keys_than_it_needs(self, stack: dict[str, Any]) -> None:
        def of(name: str) -> dict[str, str]:
            return {one["source"]: one["target"] for one in stack[name].get("volumes", []) if "key" in one["source"]}

        assert of("qdrant") == {"server-keys": "/keys"}
        for name in ("gallery_indexer", "gallery_indexer_gpu"):
            assert of(name) == {"writer-key": "/keys/writer"}
            assert stack[name]["environment"]["QDRANT_API_KEY_FILE"] == "/keys/writer/api-key"
        for name in ("query_api", "query_api_2"):
            assert of(name) == {"reader-key": "/keys/reader"}
            assert stack[name]["environment"]["QDRANT_API_KEY_FILE"] == "/keys/reader/api-key"
        assert of("prometheus") == {"reader-key": "/keys/reader"}
        assert "--config-path /keys/qdrant.yaml" in " ".join(stack["qdrant"]["command"])

    def test_nodes_that_wait_for_each_other_start_and_the_services_after_them(self, stack: dict[str, Any]) -> None:
        assert start(stack) == set(stack)
        assert start(resolved()["services"]) == PAIR

    def test_without_the_first_node_or_its_keys_no_service_starts(self, stack: dict[str, Any]) -> None:
        assert not start(stack, {"qdrant"}) & (OURS - {"keys"})
        assert not start(stack, {"keys"}) & (QDRANTS | OURS - {"keys"})

    def test_only_the_gpu_indexer_is_built_with_cuda(self) -> None:
        def indexes(**environment: str) -> dict[str, str]:
            services = resolved("gpu", **environment)["services"]
            return {name: services[name]["build"]["args"]["TORCH_INDEX_URL"] for name in INDEXERS}

        (default,) = re.findall(r"^ARG TORCH_INDEX_URL=(.+)", DOCKERFILES[0].read_text(), re.M)
        assert default == "https://download.pytorch.org/whl/cpu"
        assert indexes() == {"gallery_indexer": default, "gallery_indexer_gpu": ""}
        assert indexes(TORCH_INDEX_URL="https://mirror.example/cpu")["gallery_indexer"] == "https://mirror.example/cpu"
        assert indexes(TORCH_INDEX_URL="")["gallery_indexer"] == ""  # from where pip finds everything else

    def test_every_variable_of_the_services_is_a_setting(self, stack: dict[str, Any]) -> None:
        known = {"QDRANT_READ_ONLY_API_KEY"}  # of the keys' maker
        for settings in (AccessSettings, ObserveSettings, StoreSettings, IndexerSettings, QuerySettings):
            prefix = settings.model_config["env_prefix"]
            known |= {f"{prefix}{field.upper()}" for field in settings.model_fields}
        for name in OURS:
            assert set(stack[name]["environment"]) <= known, name

    def test_builds_start_at_the_root_with_arguments_that_the_dockerfile_declares(self, stack: dict[str, Any]) -> None:
        for name in OURS:
            build = stack[name]["build"]
            assert Path(build["context"]) == ROOT
            declared = {argument.split("=")[0] for argument in arguments(ROOT / build["dockerfile"], "ARG")}
            assert set(build["args"]) <= declared

    def test_both_services_run_the_default_bundle(self, stack: dict[str, Any]) -> None:
        for name in OURS - {"keys"}:
            side = "INDEX" if "indexer" in name else "QUERY"
            assert stack[name]["environment"][f"AFF_{side}_BUNDLE_PATH"] == f"/{DEFAULT_BUNDLE}"

    @needs_photos_bundle
    def test_mounted_files_exist(self, stack: dict[str, Any]) -> None:
        for service in stack.values():
            for volume in service.get("volumes", []):
                assert volume["type"] == "volume" or Path(volume["source"]).exists(), volume


class TestWhatTheContainersRead:
    def test_the_proxy_configuration_is_valid_and_has_both_query_services(self) -> None:
        parsed = crossplane.parse(str(DEPLOY / "proxy.conf"), single=True, strict=True, check_ctx=False)
        assert (parsed["status"], parsed["errors"]) == ("ok", [])
        upstream = next(one for one in parsed["config"][0]["parsed"] if one["directive"] == "upstream")
        servers = {one["args"][0] for one in upstream["block"] if one["directive"] == "server"}
        assert servers == {"query_api:8001", "query_api_2:8001"}

    def test_the_proxy_has_the_body_limit_of_the_service(self) -> None:
        size = re.search(r"client_max_body_size (\d+)m;", (DEPLOY / "proxy.conf").read_text())
        assert int(size[1]) * 2**20 == QuerySettings.model_fields["max_body_bytes"].default

    def test_prometheus_scrapes_every_service_at_its_port(self) -> None:
        jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
        requested = {(name, one["port"]) for job in jobs for one in job["dns_sd_configs"] for name in one["names"]}
        assert requested == {
            ("query_api", 8001),
            ("query_api_2", 8001),
            ("gallery_indexer", 8002),
            ("gallery_indexer_gpu", 8002),
            ("gallery-store", 6333),
        }

    def test_queries_of_rules_and_dashboard_are_valid_and_use_metrics_that_exist(self) -> None:
        known = _known_metrics()
        expressions = list(_expressions())
        assert len(expressions) > 30
        for expression in expressions:
            promql_parser.parse(expression.replace("$__rate_interval", "5m"))
            named = set(re.findall(r"\b(aff_[a-z_]+)", expression))
            assert named <= known, named - known

    def test_every_runbook_is_a_heading_of_the_operations_guide(self) -> None:
        headings = re.findall(r"^##+ (.+)$", (ROOT / "docs" / "operations.md").read_text(), re.M)
        anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        for target in re.findall(
            r"runbook: docs/operations.md#([\w-]+)", (DEPLOY / "prometheus/rules.yml").read_text()
        ):
            assert target in anchors, target


def _known_metrics() -> set[str]:
    """Return the names of the series that the code creates, from its calls of prometheus_client."""
    names = set()
    for path in [*(ROOT / "services").rglob("src/**/*.py"), *(ROOT / "shared" / "src").rglob("*.py")]:
        for kind, name in re.findall(r'(Counter|Gauge|Histogram)\(\s*"(aff_[a-z_]+)"', path.read_text()):
            suffixes = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}[kind]
            names |= {name + suffix for suffix in suffixes}
    return names


def _expressions() -> Iterator[str]:
    for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads((DEPLOY / "grafana" / "dashboards" / "aff.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
class TestDockerfile:
    def test_it_runs_as_a_numbered_user_that_is_not_root(self, dockerfile: Path) -> None:
        names = [name for name, _ in instructions(dockerfile)]
        assert int(arguments(dockerfile, "USER")[-1]) > 0
        assert names.index("USER") < names.index("CMD")

    def test_its_base_image_is_an_argument_with_a_pinned_minor(self, dockerfile: Path) -> None:
        assert "BASE_IMAGE=python:3.11-slim" in arguments(dockerfile, "ARG")
        assert {image.split()[0] for image in arguments(dockerfile, "FROM")} == {"${BASE_IMAGE}"}

    def test_pip_installs_the_pinned_resolution_and_keeps_no_cache(self, dockerfile: Path) -> None:
        installs = [
            part for run in arguments(dockerfile, "RUN") for part in re.findall(r"pip\b[^;&]* install[^;&]*", run)
        ]
        pinned = ("--require-hashes -r requirements.lock", "-c constraints.txt", "--no-index")
        assert installs
        for install in installs:
            assert "--no-cache-dir" in install, install
            assert any(how in install for how in pinned), install

    def test_pip_reads_its_configuration_from_a_secret_that_is_in_no_layer(self, dockerfile: Path) -> None:
        for run in arguments(dockerfile, "RUN"):
            if " install" in run and "--no-index" not in run:
                assert run.startswith("--mount=type=secret,id=pip_conf,target=/etc/pip.conf "), run
            secret = run.startswith("--mount=type=secret,id=pip_conf,target=/etc/pip.conf ")
            assert not secret or run.count("/etc/pip.conf") == 1, "a step copies the secret into a layer"
        assert not any("pip.conf" in source for source in copied(dockerfile))

    def test_onnx_runtime_reports_nothing_to_its_maker(self, dockerfile: Path) -> None:
        runs_it = "query_encoder" in dockerfile.read_text() or dockerfile == PAIR_DOCKERFILE
        assert environment_of(dockerfile).get("ORT_DISABLE_TELEMETRY") == ("1" if runs_it else None)

    @pytest.mark.parametrize(("status", "ends_with"), [(200, 0), (503, 1)])
    def test_its_health_check_uses_the_port_of_the_settings(
        self, dockerfile: Path, status: int, ends_with: int
    ) -> None:
        requested: list[str] = []

        class Service(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requested.append(self.path)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        _, _, command = arguments(dockerfile, "HEALTHCHECK")[0].partition(" CMD ")
        ports = [name for name in environment_of(dockerfile) if re.fullmatch(r"AFF_\w+_PORT", name)]
        with HTTPServer(("127.0.0.1", 0), Service) as server:
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
            environment = dict.fromkeys(ports, str(server.server_port)) | {"http_proxy": "http://192.0.2.1:3128"}
            check = subprocess.run(
                [sys.executable, *json.loads(command)[1:]], env=environment, capture_output=True, check=False
            )
            server.shutdown()
        assert check.returncode == ends_with, check.stderr
        assert requested == ["/readyz"] * (len(ports) if status == 200 else 1)

    def test_everything_it_copies_is_in_the_build_context(self, dockerfile: Path) -> None:
        allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        for source in copied(dockerfile):
            if source.startswith("bundles/") and not PHOTOS_BUNDLE.exists():
                pytest.skip("bundles/photos is not there")
            assert list(ROOT.glob(source)), source
            assert source.split("/")[0] in allowed, source

    @pytest.mark.slow
    def test_what_it_runs_starts_without_the_modules_that_it_removes(self, dockerfile: Path) -> None:
        removed = re.findall(r"-path '\*/([\w/]+)'", " ".join(arguments(dockerfile, "RUN")))
        modules = [path.replace("/", ".") for path in removed if path.startswith("numpy/")]
        command = json.loads(arguments(dockerfile, "CMD")[-1])
        started = {"aff": "aff_toolkit.cli.main", "python": f"{command[-1]}.app"}[command[0]]
        program = f"import sys; sys.modules.update(dict.fromkeys({modules})); import {started}"
        assert modules
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def test_it_contains_the_default_bundle(self, dockerfile: Path) -> None:
        paths = {value for name, value in environment_of(dockerfile).items() if name.endswith("_BUNDLE_PATH")}
        assert paths == {f"/{DEFAULT_BUNDLE}"}
        assert any(source.startswith(str(DEFAULT_BUNDLE)) for source in copied(dockerfile))


@pytest.mark.parametrize("dockerfile", [DOCKERFILES[0], PAIR_DOCKERFILE], ids=lambda path: path.parent.name)
class TestTorch:
    """The step that installs it, run by a shell in which pip records its arguments."""

    @staticmethod
    def installs(dockerfile: Path, tmp_path: Path, index: str, pip: str = "") -> tuple[int, str, str]:
        (run,) = (one for one in arguments(dockerfile, "RUN") if "TORCH_INDEX_URL" in one)
        (tmp_path / "pip").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/requested\n{pip}\n')
        (tmp_path / "pip").chmod(0o755)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TORCH_INDEX_URL": index}
        step = re.sub(r"--mount=\S+ ", "", run)
        done = subprocess.run(["sh", "-c", step], env=environment, capture_output=True, text=True, check=False)
        return done.returncode, (tmp_path / "requested").read_text().splitlines()[-1], done.stdout

    def test_it_is_installed_alone_from_a_given_index(self, dockerfile: Path, tmp_path: Path) -> None:
        code, requested, _ = self.installs(dockerfile, tmp_path, "https://wheels.example/cpu")
        assert code == 0
        assert requested.endswith("-c constraints.txt --no-deps --index-url https://wheels.example/cpu torch")

    def test_without_an_index_it_is_installed_like_every_other_package(self, dockerfile: Path, tmp_path: Path) -> None:
        code, requested, _ = self.installs(dockerfile, tmp_path, "")
        assert code == 0
        assert requested.endswith("-c constraints.txt torch")

    def test_an_index_without_torch_stops_the_build_and_the_message_names_the_argument(
        self, dockerfile: Path, tmp_path: Path
    ) -> None:
        code, _, said = self.installs(
            dockerfile, tmp_path, "https://wheels.example/cpu", pip='case "$*" in *torch) exit 1;; esac'
        )
        assert code == 1
        assert "no torch at https://wheels.example/cpu: --build-arg TORCH_INDEX_URL=" in said


def test_the_combined_image_keeps_everything_in_its_volume_and_requires_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[StoreSettings, IndexerSettings, QuerySettings]] = []

    async def serve_local(store: StoreSettings, indexer: IndexerSettings, query: QuerySettings, _: object) -> None:
        started.append((store, indexer, query))

    monkeypatch.setattr(local, "serve_local", serve_local)
    monkeypatch.setattr(serve_command, "configure_logging", lambda _: None)
    (volume,) = arguments(PAIR_DOCKERFILE, "VOLUME")
    for name, value in environment_of(PAIR_DOCKERFILE).items():
        if name.startswith(("AFF_", "QDRANT_")):
            monkeypatch.setenv(name, value.replace(volume, str(tmp_path), 1))
    command = [part.replace(volume, str(tmp_path), 1) for part in json.loads(arguments(PAIR_DOCKERFILE, "CMD")[0])]
    result = CliRunner().invoke(app, command[1:])
    assert (command[0], result.exit_code) == ("aff", 0), result.output
    ((store, indexer, query),) = started
    for path in (store.edge_path, indexer.backups_path, query.access.keys_file, indexer.access.keys_file):
        assert path is not None
        assert path.is_relative_to(tmp_path)
    assert (query.host, query.port, indexer.host, indexer.port) == ("0.0.0.0", 8001, "0.0.0.0", 8002)
    assert arguments(PAIR_DOCKERFILE, "EXPOSE") == [f"{query.port} {indexer.port}"]
    assert query.access.scopes_without_key(query.access.all_keys(), query.host) == frozenset()


@needs_photos_bundle
def test_the_query_image_contains_only_the_query_side_of_the_bundle() -> None:
    patterns = [source for source in copied(DOCKERFILES[1]) if source.startswith("bundles/")]
    found = {path.name for pattern in patterns for path in ROOT.glob(pattern)}
    assert found == {"bundle.json", *load_manifest(PHOTOS_BUNDLE).query_files}


def test_kubernetes_runs_the_default_bundle() -> None:
    settings = (ROOT / "deploy" / "kubernetes" / "base" / "settings.env").read_text().splitlines()
    paths = [line.partition("=")[2] for line in settings if "BUNDLE_PATH=" in line]
    assert paths == [f"/{DEFAULT_BUNDLE}"] * 2


def test_the_build_of_the_query_image_fails_if_torch_is_installed() -> None:
    runs = arguments(ROOT / "services" / "query_api" / "Dockerfile", "RUN")
    check = next(run for run in runs if "find_spec('torch')" in run)
    code = re.search(r'-c "(.+)"', check)[1]
    python = shutil.which("python3") or "python3"
    without = subprocess.run([python, "-S", "-I", "-c", code], check=False)
    assert without.returncode == 0
    with_torch = code.replace("'torch'", "'json'")
    assert subprocess.run([python, "-S", "-I", "-c", with_torch], check=False).returncode == 1

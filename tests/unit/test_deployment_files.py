"""The deployment files, checked without a Docker engine."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "services" / service / "Dockerfile" for service in ("gallery_indexer", "query_api")]
OURS = ("gallery_indexer", "query_api")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", dockerfile.read_text())
    lines = [line.strip() for line in text.splitlines()]
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


def arguments(dockerfile: Path, instruction: str) -> list[str]:
    return [rest for name, rest in instructions(dockerfile) if name == instruction]


def test_the_stack_is_qdrant_and_the_two_services(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"qdrant", *OURS}


def test_qdrant_is_pinned_within_one_minor_of_the_client(compose: dict[str, Any]) -> None:
    image = compose["services"]["qdrant"]["image"]
    major, minor, _ = map(int, re.fullmatch(r"qdrant/qdrant:v(\d+)\.(\d+)\.(\d+)", image).groups())
    client = re.search(r"^qdrant-client==(\d+)\.(\d+)\.", (ROOT / "constraints.txt").read_text(), re.M)
    assert int(client[1]) == major
    assert abs(int(client[2]) - minor) <= 1


def test_qdrant_keeps_its_data_in_a_named_volume(compose: dict[str, Any]) -> None:
    volume, target = compose["services"]["qdrant"]["volumes"][0].split(":")
    assert target == "/qdrant/storage"
    assert volume in compose["volumes"]


def test_every_published_port_stays_on_this_machine_and_qdrant_publishes_none(compose: dict[str, Any]) -> None:
    assert "ports" not in compose["services"]["qdrant"]
    for name in OURS:
        assert all(port.startswith("127.0.0.1:") for port in compose["services"][name]["ports"])


def test_the_services_wait_for_a_healthy_qdrant(compose: dict[str, Any]) -> None:
    assert "healthcheck" in compose["services"]["qdrant"]
    for name in OURS:
        assert compose["services"][name]["depends_on"]["qdrant"]["condition"] == "service_healthy"


def test_qdrants_health_check_needs_only_bash(compose: dict[str, Any]) -> None:
    kind, shell, flag, script = compose["services"]["qdrant"]["healthcheck"]["test"]
    assert (kind, shell, flag) == ("CMD", "bash", "-c")
    assert "/dev/tcp/127.0.0.1/6333" in script
    assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0


def test_each_service_is_built_from_its_own_dockerfile_with_the_root_as_context(compose: dict[str, Any]) -> None:
    for name in OURS:
        build = compose["services"][name]["build"]
        assert build["context"] == "."
        assert (ROOT / build["dockerfile"]).is_file()


def test_build_arguments_are_declared_by_the_dockerfiles(compose: dict[str, Any]) -> None:
    for name in OURS:
        build = compose["services"][name]["build"]
        declared = {argument.split("=")[0] for argument in arguments(ROOT / build["dockerfile"], "ARG")}
        assert set(build["args"]) <= declared


def test_the_gpu_override_only_changes_services_that_exist(compose: dict[str, Any]) -> None:
    override = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
    assert set(override["services"]) <= set(compose["services"])
    device = override["services"]["gallery_indexer"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert device["driver"] == "nvidia"
    assert device["capabilities"] == ["gpu"]


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
        assert installs
        assert all("--no-cache-dir" in install and "-c constraints.txt" in install for install in installs)

    def test_commands_are_in_exec_form(self, dockerfile: Path) -> None:
        assert all(command.startswith("[") for command in arguments(dockerfile, "CMD"))

    def test_it_has_a_health_check_on_readiness(self, dockerfile: Path) -> None:
        assert "/readyz" in arguments(dockerfile, "HEALTHCHECK")[0]

    def test_everything_it_copies_is_in_the_build_context(self, dockerfile: Path) -> None:
        allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        for copy in arguments(dockerfile, "COPY"):
            if copy.startswith("--from"):
                continue
            source = copy.split()[0]
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in allowed, source


def test_the_query_image_refuses_torch() -> None:
    runs = arguments(ROOT / "services" / "query_api" / "Dockerfile", "RUN")
    check = next(run for run in runs if "find_spec('torch')" in run)
    code = re.search(r'-c "(.+)"', check)[1]
    python = shutil.which("python3") or "python3"
    without = subprocess.run([python, "-S", "-I", "-c", code], check=False)
    assert without.returncode == 0
    with_torch = code.replace("'torch'", "'json'")
    assert subprocess.run([python, "-S", "-I", "-c", with_torch], check=False).returncode == 1


@pytest.mark.docker
@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_docker_compose_accepts_the_files() -> None:
    files = ["-f", "docker-compose.yml", "-f", "docker-compose.gpu.yml"]
    subprocess.run(["docker-compose", *files, "config", "-q"], cwd=ROOT, check=True)

"""The Kubernetes manifests, checked without a cluster: built by kustomize, compared with the schemas and the code."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from aff_shared import __version__
from aff_shared.errors import AccessSettingsError
from aff_shared.store.settings import StoreSettings
from aff_shared.web import serving
from aff_shared.web.settings import AccessSettings, ListenSettings, ObserveSettings
from gallery_indexer.settings import IndexerSettings
from query_api.search.search_queue import SearchMetrics
from query_api.settings import QuerySettings

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu", "cluster")
VERSIONS = ("1.30", kubernetes_validate.latest_version())  # the oldest that the manifests are for, and the newest
EXTRAS = ("bundles-pod", "ingress")
WORKLOADS = {"gallery-indexer", "qdrant", "query-api"}
SERVICES: dict[str, type[ListenSettings]] = {"gallery-indexer": IndexerSettings, "query-api": QuerySettings}
NAME = "app.kubernetes.io/name"
IN_COMPOSE = {"gallery-indexer": "gallery_indexer", "query-api": "query_api", "qdrant": "qdrant"}

OWN_OVERLAY = """
namespace: images
resources: [{base}]
components: [{gpu}, {cluster}]
images:
  - {{name: aff-gallery-indexer-gpu, newName: registry.example/indexer, newTag: "7"}}
  - {{name: aff-query-api, newName: registry.example/query, newTag: "7"}}
configMapGenerator:
  - name: aff-settings
    behavior: merge
    literals: [AFF_QUERY_BUNDLE_PATH=/bundles/own, AFF_INDEX_BUNDLE_PATH=/bundles/own]
patches:
  - target: {{kind: PersistentVolumeClaim, name: bundles}}
    patch: |
      - {{op: replace, path: /spec/accessModes, value: [ReadWriteOnce]}}
"""


@functools.cache
def build(directory: Path) -> str:
    """Return what `kubectl apply -k` would send."""
    kubectl = ROOT / ".venv" / "bin" / "kubectl"
    command = str(kubectl) if kubectl.exists() else shutil.which("kubectl")
    if command is None:
        pytest.skip("kubectl is not installed")
    run = subprocess.run([command, "kustomize", str(directory)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert not run.stderr, run.stderr  # warnings of fields that are going away
    return run.stdout


def rendered(overlay: str) -> list[Object]:
    return list(yaml.safe_load_all(build(KUBERNETES / "overlays" / overlay)))


def extra(name: str) -> Object:
    document: Object = yaml.safe_load((KUBERNETES / "extras" / f"{name}.yaml").read_text())
    return document


def compose() -> Object:
    services: Object = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def of_kind(objects: list[Object], *kinds: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] in kinds}


def workloads(objects: list[Object]) -> dict[str, Object]:
    return of_kind(objects, "Deployment", "StatefulSet")


def pod(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def labels(workload: Object) -> dict[str, str]:
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def main_container(workload: Object) -> Object:
    (container,) = pod(workload)["containers"]
    assert isinstance(container, dict)
    return container


def containers(spec: Object) -> list[Object]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def settings_map(objects: list[Object]) -> Object:
    (name,) = (name for name in of_kind(objects, "ConfigMap") if name.startswith("aff-settings-"))
    return of_kind(objects, "ConfigMap")[name]


def environment(container: Object, objects: list[Object]) -> dict[str, str]:
    """Return what the container's process would see; values of Secrets and of the pod are left out."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= of_kind(objects, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    for one in container.get("env", []):
        if "value" in one:
            found[one["name"]] = one["value"]
    return found


def amount(quantity: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(\D*)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"": 1, "m": 0.001, "Mi": 2**20, "Gi": 2**30}[unit]


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.M)
    assert match, pattern
    return match[1]


def selects(selector: Mapping[str, Any], given: Mapping[str, str]) -> bool:
    """Whether a label selector takes an object of these labels."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in expressions)
    return all(given.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        given.get(one["key"]) in one["values"] for one in expressions
    )


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(request.param)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """An overlay as an operator writes it."""
    directory = tmp_path_factory.mktemp("own").resolve()
    parts = {name: KUBERNETES / "components" / name for name in ("gpu", "cluster")}
    paths = {name: os.path.relpath(path, directory) for name, path in (parts | {"base": KUBERNETES / "base"}).items()}
    (directory / "kustomization.yaml").write_text(OWN_OVERLAY.format(**paths))
    return list(yaml.safe_load_all(build(directory)))


class TestSchemas:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_every_object_is_valid(self, objects: list[Object], version: str) -> None:
        assert len(objects) > 15
        for one in objects:
            kubernetes_validate.validate(one, version, strict=True)

    @pytest.mark.parametrize("name", EXTRAS)
    @pytest.mark.parametrize("version", VERSIONS)
    def test_the_extras_are_valid(self, name: str, version: str) -> None:
        kubernetes_validate.validate(extra(name), version, strict=True)

    def test_every_file_belongs_to_a_kustomization_or_is_an_extra(self) -> None:
        named = set()
        for path in KUBERNETES.rglob("kustomization.yaml"):
            document = yaml.safe_load(path.read_text())
            generated = document.get("configMapGenerator", [])
            parts = [
                *document.get("resources", []),
                *(patch["path"] for patch in document.get("patches", [])),
                *(file for one in generated for file in (*one.get("files", []), *one.get("envs", []))),
            ]
            named |= {path, *((path.parent / part).resolve() for part in parts)}
        files = {path for path in KUBERNETES.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert {path.stem for path in files - named} == {*EXTRAS, "adapter-rule", "prometheus-scrape"}


class TestOverlays:
    def test_three_workloads_without_a_namespace_and_without_secrets(self, objects: list[Object]) -> None:
        assert set(workloads(objects)) == WORKLOADS
        assert not any("namespace" in one["metadata"] for one in objects)
        assert not of_kind(objects, "Secret")

    def test_images_are_those_of_compose_and_ours_have_the_version_of_the_packages(self, objects: list[Object]) -> None:
        text = (ROOT / "docker-compose.yml").read_text()
        qdrant = found(r"QDRANT_IMAGE:-(\S+)}", text)
        ours = {f"{name}:{__version__}" for name in re.findall(r"AFF_\w+_IMAGE:-(\S+)}", text)}
        specs = [pod(workload) for workload in workloads(objects).values()] + [extra("bundles-pod")["spec"]]
        assert {container["image"] for spec in specs for container in containers(spec)} <= ours | {qdrant}
        assert main_container(workloads(objects)["qdrant"])["image"] == qdrant

    def test_a_custom_overlay_has_both_components_its_images_and_its_settings(self, own: list[Object]) -> None:
        assert {one["metadata"]["namespace"] for one in own} == {"images"}
        indexer = workloads(own)["gallery-indexer"]
        assert main_container(indexer)["image"] == "registry.example/indexer:7"
        assert pod(indexer)["initContainers"][0]["image"] == "registry.example/query:7"
        assert main_container(workloads(own)["query-api"])["image"] == "registry.example/query:7"
        assert workloads(own)["qdrant"]["spec"]["replicas"] == 3
        seen = environment(main_container(indexer), own)
        assert (seen["AFF_INDEX_BUNDLE_PATH"], seen["AFF_INDEX_DEVICE"]) == ("/bundles/own", "cuda")
        assert of_kind(own, "PersistentVolumeClaim")["bundles"]["spec"]["accessModes"] == ["ReadWriteOnce"]
        for one in own:
            kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


class TestSettings:
    def test_every_variable_is_a_setting_of_its_service(self, objects: list[Object]) -> None:
        known = {
            f"{settings.model_config['env_prefix']}{field.upper()}"
            for settings in (AccessSettings, ObserveSettings, StoreSettings, IndexerSettings, QuerySettings)
            for field in settings.model_fields
        }
        for name in SERVICES:
            for container in containers(pod(workloads(objects)[name])):
                ours = {key for key in environment(container, objects) if key.startswith(("AFF_", "QDRANT_"))}
                assert "QDRANT_URL" in ours
                assert ours <= known, ours - known

    @pytest.mark.parametrize("name", SERVICES)
    def test_the_services_accept_their_settings(
        self, objects: list[Object], name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        container = main_container(workloads(objects)[name])
        settings = self._settings(name, environment(container, objects), monkeypatch)
        assert settings.host == "0.0.0.0"
        assert settings.port == container["ports"][0]["containerPort"]
        if isinstance(settings, IndexerSettings):
            assert str(settings.backups_path) in {mount["mountPath"] for mount in container["volumeMounts"]}

    @pytest.mark.parametrize("name", SERVICES)
    def test_without_keys_the_services_do_not_start(
        self, objects: list[Object], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        seen = environment(main_container(workloads(objects)[name]), objects)
        settings = self._settings(name, seen, monkeypatch)
        with pytest.raises(AccessSettingsError, match="cannot be read"):
            settings.access.all_keys()
        (tmp_path / "keys.json").write_text("[]")
        empty = self._settings(name, seen | {"AFF_ACCESS_KEYS_FILE": str(tmp_path / "keys.json")}, monkeypatch)
        with pytest.raises(AccessSettingsError, match="set AFF_ACCESS_KEYS"):
            empty.access.scopes_without_key(empty.access.all_keys(), empty.host)

    def test_each_pod_sees_no_more_of_the_keys_than_it_needs(self, objects: list[Object]) -> None:
        for name, role in (("gallery-indexer", "writer"), ("query-api", "reader")):
            spec = pod(workloads(objects)[name])
            secrets = {volume["name"]: volume["secret"] for volume in spec["volumes"] if "secret" in volume}
            assert set(secrets) == {"access-keys", f"{role}-key"}
            assert secrets["access-keys"]["secretName"] == "aff-access"
            assert secrets[f"{role}-key"]["items"] == [{"key": role, "path": "api-key"}]
            for container in containers(spec):
                mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
                seen = environment(container, objects)
                assert seen["QDRANT_API_KEY_FILE"] == f"{mounts[f'{role}-key']}/api-key"
            assert seen["AFF_ACCESS_KEYS_FILE"] == f"{mounts['access-keys']}/keys.json"

    def test_qdrant_requires_both_keys_and_stores_on_a_claim(self, objects: list[Object]) -> None:
        qdrant = workloads(objects)["qdrant"]
        container = main_container(qdrant)
        keys = {one["name"]: one["valueFrom"].get("secretKeyRef") for one in container["env"] if "valueFrom" in one}
        assert keys["QDRANT__SERVICE__API_KEY"] == {"name": "qdrant-keys", "key": "writer"}
        assert keys["QDRANT__SERVICE__READ_ONLY_API_KEY"] == {"name": "qdrant-keys", "key": "reader"}
        claims = {one["metadata"]["name"] for one in qdrant["spec"]["volumeClaimTemplates"]}
        kept = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in claims}
        assert kept == {"/qdrant/storage"}

    def test_kubernetes_adds_no_variables(self, objects: list[Object]) -> None:
        for workload in workloads(objects).values():
            assert pod(workload)["enableServiceLinks"] is False  # QDRANT_PORT and similar

    def _settings(
        self, name: str, seen: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> IndexerSettings | QuerySettings:
        for key in [key for key in os.environ if key.startswith(("AFF_", "QDRANT_"))]:
            monkeypatch.delenv(key)
        dockerfile = (ROOT / "services" / IN_COMPOSE[name] / "Dockerfile").read_text()
        for key, value in [*re.findall(r"^\s+(AFF_\w+)=(\S+)", dockerfile, re.M), *seen.items()]:
            monkeypatch.setenv(key, value)
        settings = SERVICES[name]()
        assert isinstance(settings, (IndexerSettings, QuerySettings))
        return settings


class TestPortsAndProbes:
    def test_probes_use_endpoints_that_exist(self, objects: list[Object]) -> None:
        for name in SERVICES:
            document = json.loads((ROOT / "docs" / "openapi" / f"{IN_COMPOSE[name]}.json").read_text())
            assert {"/healthz", "/readyz"} <= set(document["paths"])
        requested = {"qdrant": ("/livez", "/readyz"), **dict.fromkeys(SERVICES, ("/healthz", "/readyz"))}
        for name, workload in workloads(objects).items():
            container = main_container(workload)
            alive, ready = requested[name]
            # A service that answers is alive: a restart does not help where the store is unavailable.
            for probe, path in (("startupProbe", alive), ("livenessProbe", alive), ("readinessProbe", ready)):
                assert container[probe]["httpGet"] == {"path": path, "port": "http"}
            assert "http" in {port["name"] for port in container["ports"]}

    def test_every_service_leads_to_ports_of_the_pods_of_its_name(self, objects: list[Object]) -> None:
        services = of_kind(objects, "Service")
        assert set(services) == WORKLOADS | {"qdrant-nodes"}
        for service in services.values():
            selector = {"matchLabels": service["spec"]["selector"]}
            (target,) = (one for one in workloads(objects).values() if selects(selector, labels(one)))
            ports = {port["name"]: port["containerPort"] for port in main_container(target)["ports"]}
            for port in service["spec"]["ports"]:
                assert ports[port["targetPort"]] == port["port"]

    def test_the_services_find_qdrant(self, objects: list[Object]) -> None:
        ports = {port["name"]: port["port"] for port in of_kind(objects, "Service")["qdrant"]["spec"]["ports"]}
        # A cluster's nodes by their own addresses: behind one address, a node that hangs could not be passed over.
        name = "qdrant" if workloads(objects)["qdrant"]["spec"]["replicas"] == 1 else "qdrant-nodes"
        assert settings_map(objects)["data"]["QDRANT_URL"] == f"http://{name}:{ports['http']}"
        assert ports["grpc"] == StoreSettings.model_fields["grpc_port"].default

    def test_a_pod_has_time_to_finish_its_requests(self, objects: list[Object]) -> None:
        for name in SERVICES:
            spec = pod(workloads(objects)[name])
            stop = main_container(workloads(objects)[name]).get("lifecycle", {}).get("preStop", {})
            command, seconds = stop["exec"]["command"] if stop else ("sleep", "0")
            assert command == "sleep"
            assert spec["terminationGracePeriodSeconds"] > int(seconds) + serving._GRACE_S


class TestSelectors:
    def test_each_workload_owns_the_pods_of_its_name_and_no_others(self, objects: list[Object]) -> None:
        for name, workload in workloads(objects).items():
            owned = {
                other for other, one in workloads(objects).items() if selects(workload["spec"]["selector"], labels(one))
            }
            assert owned == {name}

    def test_mounted_claims_are_those_that_exist(self, objects: list[Object]) -> None:
        mounted = {
            volume["persistentVolumeClaim"]["claimName"]
            for workload in workloads(objects).values()
            for volume in pod(workload)["volumes"]
            if "persistentVolumeClaim" in volume
        }
        assert mounted == set(of_kind(objects, "PersistentVolumeClaim")) == {"backups", "bundles"}
        (volume,) = extra("bundles-pod")["spec"]["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] in mounted

    def test_a_container_mounts_volumes_that_its_pod_has(self, objects: list[Object]) -> None:
        for workload in workloads(objects).values():
            claims = workload["spec"].get("volumeClaimTemplates", [])
            there = {volume["name"] for volume in pod(workload)["volumes"]} | {
                one["metadata"]["name"] for one in claims
            }
            mounted = {mount["name"] for one in containers(pod(workload)) for mount in one["volumeMounts"]}
            assert mounted == there


class TestHardening:
    @staticmethod
    def _specs(objects: list[Object]) -> list[Object]:
        return [*(pod(workload) for workload in workloads(objects).values()), extra("bundles-pod")["spec"]]

    def test_every_pod_keeps_to_the_restricted_standard_and_writes_to_volumes_alone(
        self, objects: list[Object]
    ) -> None:
        for spec in self._specs(objects):
            assert spec["automountServiceAccountToken"] is False
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
            security = spec["securityContext"]
            assert security["runAsNonRoot"] is True
            assert security["runAsUser"] == security["fsGroup"] > 0
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not any("hostPath" in volume for volume in spec["volumes"])
            for container in containers(spec):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }

    def test_bundles_are_read_by_the_services_and_written_only_by_the_extra_pod(self, objects: list[Object]) -> None:
        for name in SERVICES:
            container = main_container(workloads(objects)[name])
            (bundles,) = (mount for mount in container["volumeMounts"] if mount["name"] == "bundles")
            assert bundles["readOnly"] is True
            paths = [value for key, value in settings_map(objects)["data"].items() if key.endswith("_BUNDLE_PATH")]
            assert {str(Path(path).parent) for path in paths} == {bundles["mountPath"]}
        (mount,) = extra("bundles-pod")["spec"]["containers"][0]["volumeMounts"]
        assert "readOnly" not in mount

    def test_the_services_run_as_the_user_of_their_images(self, objects: list[Object]) -> None:
        for name in SERVICES:
            dockerfile = (ROOT / "services" / IN_COMPOSE[name] / "Dockerfile").read_text()
            user = found(r"^USER (\d+)$", dockerfile)
            assert pod(workloads(objects)[name])["securityContext"]["runAsUser"] == int(user)

    def test_every_container_and_every_volume_in_memory_is_limited(self, objects: list[Object]) -> None:
        for spec in self._specs(objects):
            for container in containers(spec):
                requests, limits = container["resources"]["requests"], container["resources"]["limits"]
                for resource in ("cpu", "memory"):
                    assert 0 < amount(requests[resource]) <= amount(limits[resource])
            for volume in spec["volumes"]:
                assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": None}), volume


class TestNetwork:
    HERE: Mapping[str, str] = {"kubernetes.io/metadata.name": "here"}
    DNS: Mapping[str, str] = {"kubernetes.io/metadata.name": "kube-system"}

    REACHED: tuple[tuple[str, str, set[int]], ...] = (
        ("query-api", "qdrant", {6333, 6334}),
        ("gallery-indexer", "qdrant", {6333, 6334}),
        ("qdrant", "qdrant", {6333, 6335}),
        ("aff/monitoring", "qdrant", {6333}),
        ("aff/monitoring", "query-api", {8001}),
        ("aff/monitoring", "gallery-indexer", {8002}),
        ("aff/ingress", "query-api", {8001}),
        ("aff/ingress", "gallery-indexer", {8002}),
        ("aff/ingress", "qdrant", set()),
        ("stranger", "qdrant", set()),
        ("stranger", "query-api", set()),
        ("query-api", "gallery-indexer", set()),
        ("qdrant", "query-api", set()),
        ("qdrant", "world", set()),
        ("query-api", "world", set()),
        ("gallery-indexer", "world", set()),
        ("bundles", "world", set()),
        ("query-api", "dns", {53}),
        ("gallery-indexer", "dns", {53}),
        ("qdrant", "dns", {53}),
    )

    def test_pods_reach_what_they_need_and_nothing_else(self, objects: list[Object]) -> None:
        for source, target, ports in self.REACHED:
            reached = {
                port
                for port in (53, 80, 443, 6333, 6334, 6335, 8001, 8002)
                if self._leaves(objects, source, target, port) and self._arrives(objects, source, target, port)
            }
            assert reached == ports, (source, target)

    def _place(self, name: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the labels of a pod's namespace and its own."""
        if name.startswith("aff/"):
            return {"kubernetes.io/metadata.name": "other", name: "true"}, {}
        if name == "dns":
            return self.DNS, {}
        if name in ("stranger", "world"):
            # A pod elsewhere may have any name: it counts in this namespace alone.
            return {"kubernetes.io/metadata.name": "other"}, {NAME: "query-api"}
        return self.HERE, {NAME: name}

    def _leaves(self, objects: list[Object], source: str, target: str, port: int) -> bool:
        return self._allowed(objects, "Egress", source, target, port)

    def _arrives(self, objects: list[Object], source: str, target: str, port: int) -> bool:
        return self._allowed(objects, "Ingress", target, source, port)

    def _allowed(self, objects: list[Object], direction: str, subject: str, other: str, port: int) -> bool:
        """Whether the policies of a pod's namespace allow a connection: all are, of a pod that no policy is about."""
        namespace, own_labels = self._place(subject)
        if namespace is not self.HERE:
            return True
        policies = [
            policy["spec"]
            for policy in of_kind(objects, "NetworkPolicy").values()
            if selects(policy["spec"]["podSelector"], own_labels) and direction in policy["spec"]["policyTypes"]
        ]
        end = "from" if direction == "Ingress" else "to"
        rules = [rule for policy in policies for rule in policy.get(direction.lower(), [])]
        return not policies or any(
            any(self._is_peer(peer, other) for peer in rule[end])
            and port in {one["port"] for one in rule["ports"] if one.get("protocol", "TCP") == "TCP"}
            for rule in rules
        )

    def _is_peer(self, peer: Object, name: str) -> bool:
        namespace, its_labels = self._place(name)
        assert set(peer) in ({"podSelector"}, {"namespaceSelector"})
        if "podSelector" in peer:
            return namespace is self.HERE and selects(peer["podSelector"], its_labels)
        return selects(peer["namespaceSelector"], namespace)


class TestScaling:
    def test_the_autoscaler_follows_a_metric_of_the_query_service_through_the_adapter(
        self, objects: list[Object]
    ) -> None:
        registry = CollectorRegistry()
        SearchMetrics(registry)
        exported = re.findall(r"^# TYPE (\w+) gauge$", generate_latest(registry).decode(), re.M)
        (scaler,) = of_kind(objects, "HorizontalPodAutoscaler").values()
        (metric,) = scaler["spec"]["metrics"]
        assert metric["pods"]["metric"]["name"] in exported
        (rule,) = extra("adapter-rule")["rules"]
        series, query = rule["seriesQuery"], rule["metricsQuery"]
        assert "name" not in rule  # the series' own
        assert series.startswith(metric["pods"]["metric"]["name"] + "{")
        promql_parser.parse(series)
        for part, value in (("Series", "s"), ("LabelMatchers", 'pod="p"'), ("GroupBy", "pod")):
            assert f"<<.{part}>>" in query
            query = query.replace(f"<<.{part}>>", value)
        promql_parser.parse(query)

    def test_it_scales_a_deployment_without_a_fixed_number_of_replicas(self, objects: list[Object]) -> None:
        (scaler,) = of_kind(objects, "HorizontalPodAutoscaler").values()
        target = scaler["spec"]["scaleTargetRef"]
        deployment = of_kind(objects, target["kind"])[target["name"]]
        assert deployment["apiVersion"] == target["apiVersion"]
        assert "replicas" not in deployment["spec"]  # each `kubectl apply` would reset them
        budget = of_kind(objects, "PodDisruptionBudget")[target["name"]]
        assert budget["spec"]["maxUnavailable"] < scaler["spec"]["minReplicas"]


class TestCluster:
    def test_every_node_joins_the_first_and_the_indexer_waits_for_all(self) -> None:
        objects = rendered("cluster")
        indexer, qdrant = workloads(objects)["gallery-indexer"], workloads(objects)["qdrant"]
        _, *options = main_container(qdrant)["command"]
        given = dict(zip(options[::2], options[1::2], strict=True))
        name = qdrant["spec"]["serviceName"]
        assert given["--uri"] == f"http://$(POD_NAME).{name}:6335"
        assert given["--bootstrap"] == f"http://qdrant-0.{name}:6335"
        assert of_kind(objects, "Service")[name]["spec"]["publishNotReadyAddresses"] is True
        (waiting,) = pod(indexer)["initContainers"]
        _, script, nodes = waiting["command"]
        assert int(nodes) == qdrant["spec"]["replicas"]
        (volume,) = (one for one in pod(indexer)["volumes"] if "configMap" in one)
        (mount,) = (one for one in waiting["volumeMounts"] if one["name"] == volume["name"])
        directory, file = script.rsplit("/", 1)
        assert mount["mountPath"] == directory
        assert file in of_kind(objects, "ConfigMap")[volume["configMap"]["name"]]["data"]

    def test_the_wait_ends_when_the_last_node_joins(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("the key\n")
        answers: Iterator[int | None] = iter([None, 1, 3])
        requested: list[tuple[str, str | None]] = []

        class Qdrant(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requested.append((self.path, self.headers["api-key"]))
                nodes = next(answers)
                self.send_response(503 if nodes is None else 200)
                self.end_headers()
                peers = {str(number): {"uri": "http://node:6335"} for number in range(nodes or 0)}
                self.wfile.write(json.dumps({"result": {"status": "enabled", "peers": peers}}).encode())

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        with HTTPServer(("127.0.0.1", 0), Qdrant) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
            url = f"http://127.0.0.1:{server.server_port}"
            run = subprocess.run(
                [sys.executable, str(KUBERNETES / "components/cluster/wait_for_nodes.py"), "3"],
                env={"QDRANT_URL": url, "QDRANT_API_KEY_FILE": str(tmp_path / "key")},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            server.shutdown()
        assert run.returncode == 0, run.stderr
        assert requested == [("/cluster", "the key")] * 3
        assert "503" in run.stderr.splitlines()[0]
        assert run.stderr.splitlines()[1] == "1 of 3 nodes are there"

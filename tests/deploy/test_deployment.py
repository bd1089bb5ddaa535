"""The files of deploy/ against the schemas of Kubernetes and Envoy, and against the command line of this package."""

import argparse
import importlib
import pkgutil
import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from surrogate_fmu.cli.main import make_parser
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.routing import SESSION_KEY
from surrogate_fmu.service.v1 import surrogate_pb2

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
SERVICE = surrogate_pb2.DESCRIPTOR.services_by_name["Surrogate"].full_name
DOCUMENTS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}")
    for path in sorted(KUBERNETES.glob("*.yaml"))
    if path.stem != "kustomization"
    for document in yaml.safe_load_all(path.read_text())
]


def document(kind: str, name: str) -> dict[str, Any]:
    (found,) = (d.values[0] for d in DOCUMENTS if d.values[0]["kind"] == kind and d.values[0]["metadata"]["name"] == name)
    return found


@pytest.fixture
def pod() -> dict[str, Any]:
    return document("StatefulSet", "surrogate-fmu")["spec"]["template"]["spec"]


@pytest.fixture
def settings(pod: dict[str, Any]) -> argparse.Namespace:
    """The arguments of the container, read by the command line itself."""
    return make_parser().parse_args([argument.replace("$(REDIS_PASSWORD)", "x") for argument in pod["containers"][0]["args"]])


@pytest.mark.skipif(find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed")
@pytest.mark.parametrize("resource", DOCUMENTS)
def test_every_resource_keeps_the_schema_of_kubernetes(resource: dict):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        validate = importlib.import_module("kubernetes_validate").validate
        validate(resource, "1.31", strict=True)


def test_kustomization_names_every_file():
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in KUBERNETES.glob("*.yaml") if path.stem != "kustomization")


def test_the_arguments_are_those_of_the_command_line(settings: argparse.Namespace):
    assert settings.verb == "serve"
    names = ("listen", "metrics", "store", "key_file", "stop_grace_s")
    config = ServeConfig(**{name: getattr(settings, name) for name in names})
    assert config.store == "redis://:x@surrogate-fmu-redis:6379/0"


def test_ports_probes_and_services_agree(pod: dict, settings: argparse.Namespace):
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings.listen.endswith(f":{ports['grpc']}") and settings.metrics.endswith(f":{ports['metrics']}")
    for probe in ("readinessProbe", "startupProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == ports["grpc"]
    assert container["readinessProbe"]["grpc"]["service"] == SERVICE
    for name in ("surrogate-fmu", "surrogate-fmu-redis"):
        service, workload = document("Service", name), document("StatefulSet", name)
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert workload["spec"]["serviceName"] == name
        named = {port["name"] for port in workload["spec"]["template"]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    assert document("Service", "surrogate-fmu")["spec"]["clusterIP"] == "None"


def test_a_pod_has_the_time_to_drain(pod: dict, settings: argparse.Namespace):
    (_, wait) = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] >= float(wait) + settings.stop_grace_s + 5


def test_the_key_is_mounted_where_the_server_reads_it_and_private(pod: dict, settings: argparse.Namespace):
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "key")
    mount = next(mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "key")
    assert str(settings.key_file) == f"{mount['mountPath']}/token.key" and mount["readOnly"]
    assert volume["secret"]["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"] and pod["securityContext"]["runAsNonRoot"]


def test_the_image_runs_as_the_user_of_the_pod_and_has_its_bundle(pod: dict, settings: argparse.Namespace):
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in image
    (bundle,) = settings.bundles
    assert bundle.parent == Path("/models") and "/models/" in image
    assert any(path.name == bundle.name for path in (ROOT / "models").rglob("*.bundle"))
    for copied in re.findall(r"^COPY ((?:[\w./]+ )+)/", image, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())


def test_secrets_are_those_that_the_page_makes():
    used = set(re.findall(r"secret(?:Name|KeyRef: \{name)[: ]+([\w-]+)", "".join(p.read_text() for p in KUBERNETES.glob("*.yaml"))))
    made = set(re.findall(r"create secret generic ([\w-]+)", (ROOT / "docs" / "scale.md").read_text()))
    assert used == made == {"surrogate-fmu-key", "surrogate-fmu-redis"}


def test_redis_neither_evicts_nor_forgets():
    arguments = document("StatefulSet", "surrogate-fmu-redis")["spec"]["template"]["spec"]["containers"][0]["args"]
    pairs = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    assert pairs["--maxmemory-policy"] == "noeviction" and pairs["--appendonly"] == "yes" and "--requirepass" in pairs


@pytest.mark.skipif(find_spec("envoy") is None, reason="xds-protos is not installed")
def test_the_configuration_of_envoy_is_a_bootstrap_that_hashes_the_session():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bootstrap_pb2 = importlib.import_module("envoy.config.bootstrap.v3.bootstrap_pb2")
        for package in ("filters.network.http_connection_manager", "filters.http.router", "upstreams.http"):
            folder = importlib.import_module(f"envoy.extensions.{package}.v3")
            for module in pkgutil.iter_modules(folder.__path__):  # what the @type of the file names
                if module.name.endswith("_pb2"):
                    importlib.import_module(f"{folder.__name__}.{module.name}")
        from google.protobuf import json_format

        config = json_format.ParseDict(yaml.safe_load((ROOT / "deploy" / "envoy.yaml").read_text()), bootstrap_pb2.Bootstrap())
    (cluster,) = config.static_resources.clusters
    assert cluster.lb_policy == cluster.LbPolicy.Value("RING_HASH")
    assert cluster.health_checks[0].grpc_health_check.service_name == SERVICE
    endpoint = cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    service = document("Service", "surrogate-fmu")
    assert endpoint.address == service["metadata"]["name"]
    assert endpoint.port_value in [port["port"] for port in service["spec"]["ports"]]
    manager = json_format.MessageToDict(config.static_resources.listeners[0].filter_chains[0].filters[0].typed_config)
    (route,) = manager["routeConfig"]["virtualHosts"][0]["routes"]
    assert route["match"]["prefix"] == f"/{SERVICE}/" and route["route"]["cluster"] == cluster.name
    assert route["route"]["hashPolicy"] == [{"header": {"headerName": SESSION_KEY}}]

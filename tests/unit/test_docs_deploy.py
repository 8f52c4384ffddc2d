"""Dockerfile, compose.yaml and alert rules are what they claim, as far as reading them tells."""

import re
import shlex
from itertools import pairwise
from typing import Any

import pytest
import yaml

from landline.adapters.kafka.topics import RECORD_BYTES, RETENTION_MS
from landline.api.http import Http, Readiness
from landline.cli import COMMANDS
from landline.config import load
from landline.config.loading import load_for_migration
from landline.config.settings import OPTIONS
from landline.errors import ConfigError
from landline.observability.metrics import AUDIT_METRICS, METRICS
from landline_stack.jars import KAFKA_VERSION
from support.pages import ROOT, code_blocks, read, table

TOKENS = {"LANDLINE_AUTH": "jwt", "LANDLINE_JWT_SECRET_FILE": "/run/secrets/jwt-secret"}
COMPOSE: dict[str, Any] = yaml.safe_load(read("compose.yaml"))
SERVICES: dict[str, Any] = COMPOSE["services"]
INSTRUCTIONS = [
    tuple(line.split(None, 1))
    for line in read("Dockerfile").replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def instructions(name: str) -> list[str]:
    return [rest for instruction, rest in INSTRUCTIONS if instruction == name]


def image_environment() -> dict[str, str]:
    [words] = [shlex.split(rest) for rest in instructions("ENV")]
    return dict(word.split("=", 1) for word in words)


def environment(service: dict[str, Any]) -> dict[str, str]:
    """Return what Landline gets: from the image, and from compose.yaml with a password chosen."""
    given = {**image_environment(), **service["environment"]}
    return {
        name: re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]*\}", "chosen", value)
        for name, value in given.items()
    }


def landlines() -> dict[str, Any]:
    return {name: each for name, each in SERVICES.items() if "build" in each}


# --- Dockerfile ----------------------------------------------------------------------------------


def test_every_file_that_is_copied_is_there_and_let_through() -> None:
    let_through = {line[1:] for line in read(".dockerignore").splitlines() if line[0] == "!"}
    copied = [rest.split()[:-1] for rest in instructions("COPY") if not rest.startswith("--from")]
    for file in (file for files in copied for file in files):
        assert (ROOT / file).exists(), file
        assert file.removeprefix("./") in let_through


def test_the_package_needs_no_file_that_is_not_copied() -> None:
    copied = " ".join(instructions("COPY"))
    assert "README.md" in copied  # pyproject.toml names both
    assert "LICENSE" in copied


def test_the_image_runs_as_nobody_special_and_is_pinned() -> None:
    assert int(instructions("USER")[-1]) > 0
    assert all(
        re.match(r"python:3\.\d+-slim-\w+( AS \w+)?$", each) for each in instructions("FROM")
    )


def test_the_image_starts_the_server_only_when_it_knows_who_somebody_is() -> None:
    assert instructions("ENTRYPOINT") == ['["landline"]']
    assert instructions("CMD") == ['["serve"]']
    given = {name: value for name, value in image_environment().items() if name != "PATH"}
    assert set(given) <= {option.variable for option in OPTIONS.values()}
    with pytest.raises(ConfigError, match=r"--jwt-secret-file FILE.*--insecure"):
        load({}, given)
    for more in ({"LANDLINE_INSECURE": "true"}, TOKENS):
        assert load({}, {**given, **more}).port == int(instructions("EXPOSE")[0])


def test_the_page_runs_the_image_as_it_can_be_run() -> None:
    """With a secret that is mounted where the server looks for it; or without sign-in."""
    given = {name: value for name, value in image_environment().items() if name != "PATH"}
    blocks = "\n".join(code_blocks(read("docs/deploy.md"), "sh")).replace("\\\n", " ")
    runs = [shlex.split(line) for line in blocks.splitlines() if line.startswith("docker run ")]
    assert len(runs) == 2
    found = []
    for words in runs:
        pairs = list(pairwise(words))
        variables = dict(value.split("=", 1) for flag, value in pairs if flag == "--env")
        settings = load({}, {**given, **variables})
        found.append((settings.auth, settings.insecure))
        mounts = "".join(value for flag, value in pairs if flag == "--mount")
        assert settings.auth == "none" or f"target={settings.jwt_secret_file}," in mounts
        assert ("--publish", f"127.0.0.1:8081:{settings.port}") in pairs
    assert found == [("jwt", False), ("none", True)]


def test_the_health_check_asks_a_page_that_is_there() -> None:
    [check] = instructions("HEALTHCHECK")
    [program] = re.findall(r'"(import .*)"\]$', check)
    compile(program, "HEALTHCHECK", "exec")
    [path] = re.findall(r"\+ '(/\w+)'", program)
    assert Http(Readiness, bytes, is_for_operators=False).answer("GET", path).status == 200


# --- compose.yaml --------------------------------------------------------------------------------


def test_every_image_is_pinned_and_kafka_is_the_one_that_is_tested() -> None:
    images = {each["image"] for each in SERVICES.values()}
    assert f"apache/kafka:{KAFKA_VERSION}" in images
    for image in images:
        assert re.search(r":(\d|local$)", image), image


def test_servers_get_settings_that_are_good() -> None:
    servers = {name: each for name, each in landlines().items() if "command" not in each}
    assert list(servers) == ["ws-1", "ws-2"]
    brokers = [name for name in SERVICES if name.startswith("kafka-")]
    for name, service in servers.items():
        settings = load({}, environment(service))  # refuses what is nearly an option
        assert settings.server_id == name
        assert settings.kafka == tuple(f"{broker}:9092" for broker in brokers)
        assert str(settings.postgres) == "postgresql://landline:***@postgres:5432/landline"
        assert str(settings.redis) == "redis://redis:6379/0"
        assert (settings.auth, settings.insecure) == ("jwt", False)
        [secret] = service["secrets"]
        assert str(settings.jwt_secret_file) == f"/run/secrets/{secret['source']}"
        assert secret["mode"] & 0o004, "the server's user is not root"
        assert COMPOSE["secrets"][secret["source"]] == {"environment": "JWT_SECRET"}
        port, admin = service["ports"]
        assert re.fullmatch(rf"127\.0\.0\.1:808\d:{settings.port}", port)
        assert re.fullmatch(rf"127\.0\.0\.1:908\d:{settings.admin_port}", admin)


def test_the_schema_is_migrated_before_servers_start() -> None:
    [command] = SERVICES["migrate"]["command"]
    assert command in COMMANDS
    settings = load_for_migration({}, environment(SERVICES["migrate"]), needs_log=True)
    assert str(settings.postgres) == "postgresql://landline:***@postgres:5432/landline"


def test_variables_of_ours_are_options() -> None:
    ours = {option.variable for option in OPTIONS.values()}
    for service in landlines().values():
        assert {name for name in service["environment"] if name.startswith("LANDLINE")} <= ours


def test_a_service_that_is_waited_for_is_there_and_can_say_that_it_is_ready() -> None:
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert SERVICES[name]["healthcheck"]["test"]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert SERVICES[name]["restart"] == "on-failure"


def test_data_are_on_volumes_and_servers_are_given_time_to_drain() -> None:
    used = {
        volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", ())
    }
    assert used == set(COMPOSE["volumes"])
    for service in landlines().values():
        assert int(service["stop_grace_period"].removesuffix("s")) > 15


def test_the_brokers_form_one_cluster() -> None:
    brokers = {name: each for name, each in SERVICES.items() if name.startswith("kafka-")}
    for name, broker in brokers.items():
        given = broker["environment"]
        voters = given["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")
        assert f"{given['KAFKA_NODE_ID']}@{name}:9093" in voters
        assert len(voters) == len(brokers) == 3
        assert given["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{name}:9092"


# --- the pages -----------------------------------------------------------------------------------


def test_the_topic_s_settings_are_those_that_are_checked() -> None:
    rows = table(read("docs/deploy.md"))
    for name, least in (("retention.ms", RETENTION_MS), ("max.message.bytes", RECORD_BYTES)):
        assert rows[f"`{name}`"][0].split()[0] == str(least)


def test_every_alert_has_its_section_and_asks_for_metrics_that_are_measured() -> None:
    page = read("docs/runbook.md")
    [rules] = map(yaml.safe_load, code_blocks(page, "yaml"))
    alerts = {rule["alert"]: rule["expr"] for rule in rules["groups"][0]["rules"]}
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == list(alerts)
    declared = {each.name: each for each in (*METRICS, *AUDIT_METRICS)}
    for alert, expression in alerts.items():
        used = re.findall(r"(landline_\w+)(?:\{(\w+)!?=~?\"([^\"]*)\")?", expression)
        for name, label, value in used:
            metric = declared[re.sub(r"_bucket$", "", name)]
            assert not label or value in metric.labels[label], alert
        assert used or "up{" in expression
        assert expression.count("(") == expression.count(")")


def test_every_metric_that_counts_trouble_has_an_alert() -> None:
    page = read("docs/runbook.md")
    trouble = re.compile(r"_(failures|dropped|quarantined|refused)_total$|_lag_|_usable$|differ")
    for metric in (*METRICS, *AUDIT_METRICS):
        if trouble.search(metric.name):
            assert metric.name in page, metric.name


def test_the_messages_of_a_lost_log_are_those_that_are_printed() -> None:
    """Each sentence of the page stands in the source, apart from its numbers."""
    source = "".join(
        (ROOT / "src/landline" / file).read_text()
        for file in ("adapters/kafka/event_log.py", "adapters/kafka/topic_watch.py",
                     "adapters/kafka/reader.py", "app/cluster.py",
                     "retention.py")
    )  # fmt: skip
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    source = re.sub(r"\{[^{}]*\}", "#", source)
    lost = read("docs/failures.md").split("## The log is lost")[1].split("## The store is lost")[0]
    sentences = [line for block in code_blocks(lost, "") for line in block.splitlines()]
    assert len(sentences) == 10
    for sentence in sentences:
        pieces = re.split(r"CHAT-MESSAGES|\d+|\.\.\.|: |[();]", sentence)
        for piece in (piece.strip(" .,") for piece in pieces):
            assert piece in source, (piece, sentence)

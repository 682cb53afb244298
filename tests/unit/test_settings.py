"""A setting comes from the environment, `.env` or the command line; a wrong one is refused by its name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pydantic
import pytest

from winnow.cli.shown_settings import show_settings
from winnow.errors import InvalidSettings
from winnow.settings import Settings, default_data_dir, load_settings

if TYPE_CHECKING:
    from pathlib import Path


# Fields' names in capitals, as other programs have them. None is ours but OPENAI_API_KEY, for OpenAI's own service.
OTHER_PROGRAMS = {
    "OPENAI_API_KEY": "sk-lies-there",
    "OPENAI_URL": "http://elsewhere",
    "OLLAMA_URL": "http://elsewhere",
    "AMBIENT_OPENAI_KEY": "sk-lies-there-too",
    "EMBEDDER": "openai:x",
}


@pytest.fixture(autouse=True)
def only_these_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No `.env` and no variables of this machine's own."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("WINNOW_") or name in {"DATABASE_URL", "NATS_URL", *OTHER_PROGRAMS}:
            monkeypatch.delenv(name)


def test_by_default_nothing_leaves_this_machine() -> None:
    settings = load_settings()
    assert (settings.embedder, settings.database_url, settings.nats_url) == ("local", None, None)
    assert settings.api_host == "127.0.0.1"
    assert (settings.batch_size, settings.max_attempts, settings.sweep_age_seconds) == (100, 3, 1)
    assert (settings.ack_wait_seconds, settings.lease_seconds, settings.drain_seconds) == (60, 60, 25)


def test_the_environment_the_file_and_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WINNOW_BATCH_SIZE=7\nWINNOW_MAX_ATTEMPTS=7\nWINNOW_WINDOW_MESSAGES=7\nOTHER=1\n")
    monkeypatch.setenv("WINNOW_MAX_ATTEMPTS", "8")
    monkeypatch.setenv("WINNOW_WINDOW_MESSAGES", "8")
    settings = load_settings(window_messages=9, lanes=None)
    assert (settings.batch_size, settings.max_attempts, settings.window_messages) == (7, 8, 9)
    assert settings.lane_names == ("live", "bulk")


@pytest.mark.parametrize("name", ["DATABASE_URL", "WINNOW_DATABASE_URL"])
def test_servers_have_the_names_everybody_uses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "postgresql://u:secret@h/d")
    settings = load_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:secret@h/d"
    assert "u:secret" not in repr(settings) + str(settings.model_dump())


@pytest.mark.parametrize("in_a_file", [True, False])
def test_other_programs_variables_are_no_settings(
    in_a_file: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in OTHER_PROGRAMS.items():
        if in_a_file:
            with (tmp_path / ".env").open("a") as file:
                file.write(f"{name}={value}\n")
        else:
            monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.openai_api_key is None
    assert (settings.openai_url, settings.ollama_url) == ("https://api.openai.com/v1", "http://127.0.0.1:11434")
    assert settings.embedder == "local"
    assert settings.key_for_openai is not None
    assert settings.key_for_openai.get_secret_value() == "sk-lies-there"
    assert load_settings(openai_url="http://gpu1/v1").key_for_openai is None
    monkeypatch.setenv("WINNOW_OPENAI_API_KEY", "sk-chosen")
    chosen = load_settings(openai_url="http://gpu1/v1").key_for_openai
    assert chosen is not None
    assert chosen.get_secret_value() == "sk-chosen"


def test_the_command_line_wins_over_names_without_our_prefix_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "NATS_URL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "environment")
    given = load_settings(database_url="given", nats_url="given", ambient_openai_key="given")
    for secret in (given.database_url, given.nats_url, given.ambient_openai_key):
        assert secret is not None
        assert secret.get_secret_value() == "given"


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("WINNOW_BATCH_SIZE", "")
    assert (load_settings().database_url, load_settings().batch_size) == (None, 100)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("WINNOW_BATCH_SIZE", "0", r"^WINNOW_BATCH_SIZE: .*greater than or equal to 1$"),
        ("WINNOW_BATCH_SIZE", "5000", r"^WINNOW_BATCH_SIZE: .*2048$"),
        ("WINNOW_BATCH_SIZE", "many", r"^WINNOW_BATCH_SIZE: .*integer"),
        ("WINNOW_LEASE_SECONDS", "-1", r"^WINNOW_LEASE_SECONDS: .*greater than 0$"),
        ("WINNOW_LANES", "fast", r"^WINNOW_LANES: choose from live and bulk, for example live,bulk$"),
        ("WINNOW_LANES", " , ", r"^WINNOW_LANES: choose from live and bulk"),
        ("WINNOW_LOG_LEVEL", "loud", r"^WINNOW_LOG_LEVEL: .*'debug', 'info'"),
        ("WINNOW_API_PORT", "70000", r"^WINNOW_API_PORT: .*65535$"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings, match=sentence):
        load_settings()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("WINNOW_BATCHSIZE", r"^WINNOW_BATCHSIZE is no setting; did you mean WINNOW_BATCH_SIZE\?$"),
        ("winnow_nats_ur", r"^WINNOW_NATS_UR is no setting; did you mean WINNOW_NATS_URL\?$"),
        ("WINNOW_COLOUR", r"^WINNOW_COLOUR is no setting; unset it; the README lists those there are$"),
    ],
)
@pytest.mark.parametrize("in_a_file", [True, False])
def test_a_name_that_is_nearly_ours_is_refused(
    name: str, sentence: str, in_a_file: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if in_a_file:
        (tmp_path / ".env").write_text(f"{name}=7\nPOSTGRES_PASSWORD=x\n")
    else:
        monkeypatch.setenv(name, "7")
    with pytest.raises(InvalidSettings, match=sentence):
        load_settings()


def test_every_setting_is_shown_with_its_origin_and_no_secret_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("WINNOW_BATCH_SIZE=7\nWINNOW_LEASE_SECONDS=\nOPENAI_API_KEY=sk-secret\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:p/a@ss@db:5432/winnow")
    monkeypatch.setenv("WINNOW_NATS_URL", "nats://tok-secret@nats:4222")
    monkeypatch.setenv("WINNOW_OLLAMA_URL", "http://user:pass@gpu:11434")
    settings = load_settings(lanes="live")
    shown = {one.name: (one.value, one.origin) for one in show_settings(settings, lanes="live")}
    assert len(shown) == len(Settings.model_fields)
    assert shown["DATABASE_URL"] == ("postgresql://***@db:5432/winnow", "environment")
    assert shown["NATS_URL"] == ("nats://***@nats:4222", "environment, WINNOW_NATS_URL")
    assert shown["WINNOW_OLLAMA_URL"] == ("http://***@gpu:11434", "environment")
    assert shown["OPENAI_API_KEY"] == ("***", ".env")
    assert shown["WINNOW_BATCH_SIZE"] == ("7", ".env")
    assert shown["WINNOW_LEASE_SECONDS"] == ("60", "default")
    assert shown["WINNOW_LANES"] == ("live", "command line")
    assert shown["WINNOW_API_PORT"] == (None, "default")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:pa ss@h/db", "postgresql://***@h/db"),
        ("postgresql://h/db?user=u&password=secret", "postgresql://h/db?user=***&password=***"),
        ("postgresql://u:p@ss/w?rd@h/db", "postgresql://***@h/db"),
        ("user:secret@gpu:11434", "***@gpu:11434"),
        ("nats://h:4222", "nats://h:4222"),
    ],
)
def test_credentials_in_a_url_are_never_shown(url: str, shown: str) -> None:
    told = {one.name: one.value for one in show_settings(load_settings(ollama_url=url))}["WINNOW_OLLAMA_URL"]
    assert told is not None
    assert told == shown


@pytest.mark.parametrize("value", ["http://nats:4222", "nats://", "nats://host:port", "postgresql://h/d"])
def test_what_is_no_address_of_nats_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", value)
    with pytest.raises(InvalidSettings, match=r"^NATS_URL: "):
        load_settings()


@pytest.mark.parametrize(
    ("host", "keys", "required"),
    [
        ("127.0.0.1", "auto", False), ("::1", "auto", False), ("localhost", "auto", False),
        ("127.9.9.9", "auto", False),
        ("0.0.0.0", "auto", True), ("::", "auto", True), ("10.0.0.1", "auto", True), ("winnow.example", "auto", True),
        ("127.0.0.1", "always", True), ("0.0.0.0", "never", False),
    ],
)  # fmt: skip
def test_keys_are_asked_for_beyond_loopback(host: str, keys: str, required: bool) -> None:
    assert load_settings(api_host=host, api_keys=keys).keys_required is required


def test_two_wrong_values_are_both_named() -> None:
    with pytest.raises(InvalidSettings, match=r"WINNOW_BATCH_SIZE: .*; WINNOW_MAX_ATTEMPTS: "):
        load_settings(batch_size=0, max_attempts=0)


@pytest.mark.parametrize(
    ("given", "lanes"), [("live", ("live",)), (" bulk , live ,bulk", ("bulk", "live")), ("live,bulk", ("live", "bulk"))]
)
def test_lanes_are_read_as_written(given: str, lanes: tuple[str, ...]) -> None:
    assert load_settings(lanes=given).lane_names == lanes


def test_the_data_folder_is_absolute_and_the_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(data_dir="here").data_dir == tmp_path / "here"
    assert load_settings(data_dir="~/there").data_dir == tmp_path / "there"


def test_root_s_data_lies_where_the_server_s_account_can_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert str(default_data_dir()) == "/var/lib/winnow"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_data_dir().name == "winnow"


def test_settings_do_not_change_and_each_has_its_sentence() -> None:
    with pytest.raises(pydantic.ValidationError):
        load_settings().batch_size = 3  # type: ignore[misc]
    undescribed = {
        name for name, field in Settings.model_fields.items() if not (field.description or "").endswith((".", "`."))
    }
    assert undescribed == set()


def test_the_threshold_of_noise_is_not_above_that_of_signal() -> None:
    with pytest.raises(InvalidSettings, match=r"WINNOW_WEAK_FROM: 0.6 is above WINNOW_SIGNAL_FROM"):
        load_settings(weak_from=0.6)
    assert load_settings(signal_from=0.7, weak_from=0.6).weak_from == 0.6

"""Keys are encrypted with a secret of the settings or of a file that is its owner's alone, and told by nobody."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from winnow.cli.shown_settings import show_settings
from winnow.errors import InvalidSettings, SetupFault
from winnow.secrets import Secrets, secrets_of
from winnow.settings import load_settings

KEY = SecretStr("sk-very-secret-0123456789")
ONE, TWO = (base64.urlsafe_b64encode(byte * 32).decode() for byte in (b"\xfb", b"\x02"))


@pytest.fixture(autouse=True)
def only_these_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WINNOW_SECRET_KEY", raising=False)


def of_settings(value: str, folder: Path) -> Secrets:
    return secrets_of(load_settings(secret_key=SecretStr(value), data_dir=folder))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "secret.key"


def test_what_is_encrypted_comes_back_and_is_readable_in_no_other_way(file: Path) -> None:
    for secrets in (of_settings(ONE, file.parent), Secrets(file=file)):
        encrypted = secrets.encrypt(KEY)
        assert secrets.decrypt(encrypted, of="gpu") == KEY
        assert encrypted.isascii()
        assert encrypted != secrets.encrypt(KEY), "equal keys do not look alike"
        assert KEY.get_secret_value() not in repr(encrypted) + repr(vars(secrets))


def test_the_file_is_made_at_the_first_need_and_its_owner_s_alone(file: Path) -> None:
    secrets = Secrets(file=file)
    with pytest.raises(SetupFault):
        secrets.decrypt(b"x", of="gpu")
    assert not file.exists(), "to decrypt, a new secret is of no use"
    encrypted = secrets.encrypt(KEY)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"]
    assert Secrets(file=file).decrypt(encrypted, of="gpu") == KEY


def test_whoever_comes_first_makes_the_file_for_all(file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        encrypted = list(pool.map(lambda _: Secrets(file=file).encrypt(KEY), range(8)))
    assert {Secrets(file=file).decrypt(each, of="gpu").get_secret_value() for each in encrypted} == {
        KEY.get_secret_value()
    }


def test_settings_win_over_the_file_and_make_none(file: Path) -> None:
    encrypted = of_settings(ONE, file.parent).encrypt(KEY)
    assert not file.exists()
    Secrets(file=file).encrypt(KEY)
    assert of_settings(ONE, file.parent).decrypt(encrypted, of="gpu") == KEY


def test_the_first_of_several_encrypts_and_all_decrypt(file: Path) -> None:
    old = of_settings(ONE, file.parent)
    both = of_settings(f" {TWO} , {ONE}", file.parent)
    assert both.decrypt(old.encrypt(KEY), of="gpu") == KEY
    assert of_settings(TWO, file.parent).decrypt(both.encrypt(KEY), of="gpu") == KEY
    with pytest.raises(SetupFault):
        old.decrypt(both.encrypt(KEY), of="gpu")


def test_a_secret_as_openssl_writes_it_is_one(file: Path) -> None:
    standard = base64.b64encode(b"\xfb\xff" * 16).decode()
    assert {"+", "/"} & set(standard)
    secrets = of_settings(standard, file.parent)
    assert secrets.decrypt(secrets.encrypt(KEY), of="gpu") == KEY


@pytest.mark.parametrize("value", ["hunter2-hunter2", f"{ONE},", f"{ONE},hunter2", ONE[:-4], "ü" * 44, ONE + "!"])
@pytest.mark.parametrize("in_environment", [True, False])
def test_a_wrong_value_is_refused_and_not_shown(
    value: str, in_environment: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if in_environment:
        monkeypatch.setenv("WINNOW_SECRET_KEY", value)
    else:
        (tmp_path / ".env").write_text(f"WINNOW_SECRET_KEY={value}\n")
    with pytest.raises(InvalidSettings, match=r"^WINNOW_SECRET_KEY: this is no secret .* openssl rand") as caught:
        load_settings()
    told = f"{caught.value} {caught.value.__cause__}"
    assert not any(part.strip() in told for part in value.split(",") if part)


def test_the_right_value_is_not_shown_either() -> None:
    settings = load_settings(secret_key=SecretStr(ONE))
    shown = {one.name: one.value for one in show_settings(settings)}
    assert shown["WINNOW_SECRET_KEY"] == "***"
    assert ONE not in repr(settings)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_a_file_that_others_can_use_is_refused(file: Path, mode: int) -> None:
    encrypted = Secrets(file=file).encrypt(KEY)
    file.chmod(mode)
    for use in (lambda: Secrets(file=file).encrypt(KEY), lambda: Secrets(file=file).decrypt(encrypted, of="gpu")):
        with pytest.raises(SetupFault, match="chmod 600"):
            use()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_somebody_else_s_file_is_refused(file: Path) -> None:
    Secrets(file=file).encrypt(KEY)
    os.chown(file, 65534, 65534)
    with pytest.raises(SetupFault, match="another user's"):
        Secrets(file=file).encrypt(KEY)


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    Secrets(file=file).encrypt(KEY)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SetupFault, match="cannot be kept"):
        Secrets(file=file).encrypt(KEY)


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"\xff\x00"])
def test_a_broken_file_is_told_and_kept(file: Path, content: bytes) -> None:
    Secrets(file=file).encrypt(KEY)
    file.write_bytes(content)
    with pytest.raises(SetupFault, match="holds no secrets"):
        Secrets(file=file).encrypt(KEY)
    assert file.read_bytes() == content


def test_where_no_file_can_be_made_the_setting_is_named() -> None:
    with pytest.raises(SetupFault, match=r"cannot be kept in /proc/winnow/secret.key .* WINNOW_SECRET_KEY"):
        Secrets(file=Path("/proc/winnow/secret.key")).encrypt(KEY)


def test_another_secret_says_what_to_do(file: Path) -> None:
    encrypted = of_settings(ONE, file.parent).encrypt(KEY)
    with pytest.raises(
        SetupFault,
        match=r"the key of gpu cannot be decrypted .* WINNOW_SECRET_KEY .* providers edit gpu --key -",
    ):
        of_settings(TWO, file.parent).decrypt(encrypted, of="gpu")


def test_a_renewed_file_keeps_what_is_still_needed(file: Path) -> None:
    secrets = Secrets(file=file)
    old = secrets.encrypt(KEY)
    secrets.renew()
    new = secrets.encrypt(KEY)
    secrets.forget_unused([old, new])
    assert (secrets.decrypt(old, of="gpu"), secrets.decrypt(new, of="gpu")) == (KEY, KEY)
    secrets.forget_unused([new])
    assert secrets.decrypt(new, of="gpu") == KEY
    with pytest.raises(SetupFault):
        secrets.decrypt(old, of="gpu")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_ring_of_the_settings_is_left_to_whoever_set_it(file: Path) -> None:
    secrets = of_settings(ONE, file.parent)
    secrets.renew()
    secrets.forget_unused([])
    assert not file.exists()
    assert not secrets.in_file

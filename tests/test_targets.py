"""Where targets come from: a file of environments, or LinkFlow's own variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_engine.errors import PlaybookError, TargetError, UsageError
from runbook_engine.targets import Environment, load_environment, read_configuration

FILE = """
environments:
  production:
    about: The real one
    policy: {production: true, most: disruptive}
    targets:
      db: {kind: postgres, host: db.example.org, user: app, password: {env: PG_PASSWORD}}
      redis: {kind: redis, host: cache, password: {file: secrets/redis}}
  staging:
    pace: 0.5
    targets:
      redis: {kind: redis, port: 6380}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runbook.yaml").write_text(FILE)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "redis").write_text("swordfish-7\n")
    (tmp_path / "secrets" / "redis").chmod(0o600)
    return tmp_path


def load(folder: Path, name: str | None = None, **environ: str) -> Environment:
    return load_environment(name, environ=environ, folders=[folder])


def test_an_environment_has_its_targets_policy_and_pace(folder: Path) -> None:
    found = load(folder, "staging")
    assert (found.name, found.pace, found.kinds()) == ("staging", 0.5, {"redis": "redis"})
    assert found.target("redis", {}).settings == {"port": 6380}
    assert found.target("redis", {}).pace == 0.5
    assert load(folder, "production", PG_PASSWORD="correct-horse").policy.most == "disruptive"


def test_secrets_come_by_reference_and_the_redactor_knows_them(folder: Path) -> None:
    found = load(folder, "production", PG_PASSWORD="correct-horse")
    assert found.target("db", {}).settings["password"] == "correct-horse"
    assert found.target("redis", {}).settings["password"] == "swordfish-7"
    shown = found.redactor.text("correct-horse and swordfish-7")
    assert "horse" not in shown
    assert "swordfish" not in shown
    assert "correct-horse" not in repr(found.redactor)


def test_a_secret_that_is_missing_is_named_by_its_reference(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"db\.password: environment variable 'PG_PASSWORD' is not set"):
        load(folder, "production")


def test_a_secret_file_in_the_home_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "secrets"))
    (folder / "runbook.yaml").write_text(FILE.replace("secrets/redis", "~/redis"))
    found = load(folder, "production", PG_PASSWORD="correct-horse")
    assert found.target("redis", {}).settings["password"] == "swordfish-7"


def test_a_password_that_is_also_a_public_name_hides_nothing_else(folder: Path) -> None:
    found = load_environment(None, environ={"DATABASE_PASSWORD": "linkflow"}, folders=[])
    assert found.redactor.text("database linkflow") == "database linkflow"
    assert found.warnings


def test_a_sensitive_input_is_masked_beside_the_secrets(folder: Path) -> None:
    found = load(folder, "production", PG_PASSWORD="correct-horse")
    shown = found.hiding({"input token": "tr0ub4dor"}).text("tr0ub4dor correct-horse")
    assert "tr0ub4dor" not in shown
    assert "horse" not in shown


def test_a_mistyped_environment_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UsageError, match="has no environment 'prodution': did you mean 'production'"):
        load(folder, "prodution")
    with pytest.raises(UsageError, match="it has production, staging"):
        load(folder, "zzz")


def test_of_several_environments_one_must_be_said(folder: Path) -> None:
    with pytest.raises(UsageError, match="say which one with --env: production, staging"):
        load(folder)
    (folder / "runbook.yaml").write_text(FILE + "default: staging\n")
    assert load(folder).name == "staging"


def test_the_only_environment_needs_no_name(folder: Path) -> None:
    (folder / "runbook.yaml").write_text("environments:\n  lab: {targets: {redis: redis-kind}}\n")
    with pytest.raises(PlaybookError):
        load(folder)
    (folder / "runbook.yaml").write_text("environments:\n  lab: {targets: {redis: {kind: redis}}}\n")
    assert load(folder).name == "lab"


def test_a_file_without_environments_says_so(folder: Path) -> None:
    (folder / "runbook.yaml").write_text("environments: {}\n")
    with pytest.raises(UsageError, match="names no environment"):
        load(folder)


def test_the_first_folder_that_has_a_file_wins(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "runbook.yaml").write_text("environments:\n  lab: {}\n")
    assert load_environment(None, environ={}, folders=[tmp_path / "none", other, folder]).name == "lab"


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_configuration(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        read_configuration(tmp_path / "bytes.yaml")


def test_a_key_that_is_not_known_is_complained_about_with_its_place(folder: Path) -> None:
    (folder / "runbook.yaml").write_text("environments:\n  lab:\n    pase: 0.1\n")
    with pytest.raises(PlaybookError) as complained:
        load(folder)
    assert (complained.value.complaints[0].line, complained.value.complaints[0].column) == (3, 5)


def test_without_a_file_the_variables_of_linkflow_serve() -> None:
    environ = {"DATABASE_HOST": "pg", "DATABASE_PORT": "6432", "REDIS_DB": "2", "REDIS_PASSWORD": "swordfish-7"}
    found = load_environment(None, environ=environ, folders=[])
    assert found.kinds() == {"db": "postgres", "redis": "redis", "api": "http"}
    database = found.target("db", {}).settings
    assert (database["host"], database["port"], database["database"]) == ("pg", 6432, "linkflow")
    redis = found.target("redis", {}).settings
    assert (redis["host"], redis["db"], redis["password"]) == ("localhost", 2, "swordfish-7")
    assert found.target("api", {}).settings == {"url": "http://localhost:8090"}
    assert "swordfish" not in found.redactor.text("swordfish-7")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DATABASE_PORT", "five", "DATABASE_PORT must be a number"),
        ("REDIS_DB", "x", "REDIS_DB must be a number"),
        ("LINKFLOW_API_URL", "ftp://x", "must begin with http"),
    ],
)
def test_a_variable_that_cannot_be_is_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_environment(None, environ={variable: value}, folders=[])


def test_an_environment_without_a_file_is_not_known() -> None:
    with pytest.raises(UsageError, match=r"no runbook\.yaml"):
        load_environment("production", environ={}, folders=[])


def test_a_derived_target_changes_settings_of_another(folder: Path) -> None:
    found = load(folder, "staging")
    side = found.target("side", {"from": "redis", "port": 7000})
    assert (side.name, side.kind, side.settings) == ("side", "redis", {"port": 7000})
    assert found.target("redis", {}).settings == {"port": 6380}


def test_a_target_that_is_not_there_did_nothing(folder: Path) -> None:
    with pytest.raises(TargetError, match="has no target 'db' \\(it has redis\\)") as missing:
        load(folder, "staging").target("db", {})
    assert (missing.value.code, missing.value.happened) == ("unconfigured", "no")


def test_a_secret_that_stands_in_the_playbook_is_public_and_warned_about(folder: Path) -> None:
    found = load_environment(None, environ={"DATABASE_PASSWORD": "postgres"}, folders=[])
    redactor = found.hiding({}, ["targets: {db: postgres}"])
    assert redactor.text("kind postgres") == "kind postgres"
    assert any("db.password" in warning for warning in redactor.warnings)
    assert found.hiding({}, ["targets: {}"]).text("kind postgres") == "kind [secret db.password]"

# SPDX-License-Identifier: Apache-2.0
"""Setting up `.venv`: when it is rebuilt, and the messages of failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.local import bootstrap


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project whose installation steps only make the folder they would fill."""
    (tmp_path / "requirements-dev.txt").write_text("rich==15.0.0\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")

    def virtual_environment(venv: Path) -> Path:
        venv.mkdir(exist_ok=True)
        return venv / "bin" / "python"

    monkeypatch.setattr(bootstrap, "virtual_environment", virtual_environment)
    monkeypatch.setattr(bootstrap, "uv_program", lambda venv, python: venv / "uv")
    monkeypatch.setattr(bootstrap, "run", lambda command, environment, what: None)
    return tmp_path


@pytest.mark.parametrize("version", [(3, 10), (3, 15), (4, 0)])
def test_an_unsuitable_python_is_refused_with_the_way_to_name_another(version: tuple[int, int]) -> None:
    with pytest.raises(bootstrap.SetupError, match=r"3\.11 to 3\.14 is needed.*make PYTHON=python3\.11"):
        bootstrap.check_python(version)


@pytest.mark.parametrize("version", [(3, 11), (3, 14)])
def test_a_suitable_python_is_accepted(version: tuple[int, int]) -> None:
    bootstrap.check_python(version)


def test_nothing_is_installed_again_while_the_requirements_stay_the_same(checkout: Path) -> None:
    assert bootstrap.set_up(checkout) is True
    assert bootstrap.set_up(checkout) is False


@pytest.mark.parametrize("name", ["requirements-dev.txt", "pyproject.toml"])
def test_a_changed_file_is_installed_from_again(checkout: Path, name: str) -> None:
    bootstrap.set_up(checkout)
    (checkout / name).write_text("changed\n")
    assert bootstrap.set_up(checkout) is True


def test_an_installation_that_broke_off_is_made_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.set_up(checkout)
    (checkout / "pyproject.toml").write_text("changed\n")

    def broken(command: list[str], environment: dict[str, str], what: str) -> None:
        raise bootstrap.SetupError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "run", broken)
        with pytest.raises(bootstrap.SetupError):
            bootstrap.set_up(checkout)
    (checkout / "pyproject.toml").write_text("[project]\n")
    assert bootstrap.set_up(checkout) is True


def test_a_failing_step_says_which_one_and_where_packages_come_from(tmp_path: Path) -> None:
    with pytest.raises(bootstrap.SetupError, match=r"Installing uv failed with exit code 3.*index"):
        bootstrap.run(["sh", "-c", "exit 3"], {}, "Installing uv")


def test_a_missing_program_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(bootstrap.SetupError, match="Installing uv could not start"):
        bootstrap.run([str(tmp_path / "none")], {}, "Installing uv")


def test_uv_gets_the_index_that_pip_is_configured_with(tmp_path: Path) -> None:
    environment = {"PIP_INDEX_URL": "https://mirror.example/simple", "XDG_CONFIG_HOME": str(tmp_path)}
    assert bootstrap.index_environment(environment)["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX"])
def test_an_index_meant_for_uv_wins_over_pips(tmp_path: Path, variable: str) -> None:
    environment = {
        "PIP_INDEX_URL": "https://pip.example/simple",
        "XDG_CONFIG_HOME": str(tmp_path),
        variable: "https://uv.example/simple",
    }
    assert bootstrap.index_environment(environment) == environment


def test_uvs_own_configuration_file_wins_over_pips_index(tmp_path: Path) -> None:
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "uv.toml").touch()
    environment = {"PIP_INDEX_URL": "https://pip.example/simple", "XDG_CONFIG_HOME": str(tmp_path)}
    assert bootstrap.index_environment(environment) == environment

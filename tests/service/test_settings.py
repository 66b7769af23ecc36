"""Settings that must not be set by accident."""

import pytest

from radiolog.settings import KEEP_IDENTITY, SettingsError, load_settings


@pytest.mark.parametrize("value", ["1", "true", "True", "yes", "on", "keep", KEEP_IDENTITY + "!"])
def test_identities_are_not_kept_for_a_word(value, tmp_path, monkeypatch):
    monkeypatch.setenv("RADIOLOG_KEEP_IDENTITY", value)
    with pytest.raises(SettingsError, match=f"RADIOLOG_KEEP_IDENTITY.*{KEEP_IDENTITY}"):
        load_settings(state_dir=tmp_path)


@pytest.mark.parametrize("value", ["", "0", "false", "No", " off "])
def test_a_no_is_a_no(value, tmp_path, monkeypatch):
    monkeypatch.setenv("RADIOLOG_KEEP_IDENTITY", value)
    assert load_settings(state_dir=tmp_path).keep_identity is False


def test_the_sentence_in_the_environment_or_the_file_keeps_them(tmp_path, monkeypatch):
    monkeypatch.delenv("RADIOLOG_KEEP_IDENTITY", raising=False)
    assert load_settings(state_dir=tmp_path).keep_identity is False
    (tmp_path / "stack.env").write_text(f"RADIOLOG_KEEP_IDENTITY='{KEEP_IDENTITY}'\n")
    assert load_settings(state_dir=tmp_path).keep_identity is True
    monkeypatch.setenv("RADIOLOG_KEEP_IDENTITY", KEEP_IDENTITY.capitalize())
    assert load_settings(state_dir=tmp_path).keep_identity is True

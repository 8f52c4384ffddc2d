"""Settings come from the command line, the environment, a file, or a default, in that order."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landline.config import Settings, load
from landline.config.loading import notes
from landline.config.settings import OPTIONS
from landline.errors import ConfigError
from support.configuration import COMPANIONS, NAMES, SAMPLES, refusal, refusal_of_file


def test_the_samples_cover_every_option_of_this_version() -> None:
    cluster = {"kafka", "postgres", "redis"}
    assert {sample[0] for sample in SAMPLES} | cluster == set(OPTIONS)


@pytest.mark.parametrize(("name", "text", "toml", "value"), SAMPLES)
def test_an_option_means_the_same_wherever_it_is_given(
    name: str, text: str, toml: str, value: object, tmp_path: Path
) -> None:
    file = tmp_path / "landline.toml"
    file.write_text(f"{name} = {toml}\n")
    more = {each: value for each, value in COMPANIONS.get(name, {}).items() if each != name}
    values = {each: OPTIONS[each].kind.parse(text) for each, text in more.items()} | {name: value}
    expected = Settings(**{each.replace("-", "_"): value for each, value in values.items()})
    assert load({name: text, **more}, {}) == expected
    assert load(more, {OPTIONS[name].variable: text}) == expected
    assert load({"config": str(file), **more}, {}) == expected
    assert load(more, {"LANDLINE_CONFIG": str(file)}) == expected


def test_the_command_line_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "landline.toml"
    file.write_text('port = 1\nserver-id = "file"\nack-timeout = "1s"\n')
    environment = {
        "LANDLINE_CONFIG": str(file),
        "LANDLINE_PORT": "2",
        "LANDLINE_SERVER_ID": "environment",
    }
    settings = load({"port": "3"}, environment)
    assert settings == Settings(port=3, server_id="environment", ack_timeout=1.0)


def test_the_command_line_can_take_back_a_flag_of_the_environment() -> None:
    assert load({"insecure": "false"}, {"LANDLINE_INSECURE": "yes"}) == Settings()


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({}, {"LANDLINE_PORT": "", "LANDLINE_CONFIG": ""}) == Settings()


def test_variables_of_others_are_left_alone() -> None:
    assert load({}, {"LANDLINE_HOME": "/opt/landline", "LANDLINE": "1", "PORT": "x"}) == Settings()


def test_a_file_may_begin_with_a_byte_order_mark_and_have_the_line_ends_of_windows(
    tmp_path: Path,
) -> None:
    file = tmp_path / "landline.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 9000\r\nserver-id = 'ws-1'\r\n")
    assert load({"config": str(file)}, {}) == Settings(port=9000, server_id="ws-1")


def test_the_port_that_kubernetes_sets_for_a_service_called_landline_is_ignored() -> None:
    environment = {
        "LANDLINE_PORT": "tcp://10.96.0.7:8081",
        "LANDLINE_SERVICE_HOST": "10.96.0.7",
        "LANDLINE_SERVICE_PORT": "8081",
        "LANDLINE_SERVICE_PORT_HTTP": "8081",
        "LANDLINE_PORT_8081_TCP": "tcp://10.96.0.7:8081",
        "LANDLINE_PORT_8081_TCP_PROTO": "tcp",
        "LANDLINE_PORT_8081_TCP_PORT": "8081",
        "LANDLINE_PORT_8081_TCP_ADDR": "10.96.0.7",
        "LANDLINE_PORT_53_UDP": "udp://10.96.0.7:53",
        "LANDLINE_HOST_SERVICE_HOST": "10.96.0.8",
        "LANDLINE_HOST_SERVICE_PORT": "8081",
        "LANDLINE_HOST_PORT": "tcp://10.96.0.8:8081",
    }
    assert load({}, environment) == Settings()
    assert load({"port": "9000"}, environment) == Settings(port=9000)
    [note] = notes(environment)
    assert note.startswith("LANDLINE_PORT=tcp://10.96.0.7:8081 is what Kubernetes sets")
    assert notes({"LANDLINE_PORT": "9000"}) == []
    assert "not a port" in refusal({}, {"LANDLINE_PORT": "http://10.96.0.7:8081"})


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "port = " + "9" * 5_000, "port = 1\nport = 2", "a = 1\x00", "x" * 100_000],
)
def test_a_file_that_stops_the_parser_is_refused_as_well(content: str, tmp_path: Path) -> None:
    sentence = refusal_of_file(tmp_path, content)
    assert "this file is not TOML" in sentence
    assert "; correct it: " in sentence
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "config"])
@pytest.mark.parametrize("number", ["0x" + "f" * 5_000, "0o" + "7" * 9_000, "0b" + "1" * 30_000])
def test_a_number_of_thousands_of_digits_is_refused(name: str, number: str, tmp_path: Path) -> None:
    sentence = refusal_of_file(tmp_path, f"{name} = {number}")
    assert sentence.startswith(f"{name} = 0x")
    assert len(sentence) < 1_000
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=50)
@given(
    text=st.text(st.characters(), max_size=40)
    | st.sampled_from(["9", "a", "[", "h:1,"]).map(lambda s: s * 3_000)
)
def test_whatever_is_given_the_answer_is_settings_or_two_clear_lines(name: str, text: str) -> None:
    """All the way, as an operator meets it: no traceback, nothing that garbles the terminal."""
    try:
        load({name: text}, {})
    except ConfigError as error:
        sentence = str(error)
        assert len(sentence.split("\n")) <= 2
        assert sentence.replace("\n", "").isprintable()
        assert len(sentence) < 600
        assert name in sentence


def test_an_error_names_the_option_in_the_form_in_which_it_was_given(tmp_path: Path) -> None:
    assert refusal({"port": "x"}).startswith("--port x is not a port")
    assert refusal({}, {"LANDLINE_PORT": "x"}).startswith("LANDLINE_PORT=x is not a port")
    sentence = refusal({}, {"LANDLINE_INSECURE": "maybe"})
    assert sentence == "LANDLINE_INSECURE=maybe is neither true nor false: give true or false"
    sentence = refusal_of_file(tmp_path, 'port = "x"')
    assert sentence.startswith(f'port = "x" in {tmp_path}/landline.toml is not a port')


@pytest.mark.parametrize(
    ("toml", "beginning"),
    [
        ("prt = 1", "prt in FILE is not an option: did you mean port?"),
        ("ack_timeout = '60s'", "ack_timeout in FILE is not an option: did you mean ack-timeout?"),
        ("zzz = 1", "zzz in FILE is not an option: see landline serve --help"),
        ("port = true", "port = true in FILE has the wrong type: give port = 8081"),
        ("insecure = 'yes'", 'insecure = "yes" in FILE has the wrong type: give insecure = true'),
        ("host = 1", 'host = 1 in FILE has the wrong type: give host = "HOST"'),
        ("ack-timeout = 60", "ack-timeout = 60 in FILE is not a duration: give a number with its"),
        ("roles = [1]", "roles = [...] in FILE has the wrong type"),
        ("[postgres]\nurl = 'secret'", "postgres = {...} in FILE has the wrong type"),
        ("port = = 1", "--config FILE: this file is not TOML: Invalid value (at line 1"),
    ],
)
def test_a_file_that_cannot_work_is_refused(toml: str, beginning: str, tmp_path: Path) -> None:
    sentence = refusal_of_file(tmp_path, toml).replace(f"{tmp_path}/landline.toml", "FILE")
    assert sentence.startswith(beginning)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    sentence = refusal({}, {"LANDLINE_CONFIG": str(tmp_path / "none.toml")})
    assert sentence.startswith(f"LANDLINE_CONFIG={tmp_path}/none.toml: this file cannot be read")
    assert "No such file" in sentence
    (tmp_path / "latin1.toml").write_bytes(b"host = '\xe9'")
    sentence = refusal({"config": str(tmp_path / "latin1.toml")})
    assert sentence.endswith("it is not UTF-8; save it as UTF-8")


@pytest.mark.parametrize(
    "folder",
    ["a" * 250, "/".join(["a folder"] * 30), "\u00e4" * 100],
    ids=["long", "deep", "other letters"],
)
def test_the_file_s_path_is_shown_whole_however_long_it_is(folder: str, tmp_path: Path) -> None:
    long = tmp_path / folder
    long.mkdir(parents=True)
    file = long / "landline.toml"
    assert refusal({"config": str(file)}).startswith(f"--config {file}: this file cannot be read")
    assert refusal({}, {"LANDLINE_CONFIG": str(file)}).startswith(f"LANDLINE_CONFIG={file}: this")
    assert refusal_of_file(long, "prt = 1").startswith(f"prt in {file} is not an option")
    assert refusal_of_file(long, "port = true").startswith(f"port = true in {file} has the wrong")


def slips(variable: str) -> set[str]:
    """Return the names that a slip of the pen makes of this one: a letter wrong, missing, twice, or
    swapped with the next; or small letters.
    """
    prefix, _, name = variable.partition("_")
    made = {name.lower()}
    for at in range(len(name)):
        begin, letter, end = name[:at], name[at], name[at + 1 :]
        made |= {f"{begin}Z{end}", begin + end, begin + letter * 2 + end}
        made.add(begin + end[:1] + letter + end[1:])
    return {f"{prefix}_{each}" for each in made if each != name}


@pytest.mark.parametrize("variable", [each.variable for each in OPTIONS.values()])
def test_a_slip_in_the_name_of_a_variable_is_refused(variable: str) -> None:
    for slip in slips(variable):
        sentence = refusal({}, {slip: "9000"})
        assert sentence.startswith(f"{slip} in the environment is not an option")
        assert f"{variable}?" in sentence


@pytest.mark.parametrize("name", ["HOME", "VERSION", "IMAGE", "URL", "TOKEN", "DATA", "LOG", ""])
def test_a_variable_that_is_no_slip_is_somebody_s_own_business(name: str) -> None:
    assert load({}, {f"LANDLINE_{name}": "x"}) == Settings()

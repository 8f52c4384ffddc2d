"""How each control is switched off: one place of the sources, and the test that notices."""

from dataclasses import dataclass
from typing import Final

_GATEWAY: Final = "src/landline/gateway"
_ROWS: Final = "e2e/test_security_rows.py"
_HOSTILE: Final = "e2e/test_hostile_clients.py"
_HANDSHAKES: Final = "e2e/test_handshakes.py"
_TOKENS: Final = "unit/auth/test_tokens.py"
_SIGN_IN: Final = "e2e/test_sign_in.py"
_LIMITS: Final = "e2e/test_limits.py"
_BREACHES: Final = (
    f"{_HOSTILE}::test_a_client_that_breaks_the_websocket_protocol_is_told_the_right_close_code"
)
_BAD_TOKENS: Final = (
    f"{_TOKENS}::test_a_bad_token_is_refused_in_a_sentence_that_holds_nothing_of_it"
)


@dataclass(frozen=True, slots=True)
class Switch:
    """`control` is the row's number. Off, `on` in `file` reads `off`, and `test` (below `tests/`)
    fails.
    """

    control: str
    what: str
    file: str
    on: str
    off: str
    test: str


SWITCHES: Final = (
    Switch(
        "S01",
        "pages of other sites are refused",
        f"{_GATEWAY}/origins.py",
        "if self._listed or not is_same_origin(origin, host, scheme):",
        "if False:",
        f"{_HANDSHAKES}::test_pages_of_other_sites_are_refused_before_the_upgrade",
    ),
    Switch(
        "S01",
        "a name that was pointed at this machine is not its own",
        f"{_GATEWAY}/origins.py",
        "if self._is_local and not is_loopback(_host(host)):",
        "if False:",
        f"{_HANDSHAKES}::test_a_name_that_was_pointed_at_this_machine_is_no_same_origin",
    ),
    Switch(
        "S02",
        "a token in an address is none",
        f"{_GATEWAY}/listener.py",
        '            request.headers.get("authorization", ()),\n',
        '            [f"Bearer {each}" for each in query.get("token", ())]'
        ' or request.headers.get("authorization", ()),\n',
        f"{_SIGN_IN}::test_nothing_in_the_address_signs_anybody_in",
    ),
    Switch(
        "S02",
        "a query is in no line of the log",
        f"{_GATEWAY}/request_facts.py",
        '"path": _QUERY.split(_without_credentials(rest), maxsplit=1)[0],',
        '"path": rest,',
        f"{_SIGN_IN}::test_no_token_is_ever_shown",
    ),
    Switch(
        "S02",
        "a token in a path is in no line of the log",
        f"{_GATEWAY}/request_facts.py",
        "_without_tokens(value)[:SHOWN_CHARACTERS]",
        "value[:SHOWN_CHARACTERS]",
        f"{_SIGN_IN}::test_no_token_is_ever_shown",
    ),
    Switch(
        "S03",
        "a request has five seconds",
        f"{_GATEWAY}/http_connection.py",
        "HANDSHAKE_SECONDS: Final = 5.0",
        "HANDSHAKE_SECONDS: Final = 5_000.0",
        f"{_ROWS}::test_sockets_that_say_nothing_leave_nothing",
    ),
    Switch(
        "S03",
        "a first frame has five seconds",
        f"{_GATEWAY}/sign_in.py",
        "SIGN_IN_SECONDS: Final = 5.0",
        "SIGN_IN_SECONDS: Final = 5_000.0",
        f"{_SIGN_IN}::test_whoever_says_nothing_or_too_much_before_it_is_known_who_they_are_has_to_go",
    ),
    Switch(
        "S03",
        "and 8 KiB",
        f"{_GATEWAY}/sign_in.py",
        "return self._bytes > SIGN_IN_BYTES",
        "return False",
        f"{_SIGN_IN}::test_whoever_says_nothing_or_too_much_before_it_is_known_who_they_are_has_to_go",
    ),
    Switch(
        "S04",
        "a signature is checked",
        "src/landline/auth/tokens.py",
        "options=_OPTIONS,",
        'options={**_OPTIONS, "verify_signature": False},',
        _BAD_TOKENS,
    ),
    Switch(
        "S04",
        "the issuer is checked",
        "src/landline/auth/tokens.py",
        "issuer=self._claims.issuer,",
        "issuer=None,",
        _BAD_TOKENS,
    ),
    Switch(
        "S04",
        "a token has a bound",
        "src/landline/auth/tokens.py",
        "if len(token) > TOKEN_BYTES:",
        "if False:",
        _BAD_TOKENS,
    ),
    Switch(
        "S05",
        "a session ends with its token",
        f"{_GATEWAY}/connection.py",
        "if ends_at is not None and self._owner.clock.wall_ms() >= ends_at * 1000:",
        "if False:",
        f"{_SIGN_IN}::test_a_session_ends_with_its_token_unless_a_fresh_one_came_before",
    ),
    Switch(
        "S05",
        "an administrator ends sessions",
        f"{_GATEWAY}/hub.py",
        "return self._delivery.close_user(user, CloseCode.FORBIDDEN, CloseCode.FORBIDDEN.means)",
        "return 0",
        "e2e/test_sessions_over_http.py::test_sessions_are_listed_and_closed_wherever_they_are",
    ),
    Switch(
        "S06",
        "a name beside a token is the token's",
        f"{_GATEWAY}/gatekeeper.py",
        "if name not in (None, principal.user):",
        "if False:",
        f"{_SIGN_IN}::test_a_name_beside_a_token_must_be_the_tokens",
    ),
    Switch(
        "S06",
        "users write in their own name",
        "src/landline/api/parts.py",
        "if not principal.is_service:",
        "if False:",
        "e2e/test_messages_over_http.py::test_a_service_writes_in_any_name_and_a_user_in_their_own",
    ),
    Switch(
        "S07",
        "an id is made from its sender",
        "src/landline/protocol/identity.py",
        '_uuid_of(b"landline.message", sender, ref,',
        '_uuid_of(b"landline.message", ref,',
        "unit/protocol/test_identity.py::test_another_sender_ref_conversation_or_content_is_another_message",
    ),
    Switch(
        "S08",
        "fragments have a bound together",
        f"{_GATEWAY}/fragments.py",
        "self._size_bytes > FRAME_BYTES or",
        "",
        _BREACHES,
    ),
    Switch(
        "S09",
        "a compressed frame is refused",
        f"{_GATEWAY}/connection.py",
        "if self._closing is None and (frame.rsv1 or frame.rsv2 or frame.rsv3):",
        "if False:",
        f"{_ROWS}::test_a_bomb_is_refused_and_not_inflated",
    ),
    Switch(
        "S10",
        "a message has so many fragments",
        f"{_GATEWAY}/fragments.py",
        "FRAGMENTS = 128",
        "FRAGMENTS = 1_000_000_000",
        _BREACHES,
    ),
    Switch(
        "S10",
        "connections take turns",
        f"{_GATEWAY}/turns.py",
        "return now < taker.turn_until and now < self._round_until",
        "return True",
        "unit/gateway/test_turns.py::test_another_client_is_served_while_one_floods",
    ),
    Switch(
        "S11",
        "values are read strictly",
        "src/landline/protocol/strict_json.py",
        "    _check_values(parsed)\n",
        "",
        "e2e/test_hostile_frames.py::test_every_bad_frame_gets_its_error_and_the_connection_lives_on",
    ),
    Switch(
        "S12",
        "messages have a rate",
        "src/landline/delivery/sends.py",
        "if not (rates.are_limited and sender.intake.is_limited):",
        "if True:",
        f"{_LIMITS}::test_what_comes_too_fast_is_refused_and_told_when_to_come_back",
    ),
    Switch(
        "S12",
        "frames have a rate",
        f"{_GATEWAY}/connection.py",
        "            self._keep_pace(self._pace)\n",
        "            pass\n",
        f"{_LIMITS}::test_frames_above_the_limit_wait_and_none_is_dropped",
    ),
    Switch(
        "S13",
        "addresses and users have so many connections",
        f"{_GATEWAY}/doors.py",
        "if most and name and counts[name] >= most:",
        "if False:",
        f"{_LIMITS}::test_an_address_has_so_many_connections_and_handshakes",
    ),
    Switch(
        "S13",
        "silent sockets count",
        f"{_GATEWAY}/doors.py",
        "if most and self._sockets[place] >= most:",
        "if False:",
        f"{_LIMITS}::test_sockets_that_say_nothing_are_counted_by_their_address",
    ),
    Switch(
        "S13",
        "files are kept back",
        "src/landline/app/front.py",
        "RESERVED_FILES = 64",
        "RESERVED_FILES = 0",
        f"{_ROWS}::test_the_last_files_are_not_for_clients",
    ),
    Switch(
        "S14",
        "a head has so many bytes",
        f"{_GATEWAY}/http_request.py",
        "HEAD_BYTES: Final = 16 * 1024",
        "HEAD_BYTES: Final = 16 * 1024 * 1024",
        f"{_HANDSHAKES}::test_huge_requests_are_refused",
    ),
    Switch(
        "S14",
        "and so many headers",
        f"{_GATEWAY}/http_request.py",
        "HEADERS: Final = 100",
        "HEADERS: Final = 100_000",
        f"{_HANDSHAKES}::test_huge_requests_are_refused",
    ),
    Switch(
        "S15",
        "a client that does not read is closed",
        f"{_GATEWAY}/connection.py",
        "if Pause.WRITING in self._pauses and self._buffered() > WRITE_LIMIT_BYTES:",
        "if False:",
        "unit/gateway/test_connection.py::test_a_client_that_never_reads_is_closed_when_a_mebibyte_waits",
    ),
    Switch(
        "S16",
        "a peer that does not answer is gone",
        f"{_GATEWAY}/heartbeat.py",
        "return self._pinged_at is not None and now - self._pinged_at > PONG_WITHIN_SECONDS",
        "return False",
        "unit/gateway/test_heartbeat.py::test_a_silent_peer_is_pinged_once_and_then_gone",
    ),
    Switch(
        "S17",
        "fragments have an order",
        f"{_GATEWAY}/fragments.py",
        "if is_first == bool(self._pieces):",
        "if False:",
        _BREACHES,
    ),
    Switch(
        "S18",
        "lines of the log escape",
        "src/landline/observability/formats.py",
        "    return _CONTROLS.sub(_escaped, text)\n",
        "    return text\n",
        "unit/observability/test_formats.py::test_control_characters_are_escaped",
    ),
    Switch(
        "S19",
        "names are in normal form",
        "src/landline/protocol/identity.py",
        'if not _unnameable(name) and not unicodedata.is_normalized("NFC", name):',
        "if False:",
        f"{_ROWS}::test_of_two_spellings_of_a_name_one_is_none",
    ),
    Switch(
        "S20",
        "a page has a bound",
        f"{_GATEWAY}/replay.py",
        "[each.query._replace(limit_bytes=share) for each in wanted]",
        "[each.query for each in wanted]",
        "unit/gateway/test_replay.py::test_an_answer_has_a_bound_in_bytes",
    ),
    Switch(
        "S22",
        "Kafka in plain text is warned of",
        "src/landline/app/plaintext.py",
        'if servers and not protocol.endswith("ssl"):',
        "if False:",
        "unit/app/test_plaintext.py::test_kafka_in_plain_text_is_named",
    ),
    Switch(
        "S23",
        "only a trusted proxy is believed",
        f"{_GATEWAY}/addresses.py",
        "if address is None or not self._trusts(address):",
        "if address is None:",
        "unit/gateway/test_addresses.py::test_without_trusted_proxies_nobody_is_believed",
    ),
    Switch(
        "S24",
        "strangers see no metrics",
        "src/landline/app/front.py",
        "is_for_operators=not has_admin and not is_reached_by_others,",
        "is_for_operators=True,",
        "e2e/test_admin_listener.py::test_the_main_one_has_neither_metrics_nor_reasons_then",
    ),
    Switch(
        "S25",
        "a traceback has no values",
        "src/landline/observability/formats.py",
        'text = "".join(traceback.format_exception(exception))',
        "found = traceback.TracebackException.from_exception(exception, capture_locals=True)\n"
        '    text = "".join(found.format())',
        "unit/observability/test_formats.py::test_an_exception_becomes_a_field_of_its_own_without_local_variables",
    ),
    Switch(
        "S26",
        "codes are a closed set",
        "src/landline/protocol/codes.py",
        '"unknown_type"',
        '"no_such_type"',
        "e2e/test_hostile_frames.py::test_every_bad_frame_gets_its_error_and_the_connection_lives_on",
    ),
    Switch(
        "S28",
        "what is installed has its hash",
        "scripts/setup",
        " --require-hashes",
        "",
        "unit/test_supply_chain.py::test_a_changed_hash_stops_the_install",
    ),
)

"""The controls against hostile clients and hostile input: each with its rule and what tries it.

`make docs` writes them into docs/security.md, tests/unit/test_docs_security.py checks them.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Row:
    """One control. `tests` are `module::function`, the module below `tests/`."""

    attempt: str
    rule: str
    figure: str
    tests: tuple[str, ...]

    def cells(self, number: str) -> str:
        """Return it as a line of the page's table."""
        tests = ", ".join(f"`tests/{test}`" for test in self.tests)
        return f"| {number} | {self.attempt} | {self.rule} | {tests} | {self.figure} |"


_HANDSHAKES: Final = "e2e/test_handshakes.py"
_HOSTILE: Final = "e2e/test_hostile_clients.py"
_FRAMES: Final = "e2e/test_hostile_frames.py"
_ROWS: Final = "e2e/test_security_rows.py"
_TOKENS: Final = "unit/auth/test_tokens.py"
_SIGN_IN: Final = "e2e/test_sign_in.py"
_KEYS: Final = "e2e/test_keys.py"
_CLUSTER: Final = "cluster/test_sign_in.py"
_LIMITS: Final = "e2e/test_limits.py"
_FUZZ: Final = "fuzz/test_fuzz.py"

ROWS: Final = {
    "S01": Row(
        "A page of another site opens a WebSocket in a user's browser.",
        "`Origin` is compared as a whole with the allowed ones, before the upgrade. `null`, and"
        " more than one `Origin`, are refused.",
        "28 hostile origins for each kind of allowed one, and a name that was pointed at"
        " 127.0.0.1: all 403",
        (
            f"{_HANDSHAKES}::test_pages_of_other_sites_are_refused_before_the_upgrade",
            f"{_HANDSHAKES}::test_a_name_that_was_pointed_at_this_machine_is_no_same_origin",
            f"{_ROWS}::test_one_request_has_one_origin",
        ),
    ),
    "S02": Row(
        "A token is read from an address, a log or an error.",
        "A token comes in a header or in the first frame, never in an address. Nothing that is"
        " written holds one.",
        "no part of 73 bad tokens in what is said about them",
        (
            f"{_TOKENS}::test_a_bad_token_is_refused_in_a_sentence_that_holds_nothing_of_it",
            f"{_SIGN_IN}::test_nothing_in_the_address_signs_anybody_in",
            f"{_SIGN_IN}::test_no_token_is_ever_shown",
            "browser/test_sign_in.py::test_the_token_of_a_link_is_in_no_address_that_is_sent_or_kept",
        ),
    ),
    "S03": Row(
        "Sockets are opened and say nothing.",
        "A request has 5 s and 16 KiB. While a token is awaited, a session has 5 s and 8 KiB, and"
        " costs a socket.",
        "1,000 silent sockets at once, and 200 silent or slow ones: all cut, every file given back,"
        " and under 16 MiB more than before",
        (
            f"{_HANDSHAKES}::test_silent_sockets_and_slow_headers_are_cut",
            f"{_ROWS}::test_sockets_that_say_nothing_leave_nothing",
            f"{_SIGN_IN}::test_whoever_does_not_sign_in_is_sent_away",
            f"{_SIGN_IN}::test_whoever_says_nothing_or_too_much_before_it_is_known_who_they_are_has_to_go",
        ),
    ),
    "S04": Row(
        "A token is forged, changed, borrowed from another service, or too old.",
        "Four algorithms, each with keys of its own kind. Issuer, audience, `exp` and `nbf` are"
        " checked; clocks may differ by 5 s at the end of a token and by 30 s at its beginning.",
        "73 bad tokens and 12 of another algorithm refused, good ones of all four taken",
        (
            f"{_TOKENS}::test_a_bad_token_is_refused_in_a_sentence_that_holds_nothing_of_it",
            f"{_TOKENS}::test_a_public_key_is_no_secret",
            f"{_TOKENS}::test_a_key_is_for_its_own_algorithm",
            f"{_TOKENS}::test_a_good_token_says_who_it_is",
            "unit/auth/test_jwks.py::test_while_the_issuer_is_away_the_last_keys_stay",
            "unit/auth/test_jwks.py::test_many_who_wait_are_one_question",
            f"{_SIGN_IN}::test_a_bad_token_is_refused_before_the_upgrade",
            f"{_SIGN_IN}::test_keys_are_read_anew_on_sighup",
            f"{_KEYS}::test_tokens_of_every_algorithm_are_taken_in_the_header_and_the_first_frame",
            f"{_KEYS}::test_a_new_key_is_found_and_one_that_was_taken_back_is_gone_with_that",
            f"{_KEYS}::test_issuer_and_audience_are_the_ones_that_were_asked_for",
            f"{_FUZZ}::test_no_token_is_taken_for_another_s_and_none_trips_the_check",
        ),
    ),
    "S05": Row(
        "A session outlives the right to it.",
        "It ends at its token's `exp`, also while Redis is down. An administrator ends all"
        " sessions of a user on every server.",
        "every session on every server: by a hint, by the poll where Redis or the topic is away,"
        " and whatever is lost on the way",
        (
            f"{_SIGN_IN}::test_a_session_ends_with_its_token_unless_a_fresh_one_came_before",
            f"{_CLUSTER}::test_sessions_end_with_their_token_while_redis_is_dead",
            "e2e/test_sessions_over_http.py::test_sessions_are_listed_and_closed_wherever_they_are",
            "cluster/test_revocations.py::test_a_hint_alone_ends_the_sessions_on_every_server",
            "cluster/test_revocations.py::test_sessions_end_on_every_server_whatever_redis_does",
            "cluster/test_revocations.py::test_without_the_routing_topic_they_end_by_the_poll",
            "unit/gateway/test_revocations.py::test_nobody_slips_through_whatever_is_lost_late_or_out_of_order",
        ),
    ),
    "S06": Row(
        "A client writes in somebody else's name.",
        "The sender is the session's user, never a field of a frame. Only a service may say whom it"
        " acts for. With `--authorize-url` the product says who may write to whom, before the log.",
        "every field that could name a sender, in every frame: ignored",
        (
            f"{_ROWS}::test_the_sender_is_the_session_whatever_a_frame_says",
            f"{_HANDSHAKES}::test_nobody_without_a_good_name_is_let_in",
            "simulation/mutants/sends.py::id_without_sender",
            f"{_SIGN_IN}::test_a_name_beside_a_token_must_be_the_tokens",
            "e2e/test_messages_over_http.py::test_a_service_writes_in_any_name_and_a_user_in_their_own",
            "unit/api/test_sessions.py::test_users_see_and_close_nobody_s_sessions_not_even_their_own",
            "e2e/test_authorize.py::test_the_product_is_asked_once_for_a_pair",
            "e2e/test_authorize.py::test_without_an_answer_it_is_busy_until_there_is_one",
            f"{_CLUSTER}::test_the_product_is_asked_before_the_log",
        ),
    ),
    "S07": Row(
        "Ids and receipts of others are used.",
        "An id is made from the sender. An ack counts only for what this session was pushed.",
        "13 kinds of foreign ack, from the sender and from a stranger: none counts",
        (
            f"{_HOSTILE}::test_no_ack_of_anybody_else_makes_a_message_delivered",
            "e2e/test_promise.py::test_an_ack_of_what_was_never_received_counts_for_nothing",
            (
                "unit/protocol/test_identity.py::"
                "test_another_sender_ref_conversation_or_content_is_another_message"
            ),
        ),
    ),
    "S08": Row(
        "Messages are too large, whole or in fragments.",
        "64 KiB for all fragments together, then 1009.",
        "60 attacks at once: under 256 KiB each where the header says it, under 2 MiB where"
        " only the fragments do",
        (
            (
                f"{_HOSTILE}::test_a_client_that_breaks_the_websocket_protocol_is_told_the_right_"
                "close_code"
            ),
            f"{_HOSTILE}::test_an_attack_costs_bounded_memory",
        ),
    ),
    "S09": Row(
        "A small compressed frame becomes a huge one.",
        "Compression is never negotiated. A compressed frame is 1002, and is not inflated.",
        "100 bombs of 1000:1 at once: under 64 MiB together",
        (
            f"{_HANDSHAKES}::test_what_is_negotiated",
            f"{_ROWS}::test_a_bomb_is_refused_and_not_inflated",
        ),
    ),
    "S10": Row(
        "Fragments, pings or frames come without end.",
        "128 fragments a frame, empty ones too. Connections take turns in the event loop.",
        "100,000 empty fragments: 1009; 10,000 pings of 30 clients at once: others are served",
        (
            (
                f"{_HOSTILE}::test_a_client_that_breaks_the_websocket_protocol_is_told_the_right_"
                "close_code"
            ),
            f"{_HOSTILE}::test_an_attack_costs_bounded_memory",
            "unit/gateway/test_turns.py::test_pings_and_fragments_take_turns_too",
            "unit/gateway/test_turns.py::test_another_client_is_served_while_one_floods",
            f"{_LIMITS}::test_frames_above_the_limit_wait_and_none_is_dropped",
        ),
    ),
    "S11": Row(
        "JSON is deep, ambiguous, or costly to read.",
        "JSON is read strictly, within bounds: 16 levels, no name twice, no NaN, integers of 64"
        " bits, no lone surrogates. A bad frame gets an error and hurts nobody.",
        "172 bad frames on one connection, which lives on",
        (
            (
                "unit/protocol/test_frames.py::"
                "test_depth_and_digits_without_end_are_refused_and_hurt_nobody"
            ),
            f"{_FRAMES}::test_every_bad_frame_gets_its_error_and_the_connection_lives_on",
            (
                "unit/protocol/test_frames_fuzz.py::"
                "test_a_token_at_every_place_of_a_frame_is_taken_or_refused"
            ),
            f"{_FUZZ}::test_no_frame_handshake_or_request_trips_the_server",
        ),
    ),
    "S12": Row(
        "One user sends far more than others.",
        "Messages, bytes and frames have a rate. What is above it is refused before the log,"
        " with the time after which it would be taken.",
        "of ten times the rate as much as is allowed passes, over a minute",
        (
            "unit/delivery/test_rates.py::test_over_a_minute_as_much_passes_as_is_allowed",
            "unit/delivery/test_rates.py::test_users_do_not_share",
            "unit/delivery/test_rates.py::test_who_waits_as_they_are_told_is_not_refused_again",
            "e2e/test_flood.py::test_a_flood_keeps_nobody_else_waiting",
            f"{_LIMITS}::test_what_comes_too_fast_is_refused_and_told_when_to_come_back",
            f"{_LIMITS}::test_bytes_are_counted_too",
            f"{_LIMITS}::test_frames_above_the_limit_wait_and_none_is_dropped",
        ),
    ),
    "S13": Row(
        "One user or address takes all connections.",
        "A user has 20 and an address 100 connections, and an address 20 handshakes a second."
        " The last 64 files of the process are never given to clients.",
        "with 128 files every upgrade beyond 64 sessions is a 503, and pages and sends go on",
        (
            (
                "unit/gateway/test_doors.py::"
                "test_an_address_has_so_many_connections_and_others_have_theirs"
            ),
            "unit/gateway/test_doors.py::test_a_user_has_so_many_connections_from_wherever",
            "unit/gateway/test_doors.py::test_silent_sockets_have_a_limit_as_well",
            "unit/gateway/test_doors.py::test_handshakes_have_a_rate",
            f"{_ROWS}::test_the_last_files_are_not_for_clients",
            f"{_LIMITS}::test_an_address_has_so_many_connections_and_handshakes",
            f"{_LIMITS}::test_sockets_that_say_nothing_are_counted_by_their_address",
            f"{_SIGN_IN}::test_a_user_has_so_many_connections",
        ),
    ),
    "S14": Row(
        "Headers are sent a byte at a time, or without end.",
        "One deadline of 5 s for the whole head, 16 KiB and 100 headers.",
        "100 slow clients at once: all cut, and a good one connects meanwhile",
        (
            f"{_HANDSHAKES}::test_silent_sockets_and_slow_headers_are_cut",
            f"{_HANDSHAKES}::test_huge_requests_are_refused",
            "e2e/test_http.py::test_headers_over_the_limit_are_told",
            "e2e/test_http.py::test_a_client_that_never_finishes_its_request_is_told_and_noted",
            (
                "unit/gateway/test_http_connection.py::"
                "test_the_limit_of_a_head_is_the_same_however_its_bytes_come"
            ),
            "e2e/test_tls.py::test_slow_handshakes_are_cut_and_keep_nobody_waiting",
        ),
    ),
    "S15": Row(
        "A client does not read what it is sent.",
        "Its window and its write buffer are bounded. The rest waits in the store.",
        "256 messages and 1 MiB, then 4408",
        (
            "e2e/test_promise.py::test_a_client_that_does_not_read_slows_nobody_down",
            (
                "unit/gateway/test_connection.py::"
                "test_a_client_that_never_reads_is_closed_when_a_mebibyte_waits"
            ),
            "simulation/mutants/connecting.py::window_unbounded",
        ),
    ),
    "S16": Row(
        "A client is gone and its connection stays.",
        "A ping after 20 s of silence; without an answer within 15 s the connection is cut.",
        "1,000 dead peers: all gone, every file given back, and one that answers stays",
        (
            f"{_ROWS}::test_dead_peers_are_cleared_away",
            ("unit/gateway/test_heartbeat.py::test_a_silent_peer_is_pinged_once_and_then_gone"),
            (
                "unit/gateway/test_connection.py::"
                "test_a_silent_client_is_asked_and_cut_when_it_does_not_answer"
            ),
        ),
    ),
    "S17": Row(
        "The WebSocket protocol is broken.",
        "RFC 6455 is read strictly: the right close code, for that connection alone.",
        "65 kinds of breach, each with its close code",
        (
            (
                f"{_HOSTILE}::test_a_client_that_breaks_the_websocket_protocol_is_told_the_right_"
                "close_code"
            ),
            f"{_HOSTILE}::test_fragments_and_control_frames_in_between_are_put_together",
            "conformance/test_conformance.py::test_all_cases_are_passed_and_the_lists_of_exceptions_are_right",
        ),
    ),
    "S18": Row(
        "Names and contents try to steer logs, terminals, SQL or keys.",
        "Names are validated. Log lines and screens escape. Queries have parameters.",
        "29 names with quotes, wildcards, markup, letters of 4 bytes and from right to left"
        " through every path; no SQL in the source is put together from values",
        (
            f"{_ROWS}::test_every_name_means_itself_and_garbles_nothing",
            f"{_ROWS}::test_no_name_that_is_refused_garbles_a_log_or_an_answer",
            "unit/test_sql.py::test_no_sql_is_put_together_from_values",
            "contract/test_directory.py::test_every_name_means_itself",
            "unit/observability/test_formats.py::test_control_characters_are_escaped",
            "unit/observability/test_formats.py::test_no_text_breaks_a_line",
            "unit/terminal/test_screen.py::test_nothing_that_others_write_can_steer_the_screen",
        ),
    ),
    "S19": Row(
        "Two names look the same.",
        "A name is in normal form C, without invisible characters, and is taken as it is.",
        "of every pair that normalises alike one is refused, as a user and as a recipient",
        (
            f"{_ROWS}::test_of_two_spellings_of_a_name_one_is_none",
            (
                "unit/protocol/test_identity.py::"
                "test_what_could_be_mistaken_for_another_name_is_none"
            ),
        ),
    ),
    "S20": Row(
        "A user reconnects without end, and each time everything is replayed.",
        "Two requests for pages run at once, and a page is bounded. A slow mailbox keeps"
        " nobody else waiting.",
        "300 reconnects with 2,000 messages pending: a message between two others arrives",
        (
            f"{_ROWS}::test_reconnecting_without_end_keeps_nobody_else_waiting",
            "unit/gateway/test_replay.py::test_a_bad_mailbox_keeps_nobody_else_waiting",
            "unit/gateway/test_replay.py::test_an_answer_has_a_bound_in_bytes",
        ),
    ),
    "S22": Row(
        "Somebody on the inner network listens, or misuses a server's account.",
        "TLS and passwords to Kafka, PostgreSQL and Redis. A server's accounts can do what it"
        " needs and nothing else. A line without TLS that leaves the machine is warned of.",
        "the rights of [deploy.md](deploy.md) are enough; 30 things beyond them are refused",
        (
            "stack/test_least_rights.py::test_the_rights_of_the_page_are_enough",
            "stack/test_least_rights.py::test_the_rights_of_the_page_are_no_more_than_needed",
            "stack/test_tls.py::test_a_message_goes_its_way_through_tls",
            "stack/test_tls.py::test_an_authority_that_is_not_theirs_is_told_in_a_line",
            "unit/app/test_plaintext.py::test_kafka_in_plain_text_is_named",
            "unit/app/test_plaintext.py::test_postgres_that_need_not_speak_tls_is_named_without_its_password",
            "unit/app/test_plaintext.py::test_redis_in_plain_text_is_named_without_its_password",
        ),
    ),
    "S23": Row(
        "A client makes up the address it comes from.",
        "`X-Forwarded-For` and its like count only from a proxy of `--trusted-proxies`.",
        "lists with forged entries at every place: the first address that no trusted proxy has",
        (
            "unit/gateway/test_addresses.py::test_where_it_comes_from",
            ("unit/gateway/test_addresses.py::test_without_trusted_proxies_nobody_is_believed"),
            f"{_LIMITS}::test_behind_a_trusted_proxy_the_client_is_counted_and_nobody_can_pretend",
            f"{_SIGN_IN}::test_a_trusted_proxy_says_who_it_is_and_nobody_else",
        ),
    ),
    "S24": Row(
        "Strangers read the metrics.",
        "They have a listener of their own. Without one they are nowhere, unless the server is"
        " on loopback and no option names a proxy before it. Labels hold no text of users.",
        "the listener of clients answers 404 for the metrics, and gives no reasons",
        (
            "e2e/test_admin_listener.py::test_the_main_one_has_neither_metrics_nor_reasons_then",
            "e2e/test_admin_listener.py::test_without_it_the_main_one_has_them_where_only_this_machine_can_ask",
            "e2e/test_admin_listener.py::test_nobody_chats_there",
        ),
    ),
    "S25": Row(
        "A content or a secret shows up in logs or metrics.",
        "Logs have ids and sizes, never contents, queries or passwords.",
        "one content through every failure, in Python's development mode too: in no output",
        (
            f"{_HOSTILE}::test_a_content_never_appears_in_logs_or_metrics",
            (
                "unit/observability/test_formats.py::"
                "test_an_exception_becomes_a_field_of_its_own_without_local_variables"
            ),
            "unit/observability/test_formats.py::test_debug_lines_are_not_written",
            "unit/config/test_values.py::test_a_password_in_a_url_is_never_shown",
            "unit/auth/test_keys.py::test_a_key_is_not_shown",
        ),
    ),
    "S26": Row(
        "A client makes errors to learn about the inside of the server.",
        "Error and close codes are a closed set, each with its row in"
        " [protocol.md](protocol.md). No answer has a traceback or a version.",
        "172 bad frames, each with the code of the table",
        (
            f"{_FRAMES}::test_every_bad_frame_gets_its_error_and_the_connection_lives_on",
            ("unit/gateway/test_asgi.py::test_a_defect_of_the_application_says_nothing_of_itself"),
            "unit/test_docs_generated.py::test_a_page_has_what_the_code_writes_into_it",
            f"{_FUZZ}::test_no_frame_handshake_or_request_trips_the_server",
        ),
    ),
    "S28": Row(
        "A dependency is replaced by another one, or has a known hole.",
        "Every dependency is locked by its hash. `make vulnerabilities` asks for known holes,"
        " `make sbom` lists what is in.",
        "one changed hash: nothing is installed",
        (
            "unit/test_supply_chain.py::test_a_changed_hash_stops_the_install",
            "unit/test_supply_chain.py::test_a_known_vulnerability_fails",
            "unit/test_supply_chain.py::test_nobody_to_ask_is_no_good_news",
            "unit/test_supply_chain.py::test_the_list_of_parts_has_all_that_is_locked",
            "unit/test_lock_files.py::test_a_lock_file_has_hashes_and_no_addresses",
            "unit/test_set_up.py::test_set_up_takes_wheels_with_hashes_alone",
        ),
    ),
}


# What they are about comes with conversations: groups, and the history of deleted users.
LATER: Final = {
    "S21": "One message to a large group costs as much as many.",
    "S27": "Somebody wants to be forgotten.",
}


def table_rows() -> str:
    """Return the lines of the page's table."""
    lines = {number: row.cells(number) for number, row in ROWS.items()}
    for number, attempt in LATER.items():
        lines[number] = (
            f"| {number} | {attempt} | Comes with conversations. | none yet | none yet |"
        )
    return "\n".join(lines[number] for number in sorted(lines))

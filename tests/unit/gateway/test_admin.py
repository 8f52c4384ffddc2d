"""The listener for operators has few places."""

from landline.adapters.clock import SystemClock
from landline.api.http import Http, Readiness
from landline.gateway.admin import CONNECTIONS, AdminListener
from landline.gateway.http_connection import HttpConnection


async def test_it_takes_a_few_connections_and_no_more_than_there_are_files_for() -> None:
    listener = AdminListener(Http(Readiness, bytes, pages={}), SystemClock())
    everybody = [HttpConnection(listener) for _ in range(CONNECTIONS + 1)]
    let_in = [listener.came(each, ("192.0.2.1", 4711)) for each in everybody]
    assert let_in == [True] * CONNECTIONS + [False]
    listener.went(everybody[0])
    assert listener.came(everybody[-1], ("192.0.2.1", 4711))

"""What the browser keeps of the chat page."""

from typing import Any

from browser.window import Window


def kept_rows(window: Window) -> list[dict[str, Any]]:
    """Return everything that the browser keeps."""
    rows: list[dict[str, Any]] = window.page.evaluate(
        """async () => {
            const answer = (request) => new Promise((resolve) => {
                request.onsuccess = () => resolve(request.result);
            });
            const database = await answer(indexedDB.open("landline"));
            const names = [...database.objectStoreNames];
            const tx = database.transaction(names);
            const get = (name) => answer(tx.objectStore(name).getAll());
            const all = await Promise.all(names.map(get));
            database.close();
            return all[names.indexOf("messages")].concat(all[names.indexOf("outbox")]);
        }"""
    )
    return rows
